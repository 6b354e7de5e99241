# frozen_string_literal: true

require 'minitest/autorun'
require 'tmpdir'
require_relative '../topology'

# What a lab is made of, under all kinds of settings.
class TopologyTest < Minitest::Test
  REPOSITORY = File.expand_path('../..', __dir__)

  # A clone with the given topology (nil: the real one) and saved settings.
  def lab(env = {}, topology: nil, settings: nil)
    Dir.mktmpdir do |folder|
      Dir.mkdir(File.join(folder, 'vagrant'))
      Dir.mkdir(File.join(folder, '.lab'))
      topology ||= File.read(File.join(REPOSITORY, 'vagrant/topology.yaml'))
      File.write(File.join(folder, 'vagrant/topology.yaml'), topology)
      File.write(File.join(folder, '.lab/settings.json'), settings) if settings
      return Swarmlab::Lab.load(folder, env)
    end
  end

  def assert_mistake(expected, env = {}, **options)
    error = assert_raises(Swarmlab::Error) { lab(env, **options) }
    assert_match expected, error.message
  end

  def nodes(*lines)
    "subnet: 192.168.33.0/24\nnodes:\n#{lines.map { |line| "  - {#{line}}\n" }.join}"
  end

  def test_the_lab_as_it_stands_in_the_file
    default = lab
    assert_equal %w[manager interlock frontend01 frontend02 worker01 store], default.nodes.map(&:name)
    assert_equal %w[11 12 20 21 200 250].map { |octet| "192.168.33.#{octet}" }, default.nodes.map(&:address)
    assert_equal [1, 1, 1, 2, 1, 1], default.nodes.map(&:ordinal)
    assert_equal 'swarmlab', default.name
    assert_nil default.settings.provider, 'Vagrant chooses'
  end

  def test_ports
    ports = ->(lab, name) { lab.nodes.find { |node| node.name == name }.ports }
    assert_equal [[19_012, 7400], [8080, 80]], ports.call(lab, 'interlock')
    assert_equal [[19_250, 7400], [8081, 80]], ports.call(lab, 'store')
    assert_equal [[19_020, 7400]], ports.call(lab, 'frontend01')
    moved = lab({ 'LAB_PORT_BASE' => '24000' })
    assert_equal [[24_012, 7400], [24_880, 80]], ports.call(moved, 'interlock')
    assert_equal [[24_250, 7400], [24_881, 80]], ports.call(moved, 'store')
  end

  def test_the_environment_wins_over_saved_settings_and_those_over_the_file
    saved = '{"name":"saved","subnet":"10.9.8.0/24","port_base":21000,"frontends":3,"workers":0,"provider":"libvirt"}'
    both = lab({ 'LAB_NAME' => 'mine', 'LAB_WORKERS' => '2', 'LAB_SUBNET' => '' }, settings: saved)
    assert_equal 'mine', both.name
    assert_equal '10.9.8.0/24', both.subnet
    assert_equal 21_000, both.settings.port_base
    assert_equal 'libvirt', both.settings.provider
    assert_equal %w[frontend01 frontend02 frontend03], both.nodes.select { |n| n.role == 'frontend' }.map(&:name)
    assert_equal %w[10.9.8.200 10.9.8.201], both.nodes.select { |n| n.role == 'worker' }.map(&:address)
  end

  def test_addresses_in_a_larger_network
    assert_equal '172.20.16.250', lab({ 'LAB_SUBNET' => '172.20.16.0/20' }).nodes.last.address
  end

  def test_roles_of_ones_own
    both = nodes('name: manager, role: manager, octet: 11', 'name: c, role: cache, octet: 30')
    own = lab(topology: "roles: [cache]\n#{both}")
    assert_equal %w[manager cache], own.nodes.map(&:role)
  end

  def test_bad_settings
    {
      { 'LAB_NAME' => 'My Lab' } => /LAB_NAME: "My Lab" will not do/,
      { 'LAB_NAME' => 'a' * 22 } => /LAB_NAME/,
      { 'LAB_PORT_BASE' => '80' } => /LAB_PORT_BASE: "80" will not do; expected a number, 1024 to 64000/,
      { 'LAB_PORT_BASE' => '0x5000' } => /LAB_PORT_BASE/,
      { 'LAB_FRONTENDS' => '0' } => /LAB_FRONTENDS: "0" will not do/,
      { 'LAB_WORKERS' => 'many' } => /LAB_WORKERS: "many" will not do/,
      { 'LAB_SUBNET' => '192.168.33.0' } => /expected a network such as/,
      { 'LAB_SUBNET' => '192.168.33.7/24' } => %r{write 192.168.33.0/24},
      { 'LAB_SUBNET' => '8.8.8.0/24' } => /not private/,
      { 'LAB_SUBNET' => '192.168.33.0/28' } => /too small: node frontend01 has octet 20/,
      { 'LAB_SUBNET' => 'fd00::/64' } => /not private/,
      { 'LAB_SUBNET' => '172.17.3.0/24' } => /overlaps 172.17.0.0, a network within each node/,
      { 'LAB_FRONTENDS' => '99' } => nil,
      { 'LAB_WORKERS' => '99' } => /worker56: octet 255 is out of range/
    }.each { |env, expected| expected ? assert_mistake(expected, env) : lab(env) }
  end

  def test_bad_saved_settings
    assert_mistake(/settings.json: not valid JSON/, settings: '{')
    assert_mistake(/settings.json: expected an object/, settings: '[]')
    assert_mistake(/port_base in .*settings.json: "x" will not do/, settings: '{"port_base":"x"}')
  end

  def test_bad_topologies
    manager = 'name: manager, role: manager, octet: 11'
    {
      'nodes: [' => /not valid YAML/,
      '[]' => /expected a mapping/,
      "subnet: 192.168.33.0/24\n" => /nodes: expected a list/,
      nodes(manager, 'name: x, role: king, octet: 12') => /node x: unknown role "king"/,
      nodes(manager, 'name: x, role: worker, octet: 11') => /nodes manager and x have the same octet/,
      nodes(manager, 'name: manager, role: worker, octet: 12') => /have the same name/,
      nodes(manager, 'name: x, role: worker, octet: 300') => /octet is 300; expected a number, 2 to 254/,
      nodes(manager, 'name: x, role: worker') => /a node without octet/,
      nodes(manager, 'name: x, role: worker, octet: 12, memory: lots') => /memory is "lots"/,
      nodes(manager, 'name: x, role: worker, octet: 12, colour: red') => /unknown field colour/,
      nodes(manager, 'name: X_1, role: worker, octet: 12') => /no node name/,
      nodes(manager, 'name: w, role: worker, octet: 250, count: 9') => /node w06: octet 255 is out of range/,
      nodes('name: x, role: worker, octet: 12') => /0 nodes have the role manager/
    }.each { |topology, expected| assert_mistake(expected, topology: topology) }
  end

  def test_a_missing_topology
    Dir.mktmpdir do |folder|
      error = assert_raises(Swarmlab::Error) { Swarmlab::Lab.load(folder, {}) }
      assert_match(/topology.yaml: the file is missing/, error.message)
    end
  end
end
