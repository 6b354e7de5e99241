# frozen_string_literal: true

require 'minitest/autorun'
require 'tmpdir'
require_relative '../owner'

# Whose things are. lab/host/owner has the same tests.
class OwnerTest < Minitest::Test
  def setup
    @root = Dir.mktmpdir
    @folder = File.join(@root, 'a')
    FileUtils.mkdir_p(@folder)
    @owner = Swarmlab::Owner.new(@folder)
  end

  def teardown
    FileUtils.rm_rf(@root)
  end

  def elsewhere(name)
    Swarmlab::Owner.new(File.join(@root, name))
  end

  def test_an_identity_is_made_once
    assert_nil @owner.known
    id = @owner.id
    assert_match(/\A[0-9a-f]{16}\z/, id)
    assert_equal [id] * 8, Array.new(8) { Thread.new { Swarmlab::Owner.new(@folder).id } }.map(&:value)
    assert_equal %w[clone], Dir.children(File.join(@folder, '.lab'))
    assert_equal "#{id}\n#{@folder}\n", File.read(File.join(@folder, '.lab/clone')), 'as lab/host/owner writes it'
  end

  def test_a_damaged_one_is_made_anew
    FileUtils.mkdir_p(File.join(@folder, '.lab'))
    File.write(File.join(@folder, '.lab/clone'), 'half')
    assert_match(/\A[0-9a-f]{16}\z/, @owner.id)
  end

  def test_what_was_made_is_ours_under_whatever_path
    id = @owner.id
    assert @owner.ours?(id, '/elsewhere')
    refute @owner.ours?('0123456789abcdef', @folder)
    File.symlink(@folder, File.join(@root, 'link'))
    assert elsewhere('link').ours?('', @folder), 'made before clones had an identity'
    refute @owner.ours?('', @root)
    refute @owner.ours?('', '')
    File.rename(@folder, File.join(@root, 'moved'))
    assert elsewhere('moved').ours?(id, @folder)
  end

  def test_a_copy_is_known_for_one
    @owner.id
    FileUtils.cp_r(@folder, File.join(@root, 'copy'))
    assert_equal @folder, elsewhere('copy').original
    assert_nil @owner.original
    File.symlink(@folder, File.join(@root, 'link'))
    assert_nil elsewhere('link').original
    File.rename(@folder, File.join(@root, 'moved'))
    assert_nil elsewhere('moved').original
  end

  def test_vagrants_notes_stand_in_the_clone
    ['', '.vagrant', File.join(@folder, '.vagrant')].each do |path|
      @owner.refuse_other_notes({ 'VAGRANT_DOTFILE_PATH' => path })
    end
    said = assert_raises(Swarmlab::Error) { @owner.refuse_other_notes({ 'VAGRANT_DOTFILE_PATH' => '../b/.vagrant' }) }
    assert_match(%r{VAGRANT_DOTFILE_PATH is \.\./b/\.vagrant: .*unset it}, said.message)
  end
end
