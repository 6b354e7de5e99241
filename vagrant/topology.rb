# frozen_string_literal: true

# What a lab consists of, for the Vagrantfile: its settings, and its nodes with their addresses and ports.
#
# The same rules are written in Go (lab/host/settings, lab/host/topology), which tells all mistakes before Vagrant is
# called at all; here the first is told to those who call Vagrant themselves. This file knows nothing of Vagrant.
# Run as a program (topology.rb FOLDER [NETWORKS_CONF]) it prints the lab as JSON, by which the two are compared.

require 'ipaddr'
require 'json'
require_relative 'owner'
require_relative 'topology_file'

module Swarmlab
  # One node. Ports are pairs [host, guest], to be published on the host's 127.0.0.1.
  Node = Struct.new(:name, :role, :ordinal, :octet, :address, :memory, :cpus, :ports, keyword_init: true)

  # The settings of one lab. Each comes from the environment, else from what the lab was brought up with
  # (.lab/settings.json), else from the defaults. The provider is nil as long as nobody chose: then Vagrant does.
  class Settings
    DEFAULTS = { 'name' => 'swarmlab', 'port_base' => 19_000 }.freeze
    ENVIRONMENT = {
      'name' => 'LAB_NAME', 'subnet' => 'LAB_SUBNET', 'port_base' => 'LAB_PORT_BASE',
      'frontends' => 'LAB_FRONTENDS', 'workers' => 'LAB_WORKERS', 'provider' => 'PROVIDER'
    }.freeze
    NAME = /\A[a-z][a-z0-9-]{0,20}\z/.freeze
    # The highest port is base + 881.
    PORT_BASES = (1024..64_000).freeze
    COUNTS = (1..99).freeze

    attr_reader :name, :subnet, :port_base, :frontends, :workers, :provider

    def initialize(file, env)
      @file = file
      @env = env
      @saved = read
      @name = text('name', NAME, 'small letters, digits and dashes, a letter first, at most 21')
      @provider = choice
      # Another provider may not allow the subnet.
      @saved.delete('subnet') if @provider && ![nil, '', @provider].include?(@saved['provider'])
      @subnet = value('subnet')
      @port_base = number('port_base', PORT_BASES)
      @frontends = number('frontends', COUNTS)
      @workers = number('workers', COUNTS)
    end

    # Where the voting page and the results page are published on the host.
    def voting_port
      port_base == DEFAULTS['port_base'] ? 8080 : port_base + 880
    end

    def results_port
      port_base == DEFAULTS['port_base'] ? 8081 : port_base + 881
    end

    private

    def read
      return {} unless File.file?(@file)

      saved = JSON.parse(File.read(@file))
      raise Error, "#{@file}: expected an object with the lab's settings" unless saved.is_a?(Hash)

      saved
    rescue JSON::ParserError
      raise Error, "#{@file}: not valid JSON; remove it, and set LAB_NAME and the others again if you had set them"
    end

    def value(key)
      from_env = @env[ENVIRONMENT.fetch(key)].to_s
      return from_env unless from_env.empty?

      saved = @saved[key]
      # Go writes what is not set as "" or 0.
      ['', 0, nil].include?(saved) ? DEFAULTS[key] : saved
    end

    # Who gave the value, for messages.
    def source(key)
      @env[ENVIRONMENT.fetch(key)].to_s.empty? ? "#{key} in #{@file}" : ENVIRONMENT.fetch(key)
    end

    def choice
      value('provider') && text('provider', /\A[a-z_]+\z/, 'a Vagrant provider such as docker, libvirt or virtualbox')
    end

    def text(key, pattern, expected)
      got = value(key)
      return got if got.is_a?(String) && got.match?(pattern)

      raise Error, "#{source(key)}: #{got.inspect} will not do; expected #{expected}"
    end

    def number(key, range)
      got = value(key)
      return nil if got.nil?

      number = got.to_s.match?(/\A(0|[1-9][0-9]{0,8})\z/) ? got.to_s.to_i : nil
      return number if number && range.cover?(number)

      raise Error, "#{source(key)}: #{got.inspect} will not do; expected a number, #{range.first} to #{range.last}"
    end
  end

  # Which subnets VirtualBox allows its host-only networks: see its manual, "Host-Only Networking".
  class HostOnly
    # The same path on Linux and macOS; on Windows there is no such limit.
    CONF = '/etc/vbox/networks.conf'
    ALLOWED = [IPAddr.new('192.168.56.0/21')].freeze
    # The lab's, where VirtualBox does not allow the one of the topology file.
    SUBNET = '192.168.56.0/24'

    def initialize(conf)
      @networks = File.readable?(conf) ? read(conf) : ALLOWED
    end

    def allows?(net)
      ends = [net.to_range.first, net.to_range.last]
      @networks.any? { |allowed| ends.all? { |address| allowed.include?(address) } }
    end

    private

    def read(conf)
      lines = File.readlines(conf, chomp: true).map(&:strip).select { |line| line.start_with?('*') }
      lines.flat_map { |line| line.delete_prefix('*').split }.filter_map do |field|
        IPAddr.new(field) if field.match?(%r{\A[0-9a-f.:]+/(0|[1-9]\d*)\z}i)
      rescue IPAddr::Error
        nil
      end
    end
  end

  # The nodes of topology.yaml under the given settings.
  class Topology
    OCTETS = TopologyFile::NUMBERS.fetch('octet')
    AGENT_PORT = 7400

    attr_reader :subnet, :nodes

    def initialize(path, settings, networks_conf)
      @path = path
      @settings = settings
      file = TopologyFile.new(path)
      @network = settings.subnet ? asked : usual(file.subnet, networks_conf)
      @subnet = "#{@network}/#{@network.prefix}"
      @nodes = file.groups.flat_map { |group| expand(group) }
      check_unique
      check_single
      check_counts
      number_roles
    end

    private

    def fail!(message)
      raise Error, "#{@path}: #{message}"
    end

    # The subnet that somebody chose.
    def asked
      net, reason = Subnet.read(@settings.subnet.to_s)
      net || raise(Error, reason)
    end

    # The subnet where nobody chose one.
    def usual(net, networks_conf)
      fail!('subnet is missing') unless net
      return net if @settings.provider != 'virtualbox' || HostOnly.new(networks_conf).allows?(net)

      IPAddr.new(HostOnly::SUBNET)
    end

    def expand(group)
      return [node(group, group['name'], group['octet'])] unless group.key?('count')

      Array.new(count(group)) do |i|
        node(group, format('%<name>s%<number>02d', name: group['name'], number: i + 1), group['octet'] + i)
      end
    end

    def count(group)
      counts[group['role']] || group['count']
    end

    # How many nodes are asked for, by role.
    def counts
      { 'frontend' => @settings.frontends, 'worker' => @settings.workers }.compact
    end

    def node(group, name, octet)
      check_octet(name, octet)
      Node.new(name: name, role: group['role'], octet: octet,
               address: IPAddr.new(@network.to_i + octet, Socket::AF_INET).to_s,
               memory: group.fetch('memory', 512), cpus: group.fetch('cpus', 1), ports: ports(group['role'], octet))
    end

    def check_octet(name, octet)
      unless OCTETS.cover?(octet)
        fail!("node #{name}: octet #{octet} is out of range, #{OCTETS.first} to #{OCTETS.last}")
      end
      # The last address is the broadcast's.
      return if octet < @network.to_range.last.to_i - @network.to_i

      fail!("subnet #{@subnet} is too small: node #{name} has octet #{octet}; take a /24")
    end

    def ports(role, octet)
      ports = [[@settings.port_base + octet, AGENT_PORT]]
      ports << [@settings.voting_port, 80] if role == 'interlock'
      ports << [@settings.results_port, 80] if role == 'store'
      ports
    end

    def check_unique
      %i[name octet].each do |key|
        twins = nodes.group_by(&key).values.find { |same| same.length > 1 }
        fail!("nodes #{twins.map(&:name).join(' and ')} have the same #{key}") if twins
      end
    end

    def check_single
      counts = nodes.map(&:role).tally
      managers = counts.fetch('manager', 0)
      fail!("#{managers} nodes have the role manager; a lab has exactly one") unless managers == 1
      many = %w[interlock store].find { |role| counts.fetch(role, 0) > 1 }
      fail!("several nodes have the role #{many}; a lab has one") if many
    end

    def check_counts
      counts.each do |role, count|
        fail!("a count of #{count} is asked for role #{role}, but no node has it") if nodes.none? { |n| n.role == role }
      end
    end

    def number_roles
      nodes.group_by(&:role).each_value { |same| same.each.with_index(1) { |n, i| n.ordinal = i } }
    end
  end

  # A clone and its lab.
  class Lab
    attr_reader :folder, :owner, :settings, :topology

    def self.load(folder, env = ENV, networks_conf = HostOnly::CONF)
      new(folder, env.to_h, networks_conf)
    end

    def initialize(folder, env, networks_conf)
      # In a shell without a language Ruby takes a path for plain bytes.
      @folder = folder.dup.force_encoding(Encoding::UTF_8)
      @env = env
      @networks_conf = networks_conf
      @owner = Owner.new(@folder)
      @owner.refuse_copy
      @owner.renew
      @settings = Settings.new(File.join(folder, '.lab', 'settings.json'), env)
      @topology = Topology.new(File.join(folder, 'vagrant', 'topology.yaml'), @settings, networks_conf)
    end

    # The same lab as it is with that provider, whatever was chosen.
    def with(provider)
      Lab.new(folder, @env.merge('PROVIDER' => provider.to_s), @networks_conf)
    end

    def name
      settings.name
    end

    def subnet
      topology.subnet
    end

    def nodes
      topology.nodes
    end

    def node(name)
      nodes.find { |node| node.name == name }
    end

    # The name of a node's container, of its volume, or of the lab's network.
    def resource(*parts)
      [name, *parts].join('-')
    end

    # What each container, volume and network of the lab carries, so that it is found again without Vagrant.
    def labels(node = nil)
      labels = { 'swarmlab.lab' => name }.merge(owner.labels)
      labels['swarmlab.node'] = node.name if node
      labels
    end

    # What is given to a node, to be found there as /opt/swarmlab. The lab command lays it out (lab/host/nodefiles).
    def given(node)
      File.join(folder, '.lab/nodes', node.name)
    end

    # The addresses and names of all nodes, alternating.
    def hosts
      nodes.flat_map { |node| [node.address, node.name] }
    end

    def to_h
      {
        'name' => name, 'subnet' => subnet, 'port_base' => settings.port_base, 'provider' => settings.provider,
        'nodes' => nodes.map { |node| node.to_h.transform_keys(&:to_s) }
      }
    end
  end
end

if $PROGRAM_NAME == __FILE__
  begin
    conf = ARGV.fetch(1, Swarmlab::HostOnly::CONF)
    puts JSON.pretty_generate(Swarmlab::Lab.load(ARGV.fetch(0, File.dirname(__dir__)), ENV, conf).to_h)
  rescue Swarmlab::Error => e
    warn e.message
    exit 2
  end
end
