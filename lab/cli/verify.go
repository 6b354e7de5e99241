package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
)

// watchVerdictEvery is the time from one look to the next; judging much takes longer.
const watchVerdictEvery = time.Second

func (a *App) verify() *cobra.Command {
	var asJSON, watch bool
	o := verify.Options{Options: checker.Options{Sample: 1000}}
	var seed uint32
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Judge whether every acknowledged vote is counted, once, and the latest of each voter",
		Long: `Waits until the loads have ended and the queues are empty, then holds what voters were promised (the ledgers of
` + "`lab load`" + `) against the database: every row of it, and its tally. The exit status is 0 only for the verdict PASS.

  PASS     every acknowledged vote is counted, once, and nothing else
  FAIL     something is lost, stale, phantom or double, or the tally is wrong
  UNKNOWN  not all is known: votes wait in a queue, or something does not answer

Votes that nobody answered may count or not; those that do are reported as recovered. Votes cast in a browser and with ` + "`lab vote`" + ` are
others, and no violation unless --exclusive says that there are to be none.`,
		Example: `  lab verify
  lab verify --json | jq .result
  lab verify --watch                        # while lab load runs
  lab verify --ledger .lab/ledgers/0123456789ab.ledger --timeout 5m`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.Timeout < 0:
				return usageError{fmt.Errorf("--timeout %s: give a time of 0 or more", o.Timeout)}
			case o.Sample < 0:
				return usageError{fmt.Errorf("--sample %d: give a number of voters", o.Sample)}
			}
			if !cmd.Flags().Changed("seed") {
				seed = rand.Uint32() //nolint:gosec // a choice of voters, not a secret
			}
			o.Seed = uint64(seed)
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			c, err := datastore.Open(lab, f)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // only read
			v := &verify.Verifier{Lab: lab, Datastore: c}
			if watch {
				return a.watchVerdict(cmd.Context(), v, o, asJSON)
			}
			got, err := a.settled(cmd.Context(), v, o)
			if err != nil {
				return err
			}
			return a.reportVerdict(got, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.Ledgers, "ledger", nil, "judge this ledger; may be repeated (default all of the lab)")
	flags.BoolVar(&asJSON, "json", false, "print JSON; with --watch an object a line")
	flags.BoolVar(&watch, "watch", false, "judge again and again while a load runs, a line for each time")
	flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait for loads to end and queues to drain")
	flags.BoolVar(&o.Exclusive, "exclusive", false, "nobody but the loads voted since they began: votes of others are phantoms")
	flags.IntVar(&o.Sample, "sample", o.Sample, "voters whose histories Porcupine, a checker of linearizability, checks as well")
	flags.Uint32Var(&seed, "seed", 0, "chooses these voters (default by chance)")
	_ = cmd.MarkFlagFilename("ledger", strings.TrimPrefix(ledger.Suffix, ".")) // it fails for a flag that is not there
	return cmd
}

// settled waits and judges, and shows what it waits for on the standard error.
func (a *App) settled(ctx context.Context, v *verify.Verifier, o verify.Options) (verify.Verdict, error) {
	board := console.NewBoard(a.err)
	defer board.Close()
	phase := board.Begin("verify")
	got, err := v.Settled(ctx, o, func(missing []string) { phase.Say(strings.Join(missing, "; ")) })
	if err != nil {
		phase.Fail()
		return got, err
	}
	ms := func(n int64) string { return console.Seconds(time.Duration(n) * time.Millisecond) }
	phase.Done(fmt.Sprintf("waited %s, judged for %s", ms(got.WaitedMS), ms(got.JudgedMS)))
	return got, nil
}

// reportVerdict prints a verdict; anything but PASS is a bad end.
func (a *App) reportVerdict(got verify.Verdict, asJSON bool) error {
	if asJSON {
		if err := a.printJSON(got); err != nil {
			return err
		}
	} else {
		printVerdict(a.out, got)
	}
	if got.Result != checker.Pass {
		return errReported
	}
	return nil
}

// watchVerdict ends with the verdict after the last load. What was wrong in between stays wrong, also when a later vote hid it.
func (a *App) watchVerdict(ctx context.Context, v *verify.Verifier, o verify.Options, asJSON bool) error {
	var failed *verify.Verdict
	for first := true; ; first = false {
		got, err := v.Now(ctx, o)
		if err != nil {
			return err
		}
		if got.Result == checker.Fail {
			failed = &got
		}
		if asJSON {
			err = a.printLine(got)
		} else {
			if first {
				fmt.Fprintf(a.out, "%s\n", a.out.Dim(watchHead))
			}
			_, err = fmt.Fprintf(a.out, "%s\n", watchLine(a.out, got))
		}
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		writing := false
		for _, l := range got.Ledgers {
			writing = writing || l.Writing
		}
		if !writing {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted before the load ended: no verdict")
		case <-time.After(watchVerdictEvery):
		}
	}
	got, err := a.settled(ctx, v, o)
	if err != nil {
		return err
	}
	if failed != nil && got.Result != checker.Fail {
		fmt.Fprintf(a.err, "lab: what is wrong at %s is not to be seen any more:\n", failed.At.Local().Format(time.TimeOnly))
		got = *failed
	}
	if asJSON {
		if err := a.printLine(got); err != nil {
			return err
		}
		if got.Result != checker.Pass {
			return errReported
		}
		return nil
	}
	fmt.Fprintln(a.out)
	return a.reportVerdict(got, false)
}

// shownExamples of each kind are enough to read; --json has a few more.
const shownExamples = 3

const watchHead = "TIME          SENT  PROMISED    VOTERS  QUEUED  LOST STALE PHANTOM DOUBLE TALLY"

// watchLine is 80 columns wide at most, up to some ten million votes.
func watchLine(c *console.Console, v verify.Verdict) string {
	queued := int64(0)
	text := ""
	for _, q := range v.Queues {
		queued += q.Waiting
		if q.Error != "" {
			text = "?"
		}
	}
	if text == "" {
		text = fmt.Sprint(queued)
	}
	line := fmt.Sprintf("%s %9d %9d %9d %7s", v.At.Local().Format(time.TimeOnly), v.Sent.Votes, v.Sent.Acknowledged, v.Rows, text)
	for _, column := range []struct {
		kind  checker.Kind
		width int
	}{{checker.Lost, 5}, {checker.Stale, 5}, {checker.Phantom, 7}, {checker.Double, 6}, {checker.TallyOff, 5}} {
		cell := fmt.Sprintf("%*d", column.width, v.Found[column.kind])
		if v.Found[column.kind] > 0 {
			cell = c.Bad(cell)
		}
		line += " " + cell
	}
	return line
}

func printVerdict(c *console.Console, v verify.Verdict) {
	p := grouped()
	say := func(format string, args ...any) { fmt.Fprintln(c, strings.TrimRight(p.Sprintf(format, args...), " ")) }
	switch v.Result {
	case checker.Pass:
		say("%s  every acknowledged vote is counted, once, and nothing else", c.Good(string(v.Result)))
	case checker.Fail:
		say("%s  the promise is broken: %d violations", c.Bad(string(v.Result)), max(v.Violations(), v.Register.Violations))
	default:
		say("%s  nothing wrong was found, but not all is known", c.Warn(string(v.Result)))
	}
	for _, m := range v.Missing {
		say("  %s %s", c.Warn("!"), plain.Line(m))
	}
	say("")
	say("%-13s %11d  of %d voters, in %d %s", "votes", v.Sent.Votes, v.Sent.Voters, len(v.Ledgers), plural(len(v.Ledgers), "ledger"))
	say("  %-11s %11d  promised to count", "acknowledged", v.Sent.Acknowledged)
	if v.Sent.NotDue > 0 {
		say("  %-11s %11d  of these may still be on their way", "on their way", v.Sent.NotDue)
	}
	say("  %-11s %11d  not taken", "refused", v.Sent.Refused)
	say("  %-11s %11d  never answered: may count or not", "unknown", v.Sent.Unknown)
	say("%-13s %11d  voters counted, %d of them others", "rows", v.Rows, v.Others)
	say("%-13s %11d  a %d, b %d", "tally", v.Tally.Total(), v.Tally.A, v.Tally.B)
	say("")
	for _, kind := range checker.Violations() {
		number := p.Sprintf("%11d", v.Found[kind])
		if v.Found[kind] > 0 {
			number = c.Bad(number)
		}
		say("%-13s %s  %s", kind, number, c.Dim(kind.Meaning()))
	}
	say("")
	for _, kind := range checker.Legal() {
		say("%-13s %11d  %s", kind, v.Found[kind], c.Dim(kind.Meaning()))
	}
	checked := p.Sprintf("histories checked, seed %s", fmt.Sprint(v.Register.Seed))
	if v.Register.Violations > 0 {
		checked += p.Sprintf("; %s", c.Bad(p.Sprintf("%d are wrong", v.Register.Violations)))
	}
	if v.Register.Undecided > 0 {
		checked += p.Sprintf("; %d undecided", v.Register.Undecided)
	}
	say("%-13s %11d  %s", "porcupine", v.Register.Voters, checked)
	for _, l := range v.Ledgers {
		if l.TornBytes > 0 && !l.Writing {
			say("\nThe load %s was interrupted while it wrote: %d bytes at the end of its ledger are no entry.", l.Run, l.TornBytes)
		}
	}
	for _, q := range v.Queues {
		if q.Dead > 0 {
			say("\n%s put %d dead letters aside: `lab dead-letters` lists them.", q.Node, q.Dead)
		}
	}
	for _, kind := range checker.Violations() {
		printExamples(c, kind, v)
	}
}

func printExamples(c *console.Console, kind checker.Kind, v verify.Verdict) {
	examples := v.Examples[kind]
	if len(examples) == 0 {
		return
	}
	examples = examples[:min(len(examples), shownExamples)]
	fmt.Fprintf(c, "\n%s\n", c.Bold(fmt.Sprintf("%s, for example", kind)))
	for _, x := range examples {
		fmt.Fprintf(c, "  %s\n", plain.Line(x.Why))
		if x.VoterID != nil {
			fmt.Fprintf(c, "    voter     %s\n", x.VoterID)
		}
		for _, cast := range []struct {
			what string
			*checker.Cast
		}{{"promised", x.Promised}, {"row", x.Row}, {"other row", x.Other}} {
			if cast.Cast == nil {
				continue
			}
			fmt.Fprintf(c, "    %-9s %s for %s", cast.what, cast.VoteID, cast.Choice)
			if cast.Outcome != "" {
				fmt.Fprintf(c, ", %s", cast.Outcome)
			}
			fmt.Fprintln(c)
			if cast.Sent != nil {
				fmt.Fprintf(c, "              sent %s", clock(*cast.Sent))
				if cast.Answered != nil {
					fmt.Fprintf(c, ", answered %s", clock(*cast.Answered))
				}
				if cast.ServedBy != "" {
					fmt.Fprintf(c, " by %s", plain.Line(cast.ServedBy))
				}
				fmt.Fprintln(c)
			}
		}
	}
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000000") }

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
