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
    assert_equal record(id, @folder), File.read(File.join(@folder, '.lab/clone')), 'as lab/host/owner writes it'
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

  def record(id, folder)
    "#{id}\n#{folder}\n#{File.stat(folder).ino}\n"
  end

  def copy(from, to)
    FileUtils.cp_r(File.join(@root, from), File.join(@root, to))
  end

  def move(from, to)
    File.rename(File.join(@root, from), File.join(@root, to))
  end

  def refused(name)
    assert_raises(Swarmlab::Error) { elsewhere(name).refuse_copy }.message
  end

  def test_a_copy_is_known_for_one
    @owner.id
    copy('a', 'copy')
    assert_match(/copy is a copy of #{@folder}, .*remove \.lab and \.vagrant here first/, refused('copy'))
    File.symlink(@folder, File.join(@root, 'link'))
    %w[a link].each { |name| assert_nil elsewhere(name).refuse_copy }
    move('a', 'moved')
    assert_nil elsewhere('moved').refuse_copy
  end

  def test_a_copy_of_a_clone_that_was_moved_is_known_for_one
    @owner.id
    copy('a', 'before')
    move('a', 'moved')
    copy('moved', 'after')
    said = /of a clone that was at #{@folder}, .*remove \.lab and \.vagrant here; .*`touch #{@root}.*\.lab.moved`/
    %w[before after].each { |name| assert_match said, refused(name) }
    FileUtils.mkdir_p(@folder)
    assert_match said, refused('after'), 'another clone in its place'
    elsewhere('moved').renew
    copy('moved', 'late')
    assert_match(/late is a copy of #{@root}.moved, /, refused('late'))
  end

  def test_somebody_may_say_that_it_was_moved
    id = @owner.id
    copy('a', 'copy')
    FileUtils.touch(File.join(@root, 'copy/.lab/moved'))
    assert_match(/is a copy of/, refused('copy'))
    FileUtils.rm_rf(@folder)
    assert_nil elsewhere('copy').refuse_copy
    elsewhere('copy').renew
    assert_equal %w[clone], Dir.children(File.join(@root, 'copy/.lab')), 'said once'
    assert_equal record(id, elsewhere('copy').folder), File.read(File.join(@root, 'copy/.lab/clone'))
  end

  def test_the_record_of_an_earlier_version_is_read_and_renewed
    id = @owner.id
    File.write(File.join(@folder, '.lab/clone'), "#{id}\n#{@folder}\n")
    copy('a', 'copy')
    assert_match(/is a copy of/, refused('copy'))
    move('a', 'moved')
    assert_nil elsewhere('copy').refuse_copy
    assert_nil elsewhere('moved').refuse_copy
    elsewhere('moved').renew
    assert_equal record(id, elsewhere('moved').folder), File.read(File.join(@root, 'moved/.lab/clone'))
    assert_equal %w[clone], Dir.children(File.join(@root, 'moved/.lab'))
  end

  def test_a_folder_may_have_any_name
    "\u00fcber|two\nlines|a\n12".split('|').each do |name|
      folder = File.join(@root, name)
      FileUtils.mkdir_p(folder)
      id = Swarmlab::Owner.new(folder).id
      before = File.stat(File.join(folder, '.lab/clone')).ino
      Swarmlab::Owner.new(folder).renew
      assert_equal before, File.stat(File.join(folder, '.lab/clone')).ino, 'it is not written again'
      copy(name, "#{name}-copy")
      move(name, "#{name}-moved")
      assert_includes refused("#{name}-copy"), "was at #{folder}, "
      assert_equal id, elsewhere("#{name}-moved").id
    end
  end

  def test_a_clone_without_an_identity_is_given_none
    @owner.renew
    assert_empty Dir.children(@folder)
  end

  def test_with_the_keys_what_was_made_of_the_folder_is_ours
    id = @owner.id
    inode = File.stat(@folder).ino.to_s
    refute @owner.ours?('0123456789abcdef', @folder, inode), '.lab was deleted'
    FileUtils.mkdir_p(File.join(@folder, '.lab/pki'))
    assert @owner.ours?('0123456789abcdef', @folder, inode), 'only the note of the identity was lost'
    refute @owner.ours?('0123456789abcdef', @folder, '1'), "another folder's, which was here before"
    refute @owner.ours?('0123456789abcdef', @root, inode)
    assert @owner.ours?(id, '/elsewhere', '1')
  end

  def test_vagrants_notes_stand_in_the_clone
    ['', '.vagrant', File.join(@folder, '.vagrant')].each do |path|
      @owner.refuse_other_notes({ 'VAGRANT_DOTFILE_PATH' => path })
    end
    said = assert_raises(Swarmlab::Error) { @owner.refuse_other_notes({ 'VAGRANT_DOTFILE_PATH' => '../b/.vagrant' }) }
    assert_match(%r{VAGRANT_DOTFILE_PATH is \.\./b/\.vagrant: .*unset it}, said.message)
  end
end
