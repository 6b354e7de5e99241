package cli

import "github.com/spf13/cobra"

func (a *App) up() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Bring the lab up, or what is broken of it",
		Long: `Brings up the nodes, waits until the application is ready, and casts a first vote through the load balancer.
Run again it repairs what is broken and changes nothing else. With other LAB_FRONTENDS or LAB_WORKERS it adds nodes, or
drains and removes them. Power faults that are in force end first. ` + "`make up`" + ` builds first.`,
		Example: `  lab up
  LAB_STAGE=infrastructure lab up           # bare nodes, to build the rest manually
  LAB_FRONTENDS=4 LAB_WORKERS=3 lab up      # more of them; later again with 2 and 1`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lifecycle()
			if err != nil {
				return err
			}
			a.endPowerFaults(cmd.Context(), l.Lab)
			return l.Up(cmd.Context())
		},
	}
}
