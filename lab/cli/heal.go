package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
)

func (a *App) heal() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "heal",
		Short: "End all faults, and start again what was stopped by hand",
		Long: `Ends every fault on every node, before its time is over, and waits until its effect is gone: first those of nodes without power, whose
agents answer again then. A container that somebody stopped by
hand stays stopped, because it is taken that this was meant; heal ends that, too.`,
		Example: "  lab heal",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			// First: the agent of a node without power heals nothing.
			healed, powerless := a.healOutages(cmd.Context(), lab)
			others, err := f.Heal(cmd.Context())
			healed, err = append(healed, others...), errors.Join(powerless, err)
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
					fmt.Fprintf(a.Out, "%s on %s is over\n", h.Fault, h.Node)
				} else {
					fmt.Fprintf(a.Out, "started %s on %s\n", h.Container, h.Node)
				}
			}
			if len(healed) == 0 && err == nil {
				fmt.Fprintln(a.Out, "no fault is in force, and nothing was stopped by hand")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
