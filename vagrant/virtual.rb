# frozen_string_literal: true

# Nodes that are virtual machines: what the hypervisors are told of them, each in its own words.
#
# No hypervisor's shared folders are needed: rsync copies to a node what it is given, over ssh.

require 'rbconfig'
require_relative 'libvirt'
require_relative 'start'
require_relative 'topology'

module Swarmlab
  # The virtual machines of one lab under one provider.
  class Virtual
    # A Debian that its makers publish for several hypervisors and architectures.
    PUBLIC_BOX = 'bento/debian-13'
    # Seconds that an emulated machine may take to boot, and to greet over ssh (60 is the most that Vagrant grants);
    # Vagrant's own limits suit a real processor.
    EMULATED_BOOT = 1800
    EMULATED_SSH = 60

    def initialize(lab, env = ENV)
      @lab = lab
      @env = env
    end

    # machine: the machine's configuration under this provider; hardware: the provider's own.
    def configure(node, hardware, machine)
      machine.vm.box, machine.vm.box_url = box
      machine.vm.network 'private_network', ip: node.address, libvirt__network_name: @lab.name
      machine.vm.synced_folder @lab.given(node), '/opt/swarmlab', type: 'rsync', create: true,
                                                                  rsync__args: %w[--archive --delete]
      Start.watch(machine)
      send(@lab.settings.provider, node, hardware, machine)
    end

    # The name of the box and, for one that was made here, its file. The name follows from the content: Vagrant takes a
    # file whose name it knows for the one it has.
    def box
      named = @env['LAB_BOX'].to_s
      return [named, nil] unless named.empty?

      file = File.join(@lab.folder, '.lab/box', "swarmlab-#{@lab.settings.provider}-#{arch}.box")
      return [PUBLIC_BOX, nil] unless File.file?(file) && File.file?("#{file}.sha256")

      ["swarmlab/node-#{File.read("#{file}.sha256")[0, 12]}", file]
    end

    private

    # The host's architecture in the words of Go and Debian.
    def arch
      cpu = RbConfig::CONFIG['host_cpu']
      { 'x86_64' => 'amd64', 'x64' => 'amd64', 'aarch64' => 'arm64' }.fetch(cpu, cpu)
    end

    def libvirt(node, hardware, machine)
      driver = Libvirt.driver(@env)
      size(node, hardware)
      hardware.default_prefix = "#{@lab.name}-"
      hardware.graphics_type = 'none'
      hardware.driver = driver
      # Not hardware.driver: Vagrant comes here again for what is said of the machine, with hardware that forgets.
      return unless driver == 'qemu'

      hardware.cpu_mode = 'maximum'
      machine.vm.boot_timeout = EMULATED_BOOT
      machine.ssh.connect_timeout = EMULATED_SSH
    end

    def virtualbox(node, hardware, _machine)
      size(node, hardware)
      hardware.name = @lab.resource(node.name)
      hardware.linked_clone = true
      # Nothing is shared by way of the guest additions.
      hardware.check_guest_additions = false
      hardware.functional_vboxsf = false
      hardware.customize ['modifyvm', :id, '--groups', "/#{@lab.name}"]
    end

    def vmware_desktop(node, hardware, _machine)
      hardware.vmx['displayname'] = @lab.resource(node.name)
      hardware.vmx['memsize'] = node.memory.to_s
      hardware.vmx['numvcpus'] = node.cpus.to_s
    end

    def parallels(node, hardware, _machine)
      size(node, hardware)
      hardware.name = @lab.resource(node.name)
    end

    def size(node, hardware)
      hardware.memory = node.memory
      hardware.cpus = node.cpus
    end
  end
end
