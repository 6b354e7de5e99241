# frozen_string_literal: true

# Whose a container, a volume or a network is, for the Vagrantfile. The same is written in Go (lab/host/owner), where it
# is told why. This file knows nothing of Vagrant.

require 'fileutils'
require 'securerandom'

module Swarmlab
  # A mistake, to be shown as it is.
  class Error < StandardError; end

  # A clone's folder, and its identity.
  class Owner
    ID = /\A[0-9a-f]{16}\z/.freeze

    attr_reader :folder

    def initialize(folder)
      @folder = folder
    end

    # The identity, made at its first use.
    def id
      read.first || sign
    end

    # The clone that this one is a copy of, with its .lab; nil for one of its own.
    def original
      known, made = read
      return if known.nil? || made.to_s.empty? || File.identical?(made, folder) || Owner.new(made).known != known

      made
    end

    # The identity, if there is one.
    def known
      read.first
    end

    # Vagrant's notes of machines stand in the clone: the lab command looks for them there, and destroys by them.
    def refuse_other_notes(env = ENV)
      given = env['VAGRANT_DOTFILE_PATH'].to_s
      ours = File.join(folder, '.vagrant')
      path = File.expand_path(given, folder)
      return if given.empty? || path == ours || File.identical?(path, ours)

      raise Error, "VAGRANT_DOTFILE_PATH is #{given}: the lab would lose its machines from sight, whose notes it " \
                   "keeps in #{ours}; unset it"
    end

    # What everything that is made of the clone is labelled with.
    def labels
      { 'swarmlab.folder' => folder, 'swarmlab.clone' => id, 'swarmlab.inode' => File.stat(folder).ino.to_s }
    end

    # Whether something with these labels is this clone's.
    def ours?(clone = nil, folder = nil)
      return clone == known unless clone.to_s.empty?

      !folder.to_s.empty? && File.identical?(folder, @folder)
    end

    private

    def file
      File.join(folder, '.lab/clone')
    end

    def read
      id, made = File.read(file).split("\n", 2)
      id.to_s.match?(ID) ? [id, made.to_s.chomp] : []
    rescue SystemCallError
      []
    end

    # Two at once get one identity: the first that has the file keeps it.
    def sign
      FileUtils.mkdir_p(File.dirname(file), mode: 0o700)
      fresh = SecureRandom.hex(8)
      temporary = "#{file}.#{fresh}.new"
      File.write(temporary, "#{fresh}\n#{folder}\n", perm: 0o600)
      keep(temporary)
      known
    ensure
      FileUtils.rm_f(temporary) if temporary
    end

    def keep(temporary)
      File.link(temporary, file)
    rescue SystemCallError
      # There is one, which may be damaged, or the file system knows no links.
      File.rename(temporary, file) unless known
    end
  end
end
