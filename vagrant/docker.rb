# frozen_string_literal: true

# Container nodes: how a container must be made so that it can be a node, and what a node has besides its container - a
# volume and a place on the lab's network -, which Vagrant's docker provider does not look after.
#
# The provider would also make networks, but under a name that only tells the subnet, without labels, and as a second
# one next to Docker's default bridge. So the network is made here, before the first node, and removed after the last.

require 'fileutils'
require 'open3'
require_relative 'inherit'
require_relative 'notes'
require_relative 'topology'

module Swarmlab
  # The docker commands around Vagrant's own for one lab.
  class Docker
    # Only one node at a time makes or removes what they share; Vagrant works on nodes in parallel, in threads, and so
    # may two vagrant commands.
    LOCK = Mutex.new

    # What systemd and an engine of its own need, short of --privileged, which gives more, and which hosts that lack a
    # capability refuse. The node's clock and its kernel modules are the host's, so they are none of its business. What
    # the host's engine does by default to other containers does not hold for nodes: with no-new-privileges nobody could
    # use sudo there, systemd must be the first process (no init), and root there is root here (no user namespaces).
    SYSTEMD = %w[
      --security-opt no-new-privileges=false --init=false --userns host
      --cap-add ALL --cap-drop SYS_RESOURCE --cap-drop SYS_TIME --cap-drop SYS_MODULE
      --security-opt seccomp=unconfined --security-opt systempaths=unconfined
      --security-opt apparmor=unconfined --security-opt label=disable
      --cgroupns private --stop-signal SIGRTMIN+3
      --tmpfs /run:mode=755 --tmpfs /run/lock --tmpfs /tmp:exec,mode=1777
      --env SYSTEMD_PROC_CMDLINE=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
    ].freeze

    # In the words of docker: the labels by which an owner is known.
    OWNER = %({{LABEL "swarmlab.clone"}}\t{{LABEL "swarmlab.folder"}}\t{{LABEL "swarmlab.inode"}})

    def initialize(lab)
      @lab = lab
    end

    # Called before Vagrant does anything.
    def refuse_others_notes
      Notes.new(@lab, ask: method(:ask)).refuse_others
    end

    # machine: the machine's configuration under this provider; container: the provider's own.
    def configure(node, container, machine)
      container.name = @lab.resource(node.name)
      container.image = image
      container.create_args = create_args(node)
      container.has_ssh = true
      container.remains_running = true
      container.stop_timeout = 15 # seconds to stop the containers in order before the plug is pulled
      reach(machine)
      machine.trigger.before(:up) { |trigger| trigger.ruby { |_, known| prepare(node, known) } }
      machine.trigger.after(:destroy) { |trigger| trigger.ruby { clean_up(node) } }
    end

    # The name of the node image; it follows from what goes into it.
    def image
      @image ||= capture(File.join(@lab.folder, 'vagrant/node/build.sh'), '--tag').strip
    end

    # Arguments of docker run for a node, in addition to its ports, which Vagrant knows.
    def create_args(node)
      [*SYSTEMD, *labels('--label', @lab.labels(node)), *network_args(node), *storage_args(node),
       # Vagrant finds out which port Docker chose.
       '--publish', '127.0.0.1::22', '--env', "SWARMLAB_SSH_KEY=#{File.read("#{ssh_key}.pub").strip}"]
    end

    # Everything a node's container needs before it is made. What the nodes share is made once. machine is what Vagrant
    # knows of it.
    def prepare(node, machine)
      FileUtils.mkdir_p(@lab.given(node))
      # An up that was cut off may have made a container without taking note of it.
      there = container(node)
      machine.id = there if there && machine.id != there
      locked do
        @shared ||= begin
          capture(File.join(@lab.folder, 'vagrant/node/build.sh'))
          make_network
          true
        end
      end
    end

    # The identifier of a node's container; nil when there is none. Another clone's lab may have the same name.
    def container(node)
      filters = ["label=swarmlab.lab=#{@lab.name}", "label=swarmlab.node=#{node.name}"]
      found = capture('docker', 'ps', '--all', '--no-trunc', *filters.flat_map { |f| ['--filter', f] },
                      '--format', "{{.ID}}\t#{OWNER.gsub('LABEL', '.Label')}")
      found.lines.map { |line| line.chomp.split("\t", 4) }.find { |_, *labels| @lab.owner.ours?(*labels) }&.first
    end

    # What is left of a node once its container is gone.
    def clean_up(node)
      locked do
        volume = @lab.resource(node.name)
        try('docker', 'volume', 'rm', '--force', volume) if ours?('volume', volume)
        others = capture('docker', 'ps', '--all', '--quiet', '--filter', "network=#{network}")
        try('docker', 'network', 'rm', network) if others.strip.empty? && ours?('network', network)
      end
    end

    # The private key with which Vagrant reaches the lab's nodes. Made once for each clone.
    def ssh_key
      key = File.join(@lab.folder, '.lab/ssh/nodes')
      return key if File.file?("#{key}.pub")

      locked do
        unless File.file?("#{key}.pub")
          FileUtils.mkdir_p(File.dirname(key), mode: 0o700)
          FileUtils.rm_f(key)
          capture('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', "swarmlab #{@lab.name}", '-f', key)
        end
      end
      key
    end

    # Nodes take the key with which they were made: with a new one Vagrant would try for minutes to come in. An engine
    # that does not answer says nothing of nodes.
    def refuse_new_key
      return if File.file?(File.join(@lab.folder, '.lab/ssh/nodes.pub'))

      found = ask('ps', '--all', '--filter', "label=swarmlab.lab=#{@lab.name}",
                  '--format', OWNER.gsub('LABEL', '.Label'))
      return unless found&.lines&.any? { |line| @lab.owner.ours?(*line.chomp.split("\t", 3)) }

      raise Error, "the key to the nodes of the lab #{@lab.name}, in .lab/ssh, was deleted: put it back; or " \
                   '`make down` removes the nodes, with the votes on them, and `make up` makes new ones'
    end

    private

    # What docker says; nil where it says nothing, or where there is none.
    def ask(*arguments)
      said, status = run('docker', *arguments)
      said if status.success?
    rescue SystemCallError
      nil
    end

    def reach(machine)
      machine.ssh.insert_key = false
      machine.ssh.private_key_path = ssh_key
      # Which port is free is Docker's to know (see create_args).
      machine.vm.network 'forwarded_port', id: 'ssh', guest: 22, host: 2222, disabled: true
    end

    def network
      @lab.name
    end

    def network_args(node)
      # By its alias a node is known to the others even before it was provisioned.
      ['--network', network, '--ip', node.address, '--network-alias', node.name]
    end

    def storage_args(node)
      labels = @lab.labels(node).map { |key, value| "volume-label=#{key}=#{value}" }
      volume = ['type=volume', "source=#{@lab.resource(node.name)}", 'target=/var/lib/docker', *labels]
      given = ['type=bind', "source=#{@lab.given(node)}", 'target=/opt/swarmlab', 'readonly']
      [volume, given].flat_map { |fields| ['--mount', csv(fields)] }
    end

    # docker reads a mount as one line of CSV.
    def csv(fields)
      fields.map { |field| field.match?(/[",\n]/) ? "\"#{field.gsub('"', '""')}\"" : field }.join(',')
    end

    def labels(option, labels)
      labels.flat_map { |key, value| [option, "#{key}=#{value}"] }
    end

    # Whether a volume or a network is this lab's: a name may be anybody's.
    def ours?(kind, name)
      said, status = run('docker', kind, 'inspect', '--format', OWNER.gsub('LABEL', 'index .Labels'), name)
      status.success? && @lab.owner.ours?(*said.chomp.split("\t", 3))
    end

    def make_network
      return if capture('docker', 'network', 'ls', '--format', '{{.Name}}').split("\n").include?(network)

      capture('docker', 'network', 'create', '--subnet', @lab.subnet, *labels('--label', @lab.labels), network)
    end

    def locked(&block)
      folder = File.join(@lab.folder, '.lab')
      FileUtils.mkdir_p(folder, mode: 0o700)
      LOCK.synchronize do
        File.open(File.join(folder, 'docker.lock'), File::CREAT | File::RDWR) do |file|
          file.flock(File::LOCK_EX)
          block.call
        end
      end
    end

    # Runs a program, which gets what it should of the environment. A single string would be taken for a shell's line,
    # hence the pair.
    def run(program, *arguments)
      Open3.capture2e(Inherit.environ, [program, program], *arguments, unsetenv_others: true)
    end

    def capture(*command)
      output, status = run(*command)
      return output if status.success?

      raise Error, "#{command.join(' ')}\nfailed:\n#{output}"
    end

    def try(*command)
      run(*command)
    end
  end
end
