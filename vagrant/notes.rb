# frozen_string_literal: true

# Vagrant's notes, by which it knows which container is which node: .vagrant/machines/NODE/docker/id. This file knows
# nothing of Vagrant.

require 'shellwords'
require_relative 'inherit'
require_relative 'topology'

module Swarmlab
  # The notes of one lab. They are files, which are copied with a clone and outlive what they tell of, and Vagrant does
  # to a container whatever it is asked to do to the node without looking whose it is. So that is looked at before.
  class Notes
    ID = /\A[0-9a-f]{12,64}\z/.freeze
    # In the words of docker ps.
    FORMAT = ['{{.ID}}', *%w[node lab clone folder inode].map { |name| %({{.Label "swarmlab.#{name}"}}) }].join("\t")

    Container = Struct.new(:id, :node, :lab, :identity, :folder, :inode)

    # ask: runs docker with arguments; returns what it prints, or nil when it fails.
    def initialize(lab, ask:, env: ENV)
      @lab = lab
      @ask = ask
      @env = env
    end

    # Raises an Error when a container that is noted for a node is something else. What cannot be asked, or is no more,
    # Vagrant finds out itself.
    def refuse_others
      noted = read
      return if noted.empty? || for_machines?

      refuse(containers(noted.keys).filter_map { |one| noted[one.id] && [noted[one.id], one] })
    end

    private

    # The nodes' names, by the containers' identifiers.
    def read
      @lab.nodes.to_h { |node| [id(node), node.name] }.select { |id, _| id.match?(ID) }
    end

    def id(node)
      File.read(File.join(@lab.folder, '.vagrant/machines', node.name, 'docker/id')).strip
    rescue SystemCallError
      ''
    end

    def containers(ids)
      filters = ids.flat_map { |id| ['--filter', "id=#{id}"] }
      said = @ask.call('ps', '--all', '--no-trunc', *filters, '--format', FORMAT).to_s
      said.lines.map { |line| Container.new(*line.chomp.split("\t", 6)) }
    end

    # The lab command has to do with virtual machines; containers it removes without Vagrant.
    def for_machines?
      @env[Inherit::HELD] && ![nil, '', 'docker'].include?(@env['PROVIDER'])
    end

    def refuse(known)
      ours, others = known.partition { |_, one| @lab.owner.ours?(one.identity, one.folder, one.inode) }
      refuse_forsaken(others)
      refuse_anothers(others) unless others.empty?
      refuse_lab(ours.reject { |_, one| one.lab == @lab.name })
      refuse_node(ours.reject { |name, one| one.node == name })
    end

    # The same is told by lab/lifecycle.
    def refuse_forsaken(others)
      _, one = others.find { |_, other| @lab.owner.of_this_folder?(other.folder, other.inode) }
      return unless one

      raise Error, "the lab #{one.lab} of this clone is there, but .lab, which held its keys, settings and ledgers, " \
                   'was deleted: nothing can be done with its nodes any more. `make down` removes them, with the ' \
                   'votes on them; then `make up` makes new ones'
    end

    def refuse_anothers(others)
      folder = others.first.last.folder
      whose = folder.empty? ? 'no node of a lab' : "a node of the clone at #{folder}"
      raise Error, "what Vagrant's notes in this clone lead to for #{names(others)} is #{whose}; nothing was done to " \
                   "it. If this clone is a copy, its notes are the other one's: #{remove}"
    end

    def refuse_lab(others)
      return if others.empty?

      made = others.first.last.lab
      raise Error, "the nodes of this clone were made for the lab #{made}, and the lab is called #{@lab.name} now: " \
                   "set LAB_NAME=#{made}, and what else was set then, or take that lab down first: `make down`"
    end

    def refuse_node(others)
      return if others.empty?

      name, one = others.first
      raise Error, "what Vagrant's notes in this clone lead to for #{name} is node #{one.node}; nothing was done to " \
                   "it: #{remove}"
    end

    # Nothing is lost with the notes: at the next `vagrant up` the nodes are found by their labels.
    def remove
      folder = Shellwords.escape(File.join(@lab.folder, '.vagrant/machines'))
      "remove them (`rm -r #{folder}/*/docker`)"
    end

    def names(known)
      known.map(&:first).sort.join(', ')
    end
  end
end
