# frozen_string_literal: true

require 'minitest/autorun'
require 'tempfile'
require_relative '../libvirt'

# The hypervisor is chosen by what the host can do.
class LibvirtTest < Minitest::Test
  INTEL = "processor\t: 0\nflags\t\t: fpu vme vmx ssse3\n"
  AMD = "processor\t: 0\nflags\t\t: fpu vme svm\n"
  NEITHER = "processor\t: 0\nflags\t\t: fpu vme vmxnet\n"
  ARM = "processor\t: 0\nFeatures\t: fp asimd\n"

  def driver(cpuinfo, device: Tempfile.new.path, env: {})
    file = Tempfile.new
    file.write(cpuinfo)
    file.close
    Swarmlab::Libvirt.driver(env, device: device, cpuinfo: file.path)
  end

  def test_kvm_where_the_processor_can
    [INTEL, AMD, ARM].each { |cpu| assert_equal 'kvm', driver(cpu), cpu }
  end

  def test_emulation_where_it_cannot
    missing = File.join(__dir__, 'no-such-file')
    assert_equal 'qemu', driver(NEITHER)
    assert_equal 'qemu', driver(INTEL, device: missing)
    assert_equal 'qemu', Swarmlab::Libvirt.driver({}, device: Tempfile.new.path, cpuinfo: missing)
  end

  def test_what_was_asked_for_wins
    assert_equal 'qemu', driver(INTEL, env: { 'LAB_VM_DRIVER' => 'qemu' })
    assert_equal 'kvm', driver(NEITHER, env: { 'LAB_VM_DRIVER' => 'kvm' })
    assert_equal 'kvm', driver(INTEL, env: { 'LAB_VM_DRIVER' => '' })
  end

  # Steps that load themselves, one of them from a file that is not there.
  def test_preload_loads_every_step
    file = Tempfile.new(['step', '.rb'])
    file.write('module LibvirtTestActions; class Step; end; end')
    file.close
    Object.const_set(:LibvirtTestActions, Module.new)
    LibvirtTestActions.autoload(:Missing, File.join(__dir__, 'no-such-file.rb'))
    LibvirtTestActions.autoload(:Step, file.path)
    plugins = Module.new
    plugins.const_set(:ProviderLibvirt, Module.new)
    plugins::ProviderLibvirt.const_set(:Action, LibvirtTestActions)
    Swarmlab::Libvirt.preload(plugins)
    assert_nil LibvirtTestActions.autoload?(:Step), 'Step is loaded'
  end

  def test_preload_where_the_provider_is_not_installed
    assert_nil Swarmlab::Libvirt.preload(Module.new)
  end
end
