package cli

import (
	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func (a *App) stage() *cobra.Command {
	return &cobra.Command{
		Use:   "stage NAME",
		Short: "Let the agents build the lab up to a stage of the tutorial",
		Long: `Sets how far the agents build the lab, and waits until they have: infrastructure (bare nodes), cluster (Consul, swarm),
network (mynet), images, application. What stands above a lower stage is left alone; ` + "`lab reset --stage NAME`" + ` clears it.`,
		Example:   "  lab stage cluster",
		Args:      args(oneOf("stage", settings.StageNames()...)),
		ValidArgs: settings.StageNames(),
		RunE: func(cmd *cobra.Command, given []string) error {
			stage, err := settings.ParseStage(given[0])
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
			return l.SetStage(cmd.Context(), stage)
		},
	}
}
