package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
)

func (a *App) logs() *cobra.Command {
	var o fleet.LogOptions
	cmd := &cobra.Command{
		Use:               "logs NODE [CONTAINER]",
		Short:             "Show the log of a node's agent, or of a container there",
		Long:              "Without a container it is the journal of the node's agent: what it did, and why something waits.",
		Example:           "  lab logs manager\n  lab logs frontend01 redis01 --tail 20\n  lab logs worker01 worker01 -f",
		Args:              args(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, given []string) error {
			if o.Tail > 10000 {
				return usageError{errors.New("--tail: at most 10000 lines")}
			}
			lab, f, done, err := a.fleet(fleet.Observe)
			if err != nil {
				return err
			}
			defer done()
			if _, ok := lab.Topology.Node(given[0]); !ok {
				return usageError{fmt.Errorf("the lab has no node %q; its nodes are %v", given[0], lab.Topology.Names())}
			}
			if len(given) == 2 {
				o.Container = given[1]
			}
			err = f.Logs(cmd.Context(), given[0], o, func(text string, stderr bool) error {
				to := a.out
				if stderr {
					to = a.err
				}
				_, err := fmt.Fprintln(to, text)
				return err
			})
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // ctrl-C is how following ends
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on with new lines until ctrl-C")
	cmd.Flags().Uint32Var(&o.Tail, "tail", 0, "lines from the end (default 200, at most 10000)")
	return cmd
}
