# frozen_string_literal: true

require 'minitest/autorun'
require 'fileutils'
require 'tmpdir'
require_relative '../up'

# What a plain `vagrant up` calls, and when. Programs are simulated.
class UpTest < Minitest::Test
  def setup
    @folder = Dir.mktmpdir
    FileUtils.mkdir_p([File.join(@folder, 'vagrant'), File.join(@folder, 'tools')])
    FileUtils.cp(File.expand_path('../topology.yaml', __dir__), File.join(@folder, 'vagrant'))
    tool('tools/make')
    tool('tools/go')
    @calls = []
    @fails = nil
    @index = []
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  def tool(path)
    path = File.join(@folder, path)
    FileUtils.mkdir_p(File.dirname(path))
    FileUtils.touch(path)
    FileUtils.chmod(0o755, path)
  end

  def up(env = {})
    env = { 'PATH' => File.join(@folder, 'tools') }.merge(env)
    run = lambda do |given, *command|
      @calls << [*given.map { |pair| pair.join('=') }, File.basename(command.first), command.last].join(' ')
      command.last != @fails
    end
    Swarmlab::Up.new(Swarmlab::Lab.load(@folder, {}), run: run, env: env)
  end

  def assert_mistake(expected, &block)
    assert_match expected, assert_raises(Swarmlab::Error, &block).message
  end

  BUILD = 'make build'
  BEFORE = 'LAB_LOCK_HELD=1 PROVIDER=libvirt lab before'
  AFTER = 'LAB_LOCK_HELD=1 PROVIDER=libvirt lab after'

  def test_it_prepares_once_and_finishes
    one = up
    assert one.prepare(:libvirt)
    refute one.prepare(:libvirt), 'the second machine'
    assert one.finish(@index, SystemExit.new(0))
    assert_equal [BUILD, BEFORE, AFTER], @calls
  end

  def test_machines_in_parallel_wait_for_the_one_that_prepares
    one = up
    first = Array.new(6) { Thread.new { one.prepare(:libvirt) && @calls.dup } }.map(&:value)
    assert_equal [[BUILD, BEFORE]], first.select(&:itself)
    assert_equal [BUILD, BEFORE], @calls
  end

  def test_it_leaves_everything_to_a_lab_command_that_called_vagrant
    refute up({ 'LAB_LOCK_HELD' => '1' }).prepare(:docker)
    assert_empty @calls
    refute File.exist?(File.join(@folder, '.lab')), 'nothing was locked'
  end

  def test_what_cannot_be_prepared_is_tried_once
    @fails = 'before'
    one = up
    assert_mistake(/could not be prepared/) { one.prepare(:libvirt) }
    assert_mistake(/is not prepared: see above/) { one.prepare(:libvirt) }
    assert_equal [BUILD, BEFORE], @calls
  end

  def test_a_build_that_fails
    @fails = 'build'
    assert_mistake(/the build failed/) { up.prepare(:libvirt) }
    assert_equal [BUILD], @calls
  end

  def test_it_waits_for_no_lab_that_vagrant_could_not_bring_up
    one = up
    one.prepare(:libvirt)
    [SystemExit.new(1), Interrupt.new, RuntimeError.new].each { |ended| assert one.finish(@index, ended) }
    assert_equal [BUILD, BEFORE], @calls
  end

  def test_a_lab_that_does_not_become_whole
    @fails = 'after'
    one = up
    one.prepare(:libvirt)
    refute one.finish(@index, SystemExit.new(0))
  end

  # As Vagrant::MachineIndex: release takes what is locked and what is not.
  Index = Struct.new(:machines, :calls) do
    def each(&block)
      machines.each(&block)
    end

    def release(machine)
      calls << "release #{machine}"
    end
  end

  def test_the_lab_command_finds_no_machine_locked
    one = up
    one.prepare(:libvirt)
    assert one.finish(Index.new(%w[manager store], @calls), SystemExit.new(0))
    assert_equal [BUILD, BEFORE, 'release manager', 'release store', AFTER], @calls
  end

  def test_without_tools_and_without_a_build
    FileUtils.rm(File.join(@folder, 'tools/go'))
    assert_mistake(/\Amissing: go; install/) { up.prepare(:libvirt) }
    assert_empty @calls
  end

  def test_without_tools_what_is_built_will_do
    FileUtils.rm(File.join(@folder, 'tools/make'))
    tool('bin/lab')
    up.prepare(:libvirt)
    assert_equal [BEFORE], @calls
  end

  def test_a_go_that_was_fetched
    FileUtils.rm(File.join(@folder, 'tools/go'))
    tool('.lab/go/bin/go')
    up.prepare(:libvirt)
    assert_equal [BUILD, BEFORE], @calls
  end

  def test_only_one_command_works_on_a_lab
    one = up
    one.prepare(:libvirt)
    assert_mistake(/another command works on the lab of this clone: `vagrant up`, process #{Process.pid}, since/) do
      up.prepare(:libvirt)
    end
    assert_equal [BUILD, BEFORE], @calls
  end

  # What a killed `lab up` leaves behind has its file locked (lab/host/lock).
  def test_what_a_killed_command_has_started_is_waited_for
    working = File.join(@folder, '.lab/working')
    FileUtils.mkdir_p(working)
    File.write(File.join(working, '1-0.lock'), "`vagrant up`, process 1, since 10:00:00\n")
    File.open(File.join(working, '1-0.lock')) do |file|
      file.flock(File::LOCK_EX)
      assert_mistake(/still works on the lab of this clone: `vagrant up`, process 1,/) { up.prepare(:libvirt) }
    end
    assert_empty @calls
    up.prepare(:libvirt)
    assert_equal [BUILD, BEFORE], @calls
  end

  def test_an_open_file_of_the_lab_command_is_not_handed_on
    IO.pipe do |read, write|
      write.close_on_exec = false
      env = { 'LAB_LOCK_FILE' => write.fileno.to_s }
      Swarmlab::Up.keep_to_oneself(env)
      assert write.close_on_exec?
      assert_empty env
      write.close
      read.read # what ends with the last that has it
    end
    Swarmlab::Up.keep_to_oneself({ 'LAB_LOCK_FILE' => '9999' })
    Swarmlab::Up.keep_to_oneself({ 'LAB_LOCK_FILE' => 'x' })
  end
end
