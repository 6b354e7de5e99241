# frozen_string_literal: true

module Swarmlab
  # The starts of a virtual machine. Vagrant makes a node of it, with ports, folders and addresses, in the run that
  # starts it, and leaves one alone that runs already: where that run was cut off, only another start helps. So a file
  # beside the machine's identifier says that its start came to its end.
  class Start
    # machine: the machine's configuration.
    def self.watch(machine)
      machine.trigger.before(:up) { |trigger| trigger.ruby { |_, known| new(known).prepare } }
      machine.trigger.after(:up) { |trigger| trigger.ruby { |_, known| new(known).finish } }
    end

    # States in which a provider does not tell whether the machine runs: it may, and is left as it is.
    UNTOLD = %i[unknown inaccessible host_state_unknown].freeze

    # machine: what Vagrant knows of it.
    def initialize(machine)
      @machine = machine
      @seen = machine.data_dir.join('started')
    end

    # Called before `vagrant up` looks at the machine.
    def prepare
      return if untold?

      if running?
        return if @seen.file? && @seen.read == @machine.id

        @machine.ui.info('Its start was cut off: starting it again')
        @machine.action(:halt, force_halt: true)
      end
      @seen.delete if @seen.file?
    end

    # Called when `vagrant up` is through with the machine.
    def finish
      @seen.write(@machine.id)
    end

    private

    def running?
      @machine.id && @machine.provider.state.id == :running
    end

    def untold?
      @machine.id && UNTOLD.include?(@machine.provider.state.id)
    end
  end
end
