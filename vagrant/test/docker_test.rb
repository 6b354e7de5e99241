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
    assert_equal ['swarmlab.lab=trial', "swarmlab.folder=#{@folder}", 'swarmlab.node=store'], values('--label')
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
    attr_accessor :has
    attr_reader :asked

    private

    def capture(*command)
      @asked = [*@asked, command]
      command[0, 2] == %w[docker ps] ? has.to_s : ''
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
    assert_equal 'c0ffee', known_as(nil, "c0ffee\n")
    assert_equal 'c0ffee', known_as('preparing', "c0ffee\n")
    assert_includes @docker.asked, %W[
      docker ps --all --quiet --no-trunc --filter label=swarmlab.lab=trial
      --filter label=swarmlab.folder=#{@folder} --filter label=swarmlab.node=store
    ]
    assert_nil known_as(nil, '')
    assert_equal 'beef', known_as('beef', ''), 'Vagrant finds out itself that it is gone'
  end
end
