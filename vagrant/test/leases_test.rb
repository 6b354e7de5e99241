# frozen_string_literal: true

require 'minitest/autorun'
require_relative '../leases'

# What Vagrant notes of forwarded ports, while several machines come up.
class LeasesTest < Minitest::Test
  # A step of Vagrant whose notes others remove now and then.
  class Step
    attr_reader :tries

    def initialize(removals)
      @removals = removals
      @tries = 0
    end

    def lease_check(host = nil, port = 0)
      try
      [host, port]
    end

    def lease_release
      try
      :released
    end

    private

    def try
      @tries += 1
      raise Errno::ENOENT, 'fp-leases/127_0_0_1_19021' if @tries <= @removals
    end
  end

  Swarmlab::Leases.guard(Step)
  # The Vagrantfile is read several times.
  Swarmlab::Leases.guard(Step)

  def test_a_note_that_somebody_else_removed_is_no_failure
    step = Step.new(2)
    assert_equal ['127.0.0.1', 19_021], step.lease_check('127.0.0.1', 19_021)
    assert_equal 3, step.tries
    step = Step.new(1)
    assert_equal :released, step.lease_release
    assert_equal 2, step.tries
  end
end
