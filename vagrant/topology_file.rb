# frozen_string_literal: true

# vagrant/topology.yaml as it stands there: the subnet, the roles and the entries for nodes, each checked by itself.
#
# The lab command reads the same file in Go (lab/host/topology). Both take the same files and refuse the same, by rules
# that have the same form there (plain.go, parse.go); a test (lab/host/settings, TestFilesInRuby) holds them to it with
# one table of files. So the file is not loaded, which makes of 0100 what YAML 1.1 makes of it: its nodes are read as
# they were written. This file knows nothing of Vagrant, nor of settings.

require 'ipaddr'
require 'yaml'

module Swarmlab
  # A mistake in the settings or in the topology, to be shown as it is.
  class Error < StandardError; end

  # A network in CIDR notation that may be a lab's.
  module Subnet
    NUMBER = '(?:0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])'
    CIDR = %r{\A#{NUMBER}(?:\.#{NUMBER}){3}/(?:[12]?\d|3[0-2])\z}.freeze
    PRIVATE = %w[10.0.0.0/8 172.16.0.0/12 192.168.0.0/16].map { |net| IPAddr.new(net) }.freeze
    # Within each node these are the swarm's overlays, docker0 and docker_gwbridge: they would hide the lab's own.
    RESERVED = %w[10.0.0.0/16 172.17.0.0/16 172.18.0.0/16].map { |net| IPAddr.new(net) }.freeze

    # The network, or nil with the reason why it cannot be a lab's.
    def self.read(cidr)
      return [nil, "subnet #{cidr} is not private: take one of IPv4"] if cidr.include?(':')
      return [nil, "subnet #{cidr.inspect}: expected a network such as 192.168.33.0/24"] unless cidr.match?(CIDR)

      net = IPAddr.new(cidr)
      reason = written_otherwise(net, cidr) || against(net, cidr)
      reason ? [nil, reason] : [net, nil]
    end

    def self.written_otherwise(net, cidr)
      address, bits = cidr.split('/')
      "subnet #{cidr}: write #{net}/#{bits}" unless net.to_s == address
    end

    def self.against(net, cidr)
      return "subnet #{cidr} is not private" unless PRIVATE.any? { |all| within?(net, all) }

      taken = RESERVED.find { |other| within?(net, other) || within?(other, net) }
      "subnet #{cidr} overlaps #{taken}, a network within each node" if taken
    end

    # Older versions of IPAddr take a larger network for a part of a smaller one.
    def self.within?(net, all)
      all.prefix <= net.prefix && all.include?(net)
    end

    private_class_method :written_otherwise, :against, :within?
  end

  # How far the lines of a file are indented: a value that has a line of its own is indented more than the key or dash
  # it belongs to. Within brackets, of which not too many are open, indentation means nothing.
  class Blocks
    # The blanks and dashes before a line's content; a line that has a key.
    LEAD = /\A *(- +)*(-\z)?/.freeze
    KEY = /: |: *\z/.freeze
    # So many may be open at the same time. A topology needs three.
    MAX_BRACKETS = 8

    def initialize
      @brackets = @above = 0
    end

    # What is wrong with the next line that is not empty, without its comment and its quoted words; nil if nothing is.
    def wrong(line)
      reason = misplaced(line) if @brackets.zero?
      line.scan(/[\[\]{}]/) { |sign| @brackets = '[{'.include?(sign) ? @brackets + 1 : [@brackets - 1, 0].max }
      @brackets > MAX_BRACKETS ? "more than #{MAX_BRACKETS} brackets in brackets" : reason
    end

    private

    # A key within brackets is none of the block's.
    def misplaced(line)
      lead = line[LEAD]
      if line[/\A[^\[{]*/].match?(KEY)
        @above = lead.length + 1
      elsif lead.include?('-')
        @above = lead.rindex('-') + 1
      elsif lead.length < @above
        return 'the value belongs to a key or a dash above it, and is not indented more than that'
      end
      nil
    end
  end

  # The file's text, in the part of YAML in which all its libraries agree.
  class PlainYAML
    MAX_SIZE = 64 << 10
    # What may stand in a line before its comment.
    CODE = %r{\A[A-Za-z0-9 \-_.,:/\[\]\{\}"']*\z}.freeze
    # What YAML 1.1 lets stand in a comment.
    COMMENT = /\A[\t\u0020-\u007e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\u{10000}-\u{10ffff}]*\z/.freeze
    # Words in quotes, within which colons and commas are no signs, and a colon that some libraries take for the end of
    # a key and others for a part of it.
    QUOTED = /"[^"]*"|'[^']*'/.freeze
    TIGHT = /:[^ ]/.freeze
    # A comma with nothing before it.
    HOLE = /[\[{,][ \n]*,/.freeze
    # A word, or several, that may be too long for a key: some libraries take 1,024 characters at most.
    LONG = /[^\[\]{},]{1000}|"[^"]{1000}|'[^']{1000}/.freeze
    # A list directly in a list. No topology has any, and Psych takes minutes for thousands of them.
    NESTED = /\A *- +-( |\z)/.freeze
    # The mark at which a document begins; one that has something beside it, or ends a document.
    BEGINS = /\A--- *\z/.freeze
    OTHER_MARK = /\A(---|\.\.\.)/.freeze

    # Psych's root node of the one document. The block is called with a line, or nil, and what is wrong there.
    def self.root(path, &mistake)
      text = decode(read(path, &mistake), &mistake)
      check_all(text.split("\n", -1).map { |line| code(line) }, &mistake)
      Psych.parse_stream(text).children.map(&:root).first || mistake.call(nil, 'holds no YAML document; expected one')
    rescue Psych::SyntaxError => e
      mistake.call(e.line, "not valid YAML: #{e.problem} #{e.context}".strip)
    end

    def self.read(path)
      File.binread(path)
    rescue Errno::ENOENT
      yield nil, 'the file is missing'
    rescue SystemCallError => e
      yield nil, "cannot be read: #{e.message}"
    end

    def self.decode(data)
      yield nil, "is larger than #{MAX_SIZE >> 10} KiB, which no topology is" if data.bytesize > MAX_SIZE
      text = data.force_encoding(Encoding::UTF_8)
      yield nil, 'is not in UTF-8; save it in that encoding' unless text.valid_encoding?
      text.delete_prefix("\ufeff").gsub("\r\n", "\n")
    end

    # A line without its comment, and the comment.
    def self.code(line)
      at = line =~ /(?<![^ \t])#/ || line.length
      [line[0...at], line[at..]]
    end

    def self.check_all(lines, &mistake)
      lines.each.with_index(1) { |line, number| check(*line) { |reason| mistake.call(number, reason) } }
      codes = lines.map(&:first)
      check_blocks(codes, &mistake)
      unquoted = codes.map { |code| code.gsub(QUOTED, 'q') }.join("\n")
      mistake.call(nil, 'a comma with nothing before it') if unquoted.match?(HOLE)
      mistake.call(nil, 'holds more than one YAML document; expected one') if several?(codes)
    end

    def self.check(code, comment, &mistake)
      outside = code.chars.find { |character| !character.match?(CODE) }
      yield "#{outside.inspect} does not belong here; no tabs, anchors, aliases, merge keys or tags" if outside
      yield 'the comment has characters that are not printed' unless comment.match?(COMMENT)
      check_signs(code, &mistake) unless code.match?(BEGINS)
    end

    def self.check_signs(code)
      bare = code.gsub(QUOTED, 'q')
      _, _, reason = [
        [code, OTHER_MARK, "a document's mark with something beside it, or at its end: take the line away"],
        [bare, TIGHT, 'a colon without a blank behind it'],
        [code, LONG, '1,000 characters or more without a comma or a bracket'],
        [bare, NESTED, 'a list in a list']
      ].find { |text, sign, _| text.match?(sign) }
      yield reason if reason
    end

    def self.check_blocks(codes)
      blocks = Blocks.new
      codes.each.with_index(1) do |code, number|
        next if code.strip.empty? || code.match?(BEGINS)

        reason = blocks.wrong(code.gsub(QUOTED, 'q'))
        yield number, reason if reason
      end
    end

    # A document begins behind another one.
    def self.several?(lines)
      content = lines.drop_while { |code| code.strip.empty? }.drop(1)
      content.any? { |code| code.match?(BEGINS) }
    end

    private_class_method :read, :decode, :code, :check_all, :check, :check_signs, :check_blocks, :several?
  end

  # The content of the file.
  class TopologyFile
    ROLES = %w[manager interlock frontend worker store].freeze
    NAME = /\A[a-z]([a-z0-9-]{0,30}[a-z0-9])?\z/.freeze
    DECIMAL = /\A(0|[1-9][0-9]{0,8})\z/.freeze
    # What YAML takes for something else than a word.
    NO_WORDS = %w[null true false].freeze
    NUMBERS = { 'octet' => 2..254, 'memory' => 128..(1 << 20), 'cpus' => 1..256, 'count' => 1..99 }.freeze

    # The network, nil where none is given; the names of all roles; the entries, with the keys that they have.
    attr_reader :subnet, :roles, :groups

    def initialize(path)
      @path = path
      root = PlainYAML.root(path) { |line, reason| fail!(line, reason) }
      fields = fields(root, 'the topology', %w[subnet nodes roles])
      @subnet = subnet_of(fields['subnet']) if fields.key?('subnet')
      @roles = ROLES + declared(fields['roles'])
      nodes = fields.fetch('nodes', root)
      fail!(line(nodes), 'nodes: expected a list of at least one node') unless list?(nodes) && nodes.children.any?
      @groups = nodes.children.map { |node| group(node) }
    end

    private

    def fail!(line, reason)
      raise Error, [@path, line].compact.join(':') + ": #{reason}"
    end

    def line(node)
      node.start_line + 1
    end

    def list?(node)
      node.is_a?(Psych::Nodes::Sequence)
    end

    # The values of a mapping by key.
    def fields(node, what, known)
      names = known.join(', ')
      fail!(line(node), "#{what}: expected a mapping with #{names}") unless node.is_a?(Psych::Nodes::Mapping)
      node.children.each_slice(2).with_object({}) do |(key, value), fields|
        name = key.is_a?(Psych::Nodes::Scalar) ? key.value : ''
        fail!(line(key), "unknown field #{name} in #{what} (known: #{names})") unless known.include?(name)
        fail!(line(key), "#{name} stands twice in #{what}") if fields.key?(name)
        fields[name] = value
      end
    end

    def subnet_of(node)
      net, reason = Subnet.read(word(node, 'subnet'))
      net || fail!(line(node), reason)
    end

    def declared(node)
      return [] unless node

      fail!(line(node), 'roles: expected a list of names') unless list?(node)
      node.children.each_with_object([]) do |role, names|
        name = word(role, 'roles')
        fail!(line(role), "roles: #{name.inspect} is no role name") unless name.match?(NAME)
        fail!(line(role), "roles: #{name} is declared twice or built in") if (ROLES + names).include?(name)
        names << name
      end
    end

    def group(node)
      fields = fields(node, 'a node', %w[name role] + NUMBERS.keys)
      missing = %w[name role octet].find { |key| !fields.key?(key) }
      fail!(line(node), "a node without #{missing}") if missing
      name = word(fields['name'], 'name')
      fail!(line(node), "#{name.inspect} is no node name") unless name.match?(NAME)
      { 'name' => name, 'role' => role(fields['role'], name), **numbers(fields, name) }
    end

    def role(node, name)
      role = word(node, 'role')
      @roles.include?(role) ? role : fail!(line(node), "node #{name}: unknown role #{role.inspect}")
    end

    def numbers(fields, name)
      NUMBERS.slice(*fields.keys).to_h { |key, range| [key, number(fields[key], "node #{name}: #{key}", range)] }
    end

    def word(node, what)
      scalar = node.is_a?(Psych::Nodes::Scalar) && node.value != ''
      return node.value if scalar && (node.quoted || !NO_WORDS.include?(node.value.downcase))

      fail!(line(node), "#{what}: expected a word")
    end

    def number(node, what, range)
      scalar = node.is_a?(Psych::Nodes::Scalar)
      decimal = scalar && !node.quoted && node.value.match?(DECIMAL)
      return node.value.to_i if decimal && range.cover?(node.value.to_i)

      given = scalar ? node.value : 'something else'
      given = given.inspect unless decimal
      fail!(line(node), "#{what} is #{given}; expected a number, #{range.first} to #{range.last}")
    end
  end
end
