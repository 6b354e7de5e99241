package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
)

// vagrant is for the Vagrantfile (vagrant/up.rb), which holds the clone's lock.
func (a *App) vagrant() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "vagrant",
		Short:  "What the Vagrantfile calls around a plain `vagrant up`",
		Hidden: true,
		Args:   args(cobra.NoArgs),
	}
	step := func(name, short string, do func(*lifecycle.Lifecycle, context.Context) error) *cobra.Command {
		return &cobra.Command{Use: name, Short: short, Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lifecycle()
			if err != nil {
				return err
			}
			// Were vagrant killed, which has the lock, this would go on: the lab stays locked for as long as it does.
			member, err := lock.Join(lock.Working(l.Lab), "`lab vagrant "+name+"`")
			if err != nil {
				return err
			}
			defer member.Leave()
			return do(l, cmd.Context())
		}}
	}
	cmd.AddCommand(
		step("before", "Make what nodes are made from", (*lifecycle.Lifecycle).BeforeVagrant),
		step("after", "Wait until the lab is ready, if all its nodes are up", (*lifecycle.Lifecycle).AfterVagrant),
	)
	return cmd
}
