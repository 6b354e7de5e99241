# frozen_string_literal: true

require 'minitest/autorun'
require 'fileutils'
require 'ostruct'
require 'pathname'
require 'tmpdir'
require_relative '../start'

# Whether `vagrant up` starts a virtual machine anew, with what Vagrant knows of the machine simulated.
class StartTest < Minitest::Test
  # The machine that Vagrant knows, with a state and the actions that were asked for.
  Machine = Struct.new(:data_dir, :id, :now, :actions) do
    def provider
      OpenStruct.new(state: OpenStruct.new(id: now))
    end

    def ui
      self
    end

    def info(_text); end

    def action(*what)
      actions << what
      self.now = :shutoff
    end
  end

  HALT = [:halt, { force_halt: true }].freeze

  def setup
    @folder = Dir.mktmpdir
    @machine = Machine.new(Pathname(@folder), nil, :not_created, [])
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  # One `vagrant up`; the run is cut off before its end or not.
  def up(cut_off: false)
    Swarmlab::Start.new(@machine).prepare
    @machine.id ||= 'one'
    @machine.now = :running
    Swarmlab::Start.new(@machine).finish unless cut_off
  end

  def test_a_machine_that_runs_is_left_alone
    up
    up
    assert_empty @machine.actions
  end

  def test_a_start_that_was_cut_off_is_begun_again
    up(cut_off: true)
    up
    up
    assert_equal [HALT], @machine.actions
  end

  def test_so_is_a_later_one
    up
    @machine.now = :shutoff
    up(cut_off: true)
    assert_empty @machine.actions
    up
    assert_equal [HALT], @machine.actions
  end

  def test_another_machine_of_the_same_name
    up
    @machine.id = 'two'
    up(cut_off: true)
    assert_equal [HALT], @machine.actions
  end

  def test_a_machine_whose_provider_does_not_tell_is_not_started_again
    up
    @machine.now = :unknown
    up(cut_off: true)
    up
    assert_empty @machine.actions
  end

  def test_a_machine_that_sleeps_is_woken_by_vagrant
    up
    @machine.now = :saved
    up
    assert_empty @machine.actions
  end
end
