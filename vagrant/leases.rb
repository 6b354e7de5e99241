# frozen_string_literal: true

module Swarmlab
  # Vagrant notes for a minute which forwarded ports its machines take, as files, and each machine removes what is
  # older, also what others noted. It works on machines in parallel: where making one takes longer than that, two of
  # them remove the same note, and the second one fails ("No such file or directory … fp-leases"). That somebody else
  # removed it is no failure, so they look again.
  module Leases
    # action: Vagrant's step that does so.
    def self.guard(action)
      action.prepend(self)
    end

    def lease_check(*)
      super
    rescue Errno::ENOENT
      retry
    end

    def lease_release
      super
    rescue Errno::ENOENT
      retry
    end
  end
end
