package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/doctor"
)

func (a *App) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host lacks for a lab, and how to get it",
		Long: `Looks at the Docker engine or the hypervisor of the provider asked for, at memory, disk, inotify limits, networks, ports,
kernel, tools and what Vagrant remembers, under the lab's settings, and says for each problem what to do. Changes nothing.

What does not answer at once is asked again, for half a minute; "could not tell" is said of what had no answer even then.`,
		Example: "  lab doctor\n  PROVIDER=libvirt lab doctor\n  LAB_SUBNET=10.77.0.0/24 lab doctor --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			options := doctor.For(lab)
			options.Waiting = func(what string) { fmt.Fprintln(a.err, what) }
			findings := doctor.Run(cmd.Context(), options)
			if asJSON {
				if err := a.printJSON(map[string]any{"findings": findings}); err != nil {
					return err
				}
			} else {
				a.printFindings(findings)
			}
			if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Status == doctor.Fail }) {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

// findingIndent is where messages begin, fixIndent where fixes do: commands to paste need the room.
const (
	findingIndent = 18
	fixIndent     = 6
)

// printFindings writes each finding on one line, for pipes, or broken to the terminal's width. Commands are left to the
// terminal to break, so that they can be copied whole.
func (a *App) printFindings(findings []doctor.Finding) {
	c := a.out
	indented := func(text string, indent int) string {
		if !c.Live() || c.Width() <= 2*findingIndent {
			return text
		}
		return strings.Join(wrap(text, c.Width()-indent), "\n"+strings.Repeat(" ", indent))
	}
	for _, f := range findings {
		mark := map[doctor.Status]string{
			doctor.OK: c.Good("ok  "), doctor.Warn: c.Warn("warn"), doctor.Fail: c.Bad("fail"), doctor.Skip: c.Dim("skip"),
		}[f.Status]
		message := indented(f.Message, findingIndent)
		if f.Status == doctor.Skip && !f.Unknown {
			message = c.Dim(message)
		}
		fmt.Fprintf(c, "%s  %-11s %s\n", mark, f.Check, message)
		if f.Fix == "" {
			continue
		}
		command, note, noted := strings.Cut(f.Fix, "   # ")
		if !noted || !c.Live() {
			command, note = f.Fix, ""
		}
		fmt.Fprintf(c, "%*s%s %s\n", fixIndent, "", c.Accent("→"), command)
		if note != "" {
			fmt.Fprintf(c, "%*s# %s\n", fixIndent+2, "", indented(note, fixIndent+4))
		}
	}
}
