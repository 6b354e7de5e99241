package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func (a *App) reset() *cobra.Command {
	var stage string
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Clear the lab between two classes: no votes, nothing that learners left",
		Long: `Removes all containers, all votes and whatever learners left on the nodes, and builds the lab up again to a stage.
The nodes themselves stay. Loads and drills that are under way end first. Asks first.`,
		Example: "  lab reset\n  lab reset --stage infrastructure --yes",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			to, err := settings.ParseStage(stage)
			if err != nil {
				return usageError{err}
			}
			l, err := a.lifecycle()
			if err != nil {
				return err
			}
			if l.Lab.Saved == nil {
				return a.noLab(cmd.Context(), l.Lab)
			}
			if !yes {
				if err := a.confirm(cmd.Context(), fmt.Sprintf("All votes and containers of the lab %s will be removed. Go on?", l.Lab.Name)); err != nil {
					return err
				}
			}
			return l.Reset(cmd.Context(), to)
		},
	}
	cmd.Flags().StringVar(&stage, "stage", settings.StageApplication.String(), "stage to build up to again: "+strings.Join(settings.StageNames(), ", "))
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
