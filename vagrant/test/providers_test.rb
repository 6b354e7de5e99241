# frozen_string_literal: true

require 'minitest/autorun'
require 'tempfile'
require_relative '../providers'

# Which provider Vagrant comes to first, with Vagrant's registry and the host simulated.
class ProvidersTest < Minitest::Test
  # A provider's class in Vagrant.
  Plugin = Struct.new(:usable?)

  # plugins: what is installed, and whether it calls itself usable. libvirt's daemon has a socket if running.
  def order(plugins, env: {}, driver: 'kvm', running: true)
    registry = plugins.transform_values { |usable| [Plugin.new(usable), {}] }
    sockets = [File.join(__dir__, 'no-such-file'), *(Tempfile.new.path if running)]
    Swarmlab::Providers.new(registry, env: env, driver: driver, sockets: sockets).in_order
  end

  def first(...)
    order(...).first
  end

  def test_every_provider_is_there_once
    assert_equal %i[docker virtualbox libvirt vmware_desktop parallels], order({})
    assert_equal %i[vmware_desktop docker virtualbox libvirt parallels], order({ vmware_desktop: true })
  end

  def test_docker_where_no_hypervisor_is_usable
    assert_equal :docker, first({ docker: true, virtualbox: false })
  end

  def test_virtualbox_before_the_others
    assert_equal :virtualbox, first({ parallels: true, libvirt: true, virtualbox: true })
    assert_equal :libvirt, first({ parallels: true, libvirt: true, virtualbox: false })
    assert_equal :parallels, first({ parallels: true })
  end

  def test_libvirt_needs_more_than_its_plugin
    assert_equal :libvirt, first({ libvirt: true })
    assert_equal :docker, first({ libvirt: true }, running: false)
    assert_equal :docker, first({ libvirt: true }, driver: 'qemu'), 'it would have to emulate'
    asked = { 'LAB_VM_DRIVER' => 'qemu' }
    assert_equal :libvirt, first({ libvirt: true }, driver: 'qemu', env: asked)
    assert_equal :docker, first({ libvirt: true }, driver: 'qemu', env: asked, running: false)
  end
end
