package cli

import (
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/inherit"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// reap is for startReaper.
func (a *App) reap() *cobra.Command {
	return &cobra.Command{
		Use:    "reap",
		Short:  "Ends power faults when their time is over, and itself when none is left",
		Hidden: true,
		Args:   args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			o, err := powerfault.Open(lab, nil)
			if err != nil {
				return err
			}
			return o.Reap(cmd.Context())
		},
	}
}

// startReaper starts `lab reap` in a session of its own, which no terminal's end and no interrupt reaches.
func (a *App) startReaper(lab *settings.Lab) error {
	log, err := powerfault.StartLog(lab)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()  // the process has its own
	cmd := exec.Command(a.Self, "reap") //nolint:noctx // it outlives the command
	cmd.Dir = lab.Dir
	cmd.Env = inherit.Environ(a.Environ, lab.Environ()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		return err
	}
	// A command that lives longer must not keep what is left of it.
	go func() { _ = cmd.Wait() }()
	return nil
}
