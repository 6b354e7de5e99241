package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// Environment variables that say whether anybody is to be asked.
const (
	envYes = "YES"
	envCI  = "CI"
)

func (a *App) down() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take the lab away: nodes, volumes, networks",
		Long: `Removes everything that the lab consists of, votes and ledgers included. Images, keys, and the journals and reports of drills stay. May be
repeated. Says which votes and ledgers would go, and on a terminal asks first, unless --yes or YES=1 is given or CI is set.
Loads and drills that are under way end first: a drill heals, and what has not ended after a while goes on without a lab.`,
		Example: "  lab down\n  lab down --yes\n  YES=1 make down",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			if goes := a.goes(cmd.Context(), lab); len(goes) > 0 {
				fmt.Fprintf(a.err, "Taking the lab %s away deletes %s.\n", lab.Name, console.List(goes))
				if !yes && !set(a.getenv(envYes)) && !set(a.getenv(envCI)) && isTerminal(a.In) {
					if err := a.confirm(cmd.Context(), "Go on?"); err != nil {
						return err
					}
				}
			}
			// Power faults go with the machines: nobody is to switch these on meanwhile.
			l := &lifecycle.Lifecycle{Lab: lab, Host: a.Host, Console: a.out}
			return l.Down(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask (default by the environment: YES=1, or CI)")
	return cmd
}

// set reports whether an environment variable says yes.
func set(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "n", "no", "false":
		return false
	}
	return true
}

// goes tells what cannot be made again once the lab is gone: votes and ledgers. Nothing is asked for longer than an agent that is well needs.
func (a *App) goes(ctx context.Context, lab *settings.Lab) []string {
	goes := a.votesOf(ctx, lab)
	if ledgers, err := ledger.Find(lab.LedgerDir()); err == nil && len(ledgers) > 0 {
		goes = append(goes, grouped().Sprintf("%d %s of votes cast by lab load and drills", len(ledgers), plural(len(ledgers), "ledger")))
	}
	return goes
}

// votesOf tells in words which votes the nodes hold.
func (a *App) votesOf(ctx context.Context, lab *settings.Lab) []string {
	unknown := []string{"the votes on its nodes (nobody could tell how many)"}
	if lab.Saved == nil {
		// What is left of a lab that was not taken down, or of which .lab was removed.
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		volumes, err := docker.Engine{}.Volumes(ctx, "")
		if err != nil {
			return nil
		}
		for _, v := range volumes {
			if whose := lab.Whose(v.Labels); whose == owner.Ours || whose == owner.Forsaken {
				return unknown
			}
		}
		return nil
	}
	f, err := lifecycle.Connect(lab, fleet.Observe)
	if err != nil {
		return unknown
	}
	defer f.Close() //nolint:errcheck // only read
	v := ask(ctx, f, askWithin).Votes()
	var votes []string
	p := grouped()
	switch {
	case !v.CountedKnown:
		return unknown
	case v.Counted > 0:
		votes = append(votes, p.Sprintf("%.0f counted votes", v.Counted))
	}
	switch {
	case !v.QueuedKnown:
		votes = append(votes, "the votes that wait to be counted (nobody could tell how many)")
	case v.Queued > 0:
		votes = append(votes, p.Sprintf("%.0f votes that wait to be counted", v.Queued))
	}
	return votes
}
