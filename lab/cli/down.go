package cli

import (
	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/lifecycle"
)

func (a *App) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take the lab away: nodes, volumes, networks",
		Long: `Removes everything that the lab consists of, votes included. Images and keys stay for the next lab. May be repeated.
Loads and drills that are under way end first: a drill heals, and what has not ended after a while goes on without a lab.`,
		Example: "  lab down",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			// Power faults go with the machines: nobody is to switch these on meanwhile.
			l := &lifecycle.Lifecycle{Lab: lab, Host: a.Host, Console: a.console()}
			return l.Down(cmd.Context())
		},
	}
}
