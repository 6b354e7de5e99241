# frozen_string_literal: true

# What the libvirt provider needs to be told, or saved from, besides a machine's size and networks.

module Swarmlab
  # libvirt on this host.
  module Libvirt
    # The hypervisor: what LAB_VM_DRIVER says, else kvm where it can be used, else qemu, which emulates the processor:
    # slow, but it works. The device alone says nothing: there are hosts that have it whose processor cannot do it.
    def self.driver(env = ENV, device: '/dev/kvm', cpuinfo: '/proc/cpuinfo')
      asked = env['LAB_VM_DRIVER'].to_s
      return asked unless asked.empty?

      kvm?(device, cpuinfo) ? 'kvm' : 'qemu'
    end

    # Loads the provider's steps. They load themselves when first used, and Vagrant works on machines in parallel: now
    # and then a thread finds a step that another one is about to load, and gives up ("constant … not defined"). Without
    # the provider there is nothing to load: Vagrant evaluates the configuration of providers that it lacks too.
    def self.preload(plugins = VagrantPlugins)
      return unless plugins.const_defined?(:ProviderLibvirt)

      actions = plugins::ProviderLibvirt::Action
      actions.constants.each do |step|
        actions.const_get(step)
      rescue NameError, LoadError
        next # a step of a feature that this Vagrant lacks
      end
    end

    def self.kvm?(device, cpuinfo)
      return false unless File.readable?(device) && File.writable?(device)

      text = File.read(cpuinfo)
      flags = text[/^flags\s*:.*/]
      # Arm processors do not say.
      flags.nil? || flags.match?(/\b(vmx|svm)\b/)
    rescue SystemCallError
      false
    end
    private_class_method :kvm?
  end
end
