# frozen_string_literal: true

# What a lab consists of, for the Vagrantfile: its settings, and its nodes with their addresses and ports.
#
# The same rules are written in Go (lab/settings, lab/topology), which tells mistakes with line numbers before Vagrant
# is called at all; here they are told to those who call Vagrant themselves. This file knows nothing of Vagrant.
# Run as a program (topology.rb FOLDER [NETWORKS_CONF]) it prints the lab as JSON, by which the two are compared.

require 'ipaddr'
require 'json'
require 'yaml'
require_relative 'owner'

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
        IPAddr.new(field) if field.match?(%r{\A[0-9a-f.:]+/\d+\z}i)
      rescue IPAddr::Error
        nil
      end
    end
  end

  # The nodes of topology.yaml under the given settings.
  class Topology
    ROLES = %w[manager interlock frontend worker store].freeze
    KEYS = %w[name role octet memory cpus count].freeze
    OCTETS = (2..254).freeze
    PRIVATE = %w[10.0.0.0/8 172.16.0.0/12 192.168.0.0/16].map { |net| IPAddr.new(net) }.freeze
    # Within each node these are the swarm's overlays, docker0 and docker_gwbridge: they would hide the lab's own.
    RESERVED = %w[10.0.0.0/16 172.17.0.0/16 172.18.0.0/16].map { |net| IPAddr.new(net) }.freeze
    AGENT_PORT = 7400

    attr_reader :subnet, :nodes

    def initialize(file, settings, networks_conf)
      @file = file
      @settings = settings
      raw = read
      @roles = ROLES + Array(raw['roles'])
      @network = settings.subnet ? network(settings.subnet) : usual(network(raw['subnet']), networks_conf)
      @subnet = "#{@network}/#{@network.prefix}"
      @nodes = groups(raw['nodes']).flat_map { |group| expand(group) }
      check_unique
      check_single
      number_roles
    end

    private

    def fail!(message)
      raise Error, "#{@file}: #{message}"
    end

    def read
      raw = YAML.safe_load(File.read(@file))
      fail!('expected a mapping with subnet and nodes') unless raw.is_a?(Hash)
      raw
    rescue Errno::ENOENT
      fail!('the file is missing')
    rescue Psych::Exception => e
      fail!("not valid YAML: #{e.message}")
    end

    def network(cidr)
      address, bits = cidr.to_s.split('/', 2)
      fail!("subnet #{cidr.inspect}: expected a network such as 192.168.33.0/24") unless bits.to_s.match?(/\A\d{1,2}\z/)
      net = IPAddr.new(cidr)
      fail!("subnet #{cidr}: write #{net}/#{bits}") unless net.to_s == address
      check_network(net, cidr)
    rescue IPAddr::Error
      fail!("subnet #{cidr.inspect}: expected a network such as 192.168.33.0/24")
    end

    # The subnet where nobody chose one.
    def usual(net, networks_conf)
      return net if @settings.provider != 'virtualbox' || HostOnly.new(networks_conf).allows?(net)

      IPAddr.new(HostOnly::SUBNET)
    end

    def check_network(net, cidr)
      fail!("subnet #{cidr} is not private") unless PRIVATE.any? { |range| range.include?(net) }
      taken = RESERVED.find { |range| range.include?(net) || net.include?(range) }
      fail!("subnet #{cidr} overlaps #{taken}, a network within each node") if taken
      net
    end

    def groups(nodes)
      fail!('nodes: expected a list') unless nodes.is_a?(Array) && !nodes.empty?
      nodes.each { |group| check(group) }
    end

    def check(group)
      fail!("nodes: expected {name: …, role: …, octet: …}, found #{group.inspect}") unless group.is_a?(Hash)
      name = group['name'].to_s
      fail!("#{name.inspect} is no node name") unless name.match?(/\A[a-z]([a-z0-9-]{0,30}[a-z0-9])?\z/)
      unknown = group.keys - KEYS
      fail!("node #{name}: unknown field #{unknown.first}") unless unknown.empty?
      fail!("node #{name}: unknown role #{group['role'].inspect}") unless @roles.include?(group['role'])
      check_number(name, group, 'octet', OCTETS, true)
      check_number(name, group, 'memory', 128..(1 << 20), false)
      check_number(name, group, 'cpus', 1..256, false)
      check_number(name, group, 'count', Settings::COUNTS, false)
    end

    def check_number(name, group, key, range, required)
      value = group[key]
      return if !group.key?(key) && !required
      return if value.is_a?(Integer) && range.cover?(value)

      fail!("node #{name}: #{key} is #{value.inspect}; expected a number, #{range.first} to #{range.last}")
    end

    def expand(group)
      return [node(group, group['name'], group['octet'])] unless group.key?('count')

      Array.new(count(group)) do |i|
        node(group, format('%<name>s%<number>02d', name: group['name'], number: i + 1), group['octet'] + i)
      end
    end

    def count(group)
      override = { 'frontend' => @settings.frontends, 'worker' => @settings.workers }[group['role']]
      override || group['count']
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
      @folder = folder
      @env = env
      @networks_conf = networks_conf
      @owner = Owner.new(folder)
      refuse_copy
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

    # Whatever a copy did it would do to the lab of the other clone.
    def refuse_copy
      original = owner.original or return

      raise Error, "#{folder} is a copy of #{original}, and its .lab is that clone's, whose lab it would work on: " \
                   'go there, or remove .lab and .vagrant here first'
    end

    # What is given to a node, to be found there as /opt/swarmlab. The lab command lays it out (lab/supply).
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
