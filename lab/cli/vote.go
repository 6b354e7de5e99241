package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
	"github.com/swarmlab/swarmlab/lab/votes/client"
)

var voterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$`)

func (a *App) vote() *cobra.Command {
	var asJSON, noWait bool
	var voter string
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "vote a|b",
		Short: "Cast a vote through the load balancer and wait until it is counted",
		Long: `Casts a vote as a browser does, and says which frontend took it. Each call is a new voter, unless --voter names one:
then that voter's cookie is kept below .lab, and a second vote replaces the first.`,
		Example:   "  lab vote a\n  lab vote b --voter ann\n  lab vote a --no-wait --json",
		Args:      args(oneOf("choice", "a", "b")),
		ValidArgs: []string{"a", "b"},
		RunE: func(cmd *cobra.Command, given []string) error {
			if voter != "" && !voterName.MatchString(voter) {
				return usageError{fmt.Errorf("--voter %q: letters, digits, dashes and underscores, 41 at most", voter)}
			}
			lab, f, done, err := a.fleet(fleet.Observe)
			if err != nil {
				return err
			}
			defer done()
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), within, fmt.Errorf("not within %s", within))
			defer cancel()
			result, err := cast(ctx, lab, f, given[0], voter, !noWait)
			if err != nil && result.ServedBy == "" {
				return err
			}
			if asJSON {
				if printErr := a.printJSON(result); printErr != nil {
					return printErr
				}
				return err
			}
			fmt.Fprintf(a.out, "voted %s, served by %s\n", result.Vote, plain.Line(result.ServedBy))
			if result.Tally != nil {
				fmt.Fprintf(a.out, "counted: a %d, b %d\n", result.Tally.A, result.Tally.B)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until the vote is counted")
	cmd.Flags().StringVar(&voter, "voter", "", "vote as this voter, whose cookie is kept below .lab/voters")
	cmd.Flags().DurationVar(&within, "within", 30*time.Second, "how long to try and to wait")
	return cmd
}

// voteResult is what --json prints.
type voteResult struct {
	client.Receipt
	Counted bool          `json:"counted"`
	Tally   *client.Tally `json:"tally,omitempty"`
}

func cast(ctx context.Context, lab *settings.Lab, f *fleet.Fleet, vote, voter string, wait bool) (voteResult, error) {
	app := client.New(lab.VotingURL(), lab.ResultsURL())
	jar := ""
	cookie := ""
	if voter != "" {
		jar = lab.Path("voters", voter)
		var err error
		if cookie, err = client.LoadCookie(jar); err != nil {
			return voteResult{}, err
		}
	}
	if !wait {
		receipt, cookie, err := app.Cast(ctx, vote, cookie)
		if err == nil && jar != "" {
			err = client.SaveCookie(jar, cookie)
		}
		return voteResult{Receipt: receipt}, err
	}
	receipt, cookie, tally, err := app.CastCounted(ctx, vote, cookie, lifecycle.Queue{Fleet: f})
	if jar != "" && cookie != "" && receipt.ServedBy != "" {
		err = errors.Join(err, client.SaveCookie(jar, cookie))
	}
	if err != nil {
		return voteResult{Receipt: receipt}, err
	}
	return voteResult{Receipt: receipt, Counted: true, Tally: &tally}, nil
}
