# frozen_string_literal: true

# What makes a plain `vagrant up` end in a ready lab: before the first machine is touched everything is built and
# prepared, and after the last one the lab command waits until the lab is ready. `lab up` does both itself, and calls
# Vagrant in between.

require 'English'
require 'fileutils'
require_relative 'inherit'
require_relative 'topology'

module Swarmlab
  # One `vagrant up`.
  class Up
    # Whoever sets it holds the clone's lock: the lab command when it calls Vagrant, and the Vagrantfile when it calls
    # the lab command. So neither waits for the other, and nothing is prepared twice.
    HELD = Inherit::HELD

    # An open file that Vagrant has from the lab command, by which it is known to be at work when that is gone. What
    # Vagrant starts must not have it, too: some of it stays for as long as a machine runs.
    def self.keep_to_oneself(env = ENV)
      number = env.delete(Inherit::HELD_FILE) or return

      IO.for_fd(Integer(number), autoclose: false).close_on_exec = true
    rescue ArgumentError, SystemCallError
      nil # there is no such file
    end

    # run: calls a program like Kernel#system, in the clone's folder, with Vagrant's own surroundings left behind.
    def initialize(lab, run:, env: ENV)
      @lab = lab
      @run = run
      @env = env
      @mutex = Mutex.new
    end

    # Called for every machine, from threads of their own; works for the first, and lets the others wait. provider is
    # the one that Vagrant uses. Returns whether it was the first, so that the end of the command is to be finished.
    def prepare(provider)
      return false if @env[HELD]

      @mutex.synchronize do
        raise Error, 'the lab is not prepared: see above' if @failed
        return false if @provider

        @failed = true
        lock
        build
        lab(provider, 'before') or raise Error, 'the lab could not be prepared: see above'
        @failed = false
        @provider = provider
      end
      true
    end

    # Called at the end of a command that prepared, with Vagrant's index of machines. Returns false when the lab did not
    # become ready.
    def finish(index, ended = $ERROR_INFO)
      return true unless ended.nil? || (ended.is_a?(SystemExit) && ended.success?)

      unlock(index)
      # The lab command gets a ctrl-C of the terminal itself, and is waited for.
      before = trap('INT') { nil }
      lab(@provider, 'after')
    ensure
      trap('INT', before) if before
    end

    private

    # The lock of lab/lifecycle. The kernel drops it when Vagrant ends.
    def lock
      FileUtils.mkdir_p(state, mode: 0o700)
      @lock = File.open(File.join(state, 'lock'), File::CREAT | File::RDWR, 0o600)
      unless @lock.flock(File::LOCK_EX | File::LOCK_NB)
        raise Error, "another command works on the lab of this clone: #{@lock.read.strip}; wait for it, or end it"
      end

      left = working
      unless left.empty?
        @lock.close
        raise Error, 'what another command has started still works on the lab of this clone: ' \
                     "#{left.join('; ')}; wait for it, or end it"
      end

      @lock.truncate(0)
      @lock.write("`vagrant up`, process #{Process.pid}, since #{Time.now.strftime('%T')}\n")
      @lock.flush
    end

    # Who is at work without the one that had the lock (lab/host/lock).
    def working
      Dir.children(File.join(state, 'working')).sort.filter_map do |name|
        next unless name.end_with?('.lock')

        File.open(File.join(state, 'working', name)) do |file|
          file.read.strip unless file.flock(File::LOCK_SH | File::LOCK_NB)
        end
      end
    rescue Errno::ENOENT
      []
    end

    # Vagrant kills the thread that looks after a machine's boot (WaitForCommunicator) wherever it stands, and at times
    # that is where it has locked the machine in the index. The lock would keep the lab command's own calls of Vagrant
    # from the machine until this process ends. To release what is not locked does nothing.
    def unlock(index)
      index.each { |machine| index.release(machine) }
    end

    # What is built already will do where there are no tools to build it with.
    def build
      missing = %w[make go].reject { |tool| there?(tool) }
      return make if missing.empty?
      return if File.executable?(command)

      raise Error, "missing: #{missing.join(', ')}; install with `vagrant/prerequisites.sh`, or as it says"
    end

    def make
      @run.call({}, 'make', '--no-print-directory', '-C', @lab.folder, 'build') or
        raise Error, 'the build failed: see above'
    end

    def there?(tool)
      folders = [File.join(state, 'go/bin'), *@env['PATH'].to_s.split(File::PATH_SEPARATOR)]
      folders.any? { |folder| File.executable?(File.join(folder, tool)) }
    end

    def lab(provider, step)
      @run.call({ HELD => '1', 'PROVIDER' => provider.to_s }, command, 'vagrant', step)
    end

    def command
      File.join(@lab.folder, 'bin/lab')
    end

    def state
      File.join(@lab.folder, '.lab')
    end
  end
end
