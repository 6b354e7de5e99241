# frozen_string_literal: true

require 'minitest/autorun'
require_relative '../inherit'

# What programs get of the environment. lab/host/inherit has the same list, and more tests.
class InheritTest < Minitest::Test
  OTHERS = {
    'VAGRANT_CWD' => '/other', 'VAGRANT_DOTFILE_PATH' => '/other', 'MAKEFLAGS' => 'n', 'BASH_ENV' => '/x',
    'CDPATH' => '/x', 'GOFLAGS' => '-x', 'DOCKER_DEFAULT_PLATFORM' => 'linux/s390x', 'GIT_DIR' => '/x',
    'RUBYOPT' => '-x', 'LAB_LOCK_HELD' => '1'
  }.freeze
  OWN = { 'PATH' => '/bin', 'DOCKER_HOST' => 'ssh://x', 'LAB_NAME' => 'blue', 'LC_ALL' => 'C' }.freeze

  def test_a_program_gets_what_is_a_users_own
    assert_equal OWN, Swarmlab::Inherit.environ(OTHERS.merge(OWN))
  end

  def test_a_proxy_is_not_for_this_host
    got = Swarmlab::Inherit.environ({ 'https_proxy' => 'http://p:1', 'NO_PROXY' => '.example.org, localhost' })
    assert_equal '.example.org,localhost,127.0.0.1,::1', got['no_proxy']
    assert_equal got['no_proxy'], got['NO_PROXY']
    assert_equal 'http://p:1', got['https_proxy']
    assert_equal({ 'PATH' => '/bin' }, Swarmlab::Inherit.environ({ 'PATH' => '/bin', 'NO_PROXY' => 'x' }))
  end

  def test_vagrant_keeps_its_own
    env = OTHERS.merge(OWN)
    Swarmlab::Inherit.clean(env)
    assert_equal %w[VAGRANT_CWD VAGRANT_DOTFILE_PATH GOFLAGS RUBYOPT LAB_LOCK_HELD], env.keys - OWN.keys
    assert_equal OWN, env.slice(*OWN.keys)
  end
end
