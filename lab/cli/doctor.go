package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/doctor"
)

func (a *App) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host lacks for a lab, and how to get it",
		Long: `Looks at the Docker engine, memory, disk, inotify limits, networks, ports, kernel and tools, under the lab's settings, and
says for each problem what to do. Changes nothing.`,
		Example: "  lab doctor\n  LAB_SUBNET=10.77.0.0/24 lab doctor --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			findings := doctor.Run(cmd.Context(), doctor.For(lab))
			if asJSON {
				if err := a.printJSON(map[string]any{"findings": findings}); err != nil {
					return err
				}
			} else {
				a.printFindings(findings)
			}
			if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Status == doctor.Fail }) {
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

func (a *App) printFindings(findings []doctor.Finding) {
	c := a.console()
	for _, f := range findings {
		mark := map[doctor.Status]string{
			doctor.OK: c.Good("ok  "), doctor.Warn: c.Warn("warn"), doctor.Fail: c.Bad("fail"), doctor.Skip: "skip",
		}[f.Status]
		fmt.Fprintf(c, "%s  %-11s %s\n", mark, f.Check, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(c, "%18s%s %s\n", "", c.Accent("→"), f.Fix)
		}
	}
}
