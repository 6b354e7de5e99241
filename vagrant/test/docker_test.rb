# frozen_string_literal: true

require 'minitest/autorun'
require 'tmpdir'
require_relative '../docker'

# How the containers of nodes are made. Nothing here talks to an engine.
class DockerTest < Minitest::Test
  def setup
    @folder = Dir.mktmpdir('lab, with "odd" name')
    FileUtils.mkdir_p([File.join(@folder, 'vagrant'), File.join(@folder, '.lab/ssh')])
    FileUtils.cp(File.expand_path('../topology.yaml', __dir__), File.join(@folder, 'vagrant'))
    File.write(File.join(@folder, '.lab/ssh/nodes.pub'), "ssh-ed25519 KEY\n")
    @lab = Swarmlab::Lab.load(@folder, { 'LAB_NAME' => 'trial' })
    @docker = Swarmlab::Docker.new(@lab)
    @args = @docker.create_args(@lab.nodes.last)
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  # The values of an option that is given several times.
  def values(option)
    @args.each_cons(2).select { |name, _| name == option }.map(&:last)
  end

  def test_a_node_is_no_privileged_container
    refute_includes @args, '--privileged'
    assert_equal %w[SYS_RESOURCE SYS_TIME SYS_MODULE], values('--cap-drop')
  end

  def test_what_the_engine_does_by_default_does_not_hold_for_nodes
    assert_includes values('--security-opt'), 'no-new-privileges=false'
    assert_includes @args, '--init=false'
    assert_equal ['host'], values('--userns')
  end

  def test_a_node_is_found_by_its_labels
    assert_equal ['swarmlab.lab=trial', "swarmlab.folder=#{@folder}", "swarmlab.clone=#{@lab.owner.id}",
                  "swarmlab.inode=#{File.stat(@folder).ino}", 'swarmlab.node=store'], values('--label')
  end

  # The engine's answer to `docker ps`.
  def answer(output, good: true)
    @docker.define_singleton_method(:run) { |*| [output, Struct.new(:success?).new(good)] }
  end

  def test_a_key_that_nodes_have_is_not_made_anew
    FileUtils.rm_rf(File.join(@folder, '.lab/ssh'))
    answer("#{@lab.owner.id}\t#{@folder}\t1\n")
    told = assert_raises(Swarmlab::Error) { @docker.refuse_new_key }.message
    assert_match(/the key to the nodes of the lab trial.*was deleted.*make down/, told)
  end

  def test_without_nodes_a_key_may_be_made
    FileUtils.rm_rf(File.join(@folder, '.lab/ssh'))
    others = "#{'0' * 16}\t/elsewhere\t1\n"
    [['', true], [others, true], ["#{@lab.owner.id}\t#{@folder}\t1\n", false]].each do |output, good|
      answer(output, good: good)
      assert_nil @docker.refuse_new_key
    end
  end

  def test_a_key_that_is_there_is_kept
    answer("#{@lab.owner.id}\t#{@folder}\t1\n")
    assert_nil @docker.refuse_new_key
  end

  def test_a_node_has_its_address_in_the_labs_network
    assert_equal ['trial'], values('--network')
    assert_equal ['192.168.33.250'], values('--ip')
  end

  def test_odd_folder_names_survive_dockers_csv
    mount = values('--mount').find { |value| value.include?('/opt/swarmlab') }
    assert_includes mount, %("source=#{@folder.gsub('"', '""')}/.lab/nodes/store")
    assert_includes mount, 'readonly'
  end

  def test_the_engines_data_lies_on_a_volume_of_the_nodes_own
    volume = values('--mount').find { |value| value.include?('type=volume') }
    assert_match(%r{source=trial-store,target=/var/lib/docker}, volume)
    assert_includes volume, 'volume-label=swarmlab.lab=trial'
  end

  def test_vagrant_comes_in_with_the_labs_key
    assert_includes values('--env'), 'SWARMLAB_SSH_KEY=ssh-ed25519 KEY'
    assert_includes values('--publish'), '127.0.0.1::22'
  end

  # An engine that has what it is told to have.
  class Engine < Swarmlab::Docker
    attr_accessor :has, :volume
    attr_reader :asked

    private

    SUCCESS = Struct.new(:success?).new(true)

    def run(*command)
      @asked = [*@asked, command]
      said = { %w[docker ps] => has, %w[docker volume] => volume, %w[docker network] => '' }[command[0, 2]]
      [said.to_s, SUCCESS]
    end
  end

  # What a machine is for Vagrant afterwards, if the engine has that container.
  def known_as(id, has)
    machine = Struct.new(:id).new(id)
    @docker = Engine.new(@lab)
    @docker.has = has
    @docker.prepare(@lab.nodes.last, machine)
    machine.id
  end

  def test_a_container_that_vagrant_took_no_note_of_is_adopted
    ours = "c0ffee\t#{@lab.owner.id}\t/elsewhere\t1\n"
    assert_equal 'c0ffee', known_as(nil, "dead\t0123456789abcdef\t#{@folder}\n#{ours}")
    assert_equal 'c0ffee', known_as('preparing', ours)
    assert_equal 'c0ffee', known_as(nil, "c0ffee\t\t#{@folder}\n"), 'made before clones had an identity'
    filters = @docker.asked.find { |command| command[1] == 'ps' }.each_cons(2).select { |name, _| name == '--filter' }
    assert_equal %w[label=swarmlab.lab=trial label=swarmlab.node=store], filters.map(&:last)
    assert_nil known_as(nil, "dead\t0123456789abcdef\t#{@folder}\nbeef\t\t/elsewhere\t1\n"), "another clone's"
    assert_nil known_as(nil, '')
    assert_equal 'beef', known_as('beef', ''), 'Vagrant finds out itself that it is gone'
  end

  # What is removed after a node was destroyed, if the engine says that of its volume.
  def removed(volume)
    @docker = Engine.new(@lab)
    @docker.volume = volume
    @docker.clean_up(@lab.nodes.last)
    @docker.asked.select { |command| command[2] == 'rm' }.map(&:last)
  end

  def test_a_volume_of_another_clone_that_has_the_same_name_stays
    assert_equal %w[trial-store], removed("#{@lab.owner.id}\t/elsewhere\t1\n")
    assert_empty removed("0123456789abcdef\t#{@folder}\n")
    assert_empty removed("\t/elsewhere\t1\n")
  end
end
