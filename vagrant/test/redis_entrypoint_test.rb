# frozen_string_literal: true

require 'minitest/autorun'
require 'fileutils'
require 'open3'
require 'tmpdir'

# What the Redis image's entrypoint does to a log before Redis sees it.
class RedisEntrypointTest < Minitest::Test
  ENTRYPOINT = File.expand_path('../images/redis/entrypoint.sh', __dir__)
  WINDOW = 1 << 20
  COMMAND = "*1\r\n$4\r\nPING\r\n"

  def setup
    @folder = Dir.mktmpdir
    FileUtils.mkdir_p(File.join(@folder, 'bin'))
    FileUtils.mkdir_p(File.join(@folder, 'data/appendonlydir'))
    redis = File.join(@folder, 'bin/redis-server')
    File.write(redis, "#!/bin/sh\necho started \"$@\"\n")
    FileUtils.chmod(0o755, redis)
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  def path(name)
    File.join(@folder, 'data/appendonlydir', name)
  end

  def manifest(*logs)
    lines = logs.each.with_index(1).map { |log, seq| "file #{log} seq #{seq} type i\n" }
    File.write(path('appendonly.aof.manifest'), "file base.rdb seq 1 type b\n#{lines.join}")
  end

  def start(*command)
    path = "#{@folder}/bin:#{ENV.fetch('PATH')}"
    output, status = Open3.capture2e({ 'PATH' => path }, 'sh', ENTRYPOINT, *command, chdir: File.join(@folder, 'data'))
    assert status.success?, output
    output
  end

  # What becomes of a log.
  def left_of(content)
    manifest('1.incr.aof')
    File.binwrite(path('1.incr.aof'), content)
    assert_match(/^started --appendonly yes$/, start('redis-server', '--appendonly', 'yes'))
    File.binread(path('1.incr.aof'))
  end

  def test_zeros_at_the_end_are_cut_off
    [1, 3074, WINDOW - 1].each { |zeros| assert_equal COMMAND, left_of(COMMAND + ("\0" * zeros)) }
    assert_equal "#{COMMAND}*3\r\n$3", left_of("#{COMMAND}*3\r\n$3#{"\0" * 100}"), 'a command that was being written'
  end

  def test_nothing_else_is_touched
    value = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\0\0\n\0\r\n"
    ['', COMMAND, value, "#{COMMAND}rubbish", COMMAND + ("\0" * WINDOW)].each do |log|
      assert log.b == left_of(log), "#{log[0, 60].inspect}… was changed"
    end
  end

  def test_only_the_log_that_was_written_last_is_looked_at
    manifest('1.incr.aof', '2.incr.aof')
    %w[1 2].each { |n| File.binwrite(path("#{n}.incr.aof"), "#{COMMAND}\0\0") }
    assert_match(/2\.incr\.aof ended in 2 zeros/, start('redis-server'))
    assert_equal "#{COMMAND}\0\0", File.binread(path('1.incr.aof'))
    assert_equal COMMAND, File.binread(path('2.incr.aof'))
  end

  def test_it_starts_without_a_log_and_runs_other_programs
    assert_equal "started\n", start('redis-server')
    assert_equal "started --port 1\n", start('--port', '1')
    manifest
    assert_equal "started\n", start('redis-server')
    manifest('1.incr.aof')
    assert_equal "started\n", start('redis-server'), 'it is gone'
    File.binwrite(path('1.incr.aof'), "#{COMMAND}\0")
    assert_equal "other\n", start('echo', 'other')
    assert_equal "#{COMMAND}\0", File.binread(path('1.incr.aof'))
  end
end
