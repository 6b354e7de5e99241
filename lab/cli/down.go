package cli

import "github.com/spf13/cobra"

func (a *App) down() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "Take the lab away: nodes, volumes, networks",
		Long:    "Removes everything that the lab consists of, votes included. Images and keys stay for the next lab. May be repeated.",
		Example: "  lab down",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lifecycle()
			if err != nil {
				return err
			}
			return l.Down(cmd.Context())
		},
	}
}
