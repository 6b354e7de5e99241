# frozen_string_literal: true

require 'minitest/autorun'
require 'fileutils'
require 'tmpdir'
require_relative '../notes'

# Whose containers Vagrant's notes lead to. The engine is simulated.
class NotesTest < Minitest::Test
  ONE = '1' * 64
  TWO = '2' * 64
  OTHER = '0123456789abcdef'

  def setup
    @root = Dir.mktmpdir
    @folder = File.join(@root, 'clone')
    FileUtils.mkdir_p(File.join(@folder, 'vagrant'))
    FileUtils.cp(File.expand_path('../topology.yaml', __dir__), File.join(@folder, 'vagrant'))
    @id = lab.owner.id
    @inode = File.stat(@folder).ino.to_s
    @asked = []
    note('worker01', ONE)
    note('store', TWO)
  end

  def teardown
    FileUtils.rm_rf(@root)
  end

  def lab(env = {})
    Swarmlab::Lab.load(@folder, { 'LAB_NAME' => 'blue' }.merge(env))
  end

  def note(node, id)
    file = File.join(@folder, '.vagrant/machines', node, 'docker/id')
    FileUtils.mkdir_p(File.dirname(file))
    File.write(file, id)
  end

  # What is refused if the engine says that; nil when nothing is.
  def refused(said, env = {})
    ask = lambda do |*arguments|
      @asked << arguments
      said
    end
    Swarmlab::Notes.new(lab(env).with(:docker), ask: ask, env: env).refuse_others
    nil
  rescue Swarmlab::Error => e
    refute_includes e.message, "\n"
    e.message
  end

  def container(id, node, **given)
    of = { lab: 'blue', clone: @id, folder: @folder, inode: @inode }.merge(given)
    "#{[id, node, of[:lab], of[:clone], of[:folder], of[:inode]].join("\t")}\n"
  end

  def test_what_is_the_nodes_own_passes
    store = container(TWO, 'store')
    ['', nil, store, container(ONE, 'worker01') + store, container(ONE, 'worker01', folder: '/before/it/was/moved'),
     container(ONE, 'worker01', clone: '', inode: ''), container('3' * 64, 'worker01', clone: OTHER, folder: '/a')]
      .each { |said| assert_nil refused(said), said }
  end

  def test_what_is_not_is_refused
    remove = %r{`rm -r #{@folder}/\.vagrant/machines/\*/docker`}
    copied = /for worker01 is a node of the clone at .a; nothing was done to it\..*#{remove}/
    [
      [container(ONE, 'worker01', clone: OTHER, folder: '/a') + container(TWO, 'store'), copied],
      [container(ONE, 'worker01', clone: '', folder: '/a', inode: ''), copied],
      [container(ONE, 'worker01', clone: OTHER, inode: '1'), /for worker01 is a node of the clone at #{@folder};/],
      [container(ONE, 'worker01', clone: OTHER, folder: '/a') + container(TWO, 'store', clone: OTHER, folder: '/a'),
       /for store, worker01 is a node of/],
      ["#{ONE}\t\t\t\t\t\n", /for worker01 is no node of a lab; nothing was done/],
      [container(ONE, 'worker01', clone: OTHER),
       /the lab blue of this clone is there, but \.lab, .* was deleted: .*`make down`/],
      [container(ONE, 'worker01', lab: 'red'),
       /nodes of this clone were made for the lab red, .* is called blue now: set LAB_NAME=red/],
      [container(ONE, 'worker02'), /for worker01 is node worker02; .*#{remove}/]
    ].each { |said, expected| assert_match expected, refused(said).to_s }
  end

  def test_with_its_keys_a_clone_has_only_lost_its_identity
    FileUtils.mkdir_p(File.join(@folder, '.lab/pki'))
    assert_nil refused(container(ONE, 'worker01', clone: OTHER))
  end

  def test_the_engine_is_asked_once_and_only_where_there_are_notes
    refused('')
    assert_equal 1, @asked.length
    assert_equal ["id=#{ONE}", "id=#{TWO}"], @asked.first.grep(/\Aid=/).sort
    note('worker01', 'preparing')
    FileUtils.rm_rf(File.join(@folder, '.vagrant/machines/store'))
    note('worker09', ONE)
    @asked.clear
    assert_nil refused(container(ONE, 'worker09', clone: OTHER))
    assert_empty @asked
  end

  def test_virtual_machines_are_destroyed_by_the_lab_command_whatever_containers_there_are
    foreign = container(ONE, 'worker01', clone: OTHER, folder: '/a')
    machines = { 'PROVIDER' => 'libvirt' }
    assert_nil refused(foreign, machines.merge('LAB_LOCK_HELD' => '1'))
    refute_nil refused(foreign, machines)
    refute_nil refused(foreign, { 'PROVIDER' => 'docker', 'LAB_LOCK_HELD' => '1' })
  end
end
