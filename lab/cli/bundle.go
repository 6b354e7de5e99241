package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/bundle"
)

func (a *App) bundle() *cobra.Command {
	var offline, asJSON bool
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Make files of the stock images, so that a lab needs no registry",
		Long: `Puts Redis, Postgres, HAProxy and Consul as image files below .lab/bundle, from which each node loads them: from their
registry where it answers, else built from Debian packages and, for Consul, from source. What is up to date is left alone.`,
		Example: "  lab bundle\n  lab bundle --offline",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			images, err := bundle.Make(cmd.Context(), bundle.Options{
				Root: lab.Dir, Arch: lab.Arch(), Offline: offline,
				Progress: func(image, state string) { fmt.Fprintf(a.err, "%s: %s\n", image, state) },
			})
			if asJSON {
				if printErr := a.printJSON(images); printErr != nil {
					return printErr
				}
				return err
			}
			for _, i := range images {
				note := "from a registry"
				if i.Source == bundle.SourceBuilt {
					note = "built here"
				}
				if i.UpToDate {
					note += ", was up to date"
				}
				fmt.Fprintf(a.out, "%-26s %s (%s)\n", i.Reference, i.Path, note)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask registries")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
