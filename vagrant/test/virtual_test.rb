# frozen_string_literal: true

require 'minitest/autorun'
require 'fileutils'
require 'ostruct'
require 'tmpdir'
require_relative '../virtual'

# What hypervisors are told, with Vagrant's configuration simulated.
class VirtualTest < Minitest::Test
  # Takes note of what is set and called.
  class Recorder < OpenStruct
    def calls
      @calls ||= []
    end

    %i[network synced_folder customize].each do |name|
      define_method(name) { |*args, **options| calls << [name, *args, options] }
    end
  end

  def setup
    @folder = Dir.mktmpdir
    FileUtils.mkdir_p([File.join(@folder, 'vagrant'), File.join(@folder, '.lab/box')])
    FileUtils.cp(File.expand_path('../topology.yaml', __dir__), File.join(@folder, 'vagrant'))
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  # Stands for the hardware where Vagrant wants to hear of the machine only, as its own DummyConfig.
  class Forgetful
    def respond_to_missing?(*)
      true
    end

    def method_missing(*)
      Forgetful.new
    end
  end

  # The hardware of node store, and its machine: in two rounds, as Vagrant does it.
  def configured(provider, env = {})
    lab = Swarmlab::Lab.load(@folder, { 'LAB_NAME' => 'trial' }, File.join(__dir__, 'no-such-file')).with(provider)
    hardware = Recorder.new(vmx: {})
    vm = Recorder.new
    [[hardware, Recorder.new], [Forgetful.new, vm]].each do |h, m|
      machine = OpenStruct.new(vm: m, ssh: m, trigger: Forgetful.new)
      Swarmlab::Virtual.new(lab, env).configure(lab.node('store'), h, machine)
    end
    [hardware, vm]
  end

  def test_each_machine_has_its_address_in_the_labs_subnet
    { libvirt: '192.168.33.250', virtualbox: '192.168.56.250', parallels: '192.168.33.250',
      vmware_desktop: '192.168.33.250' }.each do |provider, address|
      _, vm = configured(provider)
      assert_includes vm.calls, [:network, 'private_network', { ip: address, libvirt__network_name: 'trial' }]
    end
  end

  def test_what_a_node_is_given_is_copied_and_nothing_is_shared
    %i[libvirt virtualbox vmware_desktop parallels].each do |provider|
      _, vm = configured(provider)
      folders = vm.calls.select { |name, *| name == :synced_folder }
      assert_equal [[File.join(@folder, '.lab/nodes/store'), '/opt/swarmlab']], (folders.map { |call| call[1..2] })
      assert_equal 'rsync', folders.first.last[:type]
    end
  end

  def test_memory_and_processors
    %i[libvirt virtualbox parallels].each do |provider|
      hardware, = configured(provider)
      assert_equal [768, 1], [hardware.memory, hardware.cpus]
    end
    hardware, = configured(:vmware_desktop)
    assert_equal({ 'displayname' => 'trial-store', 'memsize' => '768', 'numvcpus' => '1' }, hardware.vmx)
  end

  def test_virtualbox_needs_no_guest_additions
    hardware, = configured(:virtualbox)
    assert_equal [false, false], [hardware.functional_vboxsf, hardware.check_guest_additions]
    assert_includes hardware.calls, [:customize, ['modifyvm', :id, '--groups', '/trial'], {}]
  end

  def test_libvirt_emulates_when_asked_to
    hardware, vm = configured(:libvirt, { 'LAB_VM_DRIVER' => 'kvm' })
    assert_equal ['kvm', nil, nil], [hardware.driver, hardware.cpu_mode, vm.boot_timeout]
    hardware, vm = configured(:libvirt, { 'LAB_VM_DRIVER' => 'qemu' })
    assert_equal %w[qemu maximum], [hardware.driver, hardware.cpu_mode]
    assert_operator vm.boot_timeout, :>, 300
    assert_operator vm.connect_timeout, :>, 15
  end

  def box(provider, env = {})
    _, vm = configured(provider, env)
    [vm.box, vm.box_url]
  end

  def test_the_box
    assert_equal ['bento/debian-13', nil], box(:virtualbox)
    assert_equal ['mine/box', nil], box(:virtualbox, { 'LAB_BOX' => 'mine/box' })
    assert_equal ['bento/debian-13', nil], box(:libvirt)
  end

  def test_a_box_that_was_made_here
    arch = RbConfig::CONFIG['host_cpu'].sub('x86_64', 'amd64').sub('aarch64', 'arm64')
    file = File.join(@folder, ".lab/box/swarmlab-libvirt-#{arch}.box")
    File.write(file, 'box')
    assert_equal ['bento/debian-13', nil], box(:libvirt), 'half made'
    File.write("#{file}.sha256", "0123456789abcdef0123\n")
    assert_equal ['swarmlab/node-0123456789ab', file], box(:libvirt)
    File.write("#{file}.sha256", "fedcba9876543210\n")
    assert_equal ['swarmlab/node-fedcba987654', file], box(:libvirt), 'made anew'
    assert_equal ['bento/debian-13', nil], box(:virtualbox)
    assert_equal ['mine/box', nil], box(:libvirt, { 'LAB_BOX' => 'mine/box' })
  end
end
