# frozen_string_literal: true

# Which providers a lab can be made with, and which of them Vagrant takes where nobody says.

require_relative 'libvirt'

module Swarmlab
  # Vagrant takes the first provider that is usable, in the order in which a Vagrantfile configures them, unless
  # --provider, a machine that exists or VAGRANT_DEFAULT_PROVIDER says which.
  class Providers
    HYPERVISORS = %i[virtualbox libvirt vmware_desktop parallels].freeze
    LIBVIRT_SOCKETS = %w[/run/libvirt/libvirt-sock /run/libvirt/virtqemud-sock /var/run/libvirt/libvirt-sock].freeze

    # plugins: Vagrant's registry of providers, by name the provider's class and its options.
    def initialize(plugins, env: ENV, driver: Libvirt.driver(env), sockets: LIBVIRT_SOCKETS)
      @plugins = plugins
      @env = env
      @driver = driver
      @sockets = sockets
    end

    # All providers: the hypervisors that are usable here, docker for a host that has none, and the rest, which come
    # last because Vagrant would try to install the first one.
    def in_order
      usable, others = HYPERVISORS.partition { |name| usable?(name) }
      [*usable, :docker, *others]
    end

    private

    def usable?(name)
      plugin, = @plugins[name]
      return false unless plugin&.usable?

      # Debian installs this plugin with Vagrant, and it calls itself usable wherever it is installed.
      name != :libvirt || libvirt?
    end

    # The daemon is there. Emulation is too slow to be anybody's default: it has to be asked for.
    def libvirt?
      return false unless @driver == 'kvm' || @env['LAB_VM_DRIVER'] == @driver

      @sockets.any? { |socket| File.writable?(socket) }
    end
  end
end
