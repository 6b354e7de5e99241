# frozen_string_literal: true

require 'minitest/autorun'
require 'digest'
require 'fileutils'
require 'open3'
require 'tmpdir'

# The scripts around provisioning that need no node.
class ProvisionTest < Minitest::Test
  VAGRANT = File.expand_path('..', __dir__)

  def setup
    @folder = Dir.mktmpdir
    write('bin/labagent', 'agent')
    write('bin/role-worker', 'worker')
    write('provision/provision.sh', 'script')
    write('pki/node.key', 'key')
    write('secrets/a secret', 'x')
    write('app/web-vote-app/Dockerfile', 'FROM scratch')
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  def write(path, content)
    path = File.join(@folder, path)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, content)
  end

  def run_script(*command)
    output, status = Open3.capture2e(*command)
    assert status.success?, output
    output
  end

  def provision_hash(folder = @folder)
    run_script('sh', File.join(VAGRANT, 'provision/hash.sh'), folder).chomp
  end

  def test_the_hash_is_the_one_that_is_written_down
    files = {
      'app/web-vote-app/Dockerfile' => 'FROM scratch', 'bin/labagent' => 'agent', 'bin/role-worker' => 'worker',
      'pki/node.key' => 'key', 'provision/provision.sh' => 'script', 'secrets/a secret' => 'x'
    }
    lines = files.map { |path, content| "#{path}\0#{Digest::SHA256.hexdigest(content)}\n" }
    assert_equal Digest::SHA256.hexdigest(lines.join)[0, 16], provision_hash
  end

  def test_the_hash_does_not_depend_on_where_the_folders_are
    Dir.mktmpdir do |elsewhere|
      FileUtils.cp_r("#{@folder}/.", elsewhere)
      assert_equal provision_hash, provision_hash(elsewhere)
    end
  end

  def test_the_hash_changes_with_what_is_installed_and_only_then
    before = provision_hash
    write('bundle/redis.tar', 'an image')
    assert_equal before, provision_hash, 'the bundle'
    write('bin/role-worker', 'another worker')
    refute_equal before, provision_hash
  end

  def test_a_secret_that_is_taken_away_changes_the_hash
    before = provision_hash
    FileUtils.rm(File.join(@folder, 'secrets/a secret'))
    refute_equal before, provision_hash
  end

  def test_hosts_replaces_its_own_lines_and_no_others
    write('list', "192.168.33.11 manager\n")
    write('hosts', "127.0.0.1 localhost\n192.168.33.20 frontend01\n")
    script = File.join(VAGRANT, 'provision/root/usr/local/lib/swarmlab/hosts')
    2.times { run_script('sh', script, File.join(@folder, 'list'), File.join(@folder, 'hosts')) }
    write('list', "192.168.33.11 manager\n192.168.33.250 store\n")
    run_script('sh', script, File.join(@folder, 'list'), File.join(@folder, 'hosts'))
    assert_equal <<~HOSTS, File.read(File.join(@folder, 'hosts'))
      127.0.0.1 localhost
      192.168.33.20 frontend01
      # swarmlab nodes
      192.168.33.11 manager
      192.168.33.250 store
      # end of swarmlab nodes
    HOSTS
  end

  AGENT_YAML = <<~YAML
    lab: swarmlab
    subnet: 192.168.33.0/24
    stage: application
    node: frontend01
    listen: 0.0.0.0:7400
    nodes:
    - name: interlock
      role: interlock
      address: 192.168.33.12
      ordinal: 1
    - name: boss
      role: manager
      address: 192.168.33.11
      ordinal: 1
    - name: frontend01
      role: frontend
      address: 192.168.33.20
      ordinal: 1
  YAML

  # What chrony is told on a node of a role, without comments.
  def chrony(role)
    write('agent.yaml', AGENT_YAML)
    conf = run_script('sh', File.join(VAGRANT, 'provision/chrony.sh'), role, File.join(@folder, 'agent.yaml'))
    conf.lines(chomp: true).reject { |line| line.empty? || line.start_with?('#') }
  end

  def test_the_manager_keeps_the_labs_time_and_serves_the_lab_only
    conf = chrony('manager')
    assert_includes conf, 'local stratum 10'
    assert_equal ['allow 192.168.33.0/24'], conf.grep(/allow/)
    assert_equal ['pool 2.debian.pool.ntp.org iburst'], conf.grep(/pool|server/)
  end

  def test_the_others_know_no_time_but_the_managers_and_serve_nobody
    %w[interlock frontend worker store].each do |role|
      conf = chrony(role)
      assert_equal ['server 192.168.33.11 iburst minpoll 2 maxpoll 4'], conf.grep(/pool |server/)
      assert_empty conf.grep(/\A(local|allow)/)
    end
  end

  def test_every_chrony_steps_at_any_time_and_has_no_port_for_commands
    %w[manager worker].each do |role|
      assert_includes chrony(role), 'makestep 0.5 -1'
      assert_includes chrony(role), 'cmdport 0'
    end
  end

  def test_chrony_is_told_nothing_when_the_manager_is_not_known
    write('agent.yaml', AGENT_YAML.sub('role: manager', 'role: worker'))
    output, status = Open3.capture2e('sh', File.join(VAGRANT, 'provision/chrony.sh'), 'worker',
                                     File.join(@folder, 'agent.yaml'))
    refute status.success?
    assert_match(/names no manager/, output)
    refute_match(/server/, output)
  end

  def test_the_image_is_named_after_what_goes_into_it
    FileUtils.cp_r(VAGRANT, File.join(@folder, 'vagrant'))
    tag = -> { run_script(File.join(@folder, 'vagrant/node/build.sh'), '--tag').chomp }
    before = tag.call
    assert_match(%r{\Aswarmlab/node:[0-9a-f]{12}\z}, before)
    write('vagrant/test/provision_test.rb', '')
    assert_equal before, tag.call, 'a test'
    packages = File.read(File.join(VAGRANT, 'provision/packages'))
    write('vagrant/provision/packages', "#{packages}tcpdump\n")
    refute_equal before, tag.call
    write('vagrant/provision/packages', packages)
    FileUtils.chmod(0o644, File.join(@folder, 'vagrant/node/entrypoint'))
    refute_equal before, tag.call, 'a mode'
  end
end
