package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/plain"
)

func (a *App) heal() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "heal",
		Short: "End all faults, and start again what was stopped manually",
		Long: `Ends every fault on every node, before its time is over, and waits until its effect is gone: first those of nodes without power, whose
agents answer again then. A container that somebody stopped by
hand stays stopped, because it is taken that this was meant; heal ends that, too.

ctrl-C ends the command in order, ctrl-C again at once; faults then end when their time is over.`,
		Example: "  lab heal",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			var healed []fleet.Healed
			err = untilSecondInterrupt(cmd.Context(), func() {
				fmt.Fprintln(a.err, "Ending. ctrl-C again leaves at once: what is broken ends by itself when its time is over.")
			}, func() error {
				// First: the agent of a node without power heals nothing.
				over, powerless := a.healPowerFaults(cmd.Context(), lab)
				others, err := f.Heal(cmd.Context())
				healed = append(over, others...)
				return errors.Join(powerless, err)
			})
			if errors.Is(err, errLeft) {
				return err
			}
			if asJSON {
				if healed == nil {
					healed = []fleet.Healed{}
				}
				if printErr := a.printJSON(map[string]any{"healed": healed}); printErr != nil {
					return printErr
				}
				return err
			}
			for _, h := range healed {
				if h.Fault != "" {
					fmt.Fprintf(a.out, "%s on %s is over\n", plain.Line(h.Fault), h.Node)
				} else {
					fmt.Fprintf(a.out, "started %s on %s\n", plain.Line(h.Container), h.Node)
				}
			}
			if len(healed) == 0 && err == nil {
				fmt.Fprintln(a.out, "no fault is in force, and nothing was stopped manually")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
