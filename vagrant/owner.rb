# frozen_string_literal: true

# Whose a container, a volume or a network is, for the Vagrantfile. The same is written in Go (lab/host/owner), where it
# is told why. This file knows nothing of Vagrant.

require 'fileutils'
require 'securerandom'
require 'shellwords'

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

    # Whatever a copy did it would do to the lab of the other clone.
    def refuse_copy
      known, made, then_inode = read
      return if known.nil? || made.to_s.empty? || File.identical?(made, folder)

      refuse_copy_of(made) if Owner.new(made).known == known
      return if ['', inode].include?(then_inode) || File.exist?(moved)

      raise Error, "#{folder} has the .lab of a clone that was at #{made}, and may be that clone, moved to another " \
                   'file system, or a copy, which would work on the lab of that clone: if it is a copy, remove .lab ' \
                   "and .vagrant here; if the clone itself was moved, say so: `touch #{Shellwords.escape(moved)}`"
    end

    # Writes down where the clone is now, if it has an identity.
    def renew
      known, made, then_inode = read
      return if known.nil? || (made == folder && then_inode == inode && !File.exist?(moved))

      write(known) { |temporary| File.rename(temporary, file) }
      FileUtils.rm_f(moved)
    rescue SystemCallError
      nil # what was written before is as good as it was
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
      { 'swarmlab.folder' => folder, 'swarmlab.clone' => id, 'swarmlab.inode' => inode }
    end

    # Whether something with these labels is this clone's. One that has its keys has only lost the note of its
    # identity.
    def ours?(clone = nil, folder = nil, inode = nil)
      return true if !clone.to_s.empty? && clone == known

      of_this_folder?(folder, inode) && (clone.to_s.empty? || File.exist?(File.join(@folder, '.lab/pki')))
    end

    # Whether something with these labels was made of this very folder.
    def of_this_folder?(folder, number)
      !folder.to_s.empty? && File.identical?(folder, @folder) && ['', inode].include?(number.to_s)
    end

    private

    def inode
      File.stat(folder).ino.to_s
    end

    def file
      File.join(folder, '.lab/clone')
    end

    # By this file somebody says that the clone is one that was moved, where nothing else tells.
    def moved
      File.join(folder, '.lab/moved')
    end

    def refuse_copy_of(original)
      raise Error, "#{folder} is a copy of #{original}, and its .lab is that clone's, whose lab it would work on: " \
                   'go there, or remove .lab and .vagrant here first'
    end

    # The identity, the folder that the clone had when that was written down last, and that folder's inode.
    def read
      # As bytes: a path may be in any language, and need not be in the shell's.
      id, made = File.binread(file).split("\n", 2)
      return [] unless id.to_s.match?(ID)

      # A folder's name may have several lines; an earlier version wrote no inode.
      place = made.to_s.chomp.match(/\A(.*?)(?:\n(\d*))?\z/m).captures
      [id, *place].map { |part| part.to_s.dup.force_encoding(Encoding::UTF_8) }
    rescue SystemCallError
      []
    end

    # Each of several commands at once writes a file of its own, so that nobody reads half of one.
    def write(id)
      temporary = "#{file}.#{SecureRandom.hex(8)}.new"
      File.write(temporary, "#{id}\n#{folder}\n#{inode}\n", perm: 0o600)
      yield temporary
    ensure
      FileUtils.rm_f(temporary)
    end

    # Two at once get one identity: the first that has the file keeps it.
    def sign
      FileUtils.mkdir_p(File.dirname(file), mode: 0o700)
      write(SecureRandom.hex(8)) { |temporary| keep(temporary) }
      known
    end

    def keep(temporary)
      File.link(temporary, file)
    rescue SystemCallError
      # There is one, which may be damaged, or the file system knows no links.
      File.rename(temporary, file) unless known
    end
  end
end
