package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/usage"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
)

// loadFlags are what `lab load` was asked for.
type loadFlags struct {
	plan     load.Plan
	duration time.Duration
	json     bool
}

func (a *App) load() *cobra.Command {
	var flags loadFlags
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Cast many votes as real voters do, and keep a ledger of what was promised",
		Long: `Casts votes through the load balancer, as many browsers would: each voter has a cookie of their own, some change their mind
(--change), and a vote that was not answered is tried again as the same vote. Each connection casts a vote as soon as its last
one was answered, or, with --rate, votes come by the clock whatever becomes of them; their latency then counts
from the moment when they were due.

Every vote is written to a ledger below .lab/ledgers before it is sent, and again when it is acknowledged, refused, or
given up (--patience): what became of it is then unknown. ` + "`lab verify`" + ` judges by it whether all that was promised was kept.

ctrl-C ends the load: no more votes are cast, and those on their way are brought to their end; ctrl-C again gives them up. The
exit status is 0 when all votes that were asked for were cast and acknowledged, else 1.`,
		Example: "  lab load --votes 100000\n  lab load --votes 1000000 --voters 300000 --concurrency 256\n" +
			"  lab load --duration 2m --rate 500 --change 0.2 --json | jq .latency.p99_ms",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			changed := cmd.Flags().Changed
			if err := flags.check(changed); err != nil {
				return usageError{err}
			}
			lab, err := a.lab()
			if err != nil {
				return err
			}
			if lab.Saved == nil {
				return a.noLab(cmd.Context(), lab)
			}
			if !changed("url") {
				flags.plan.URL = lab.VotingURL()
			}
			if !changed("seed") {
				flags.plan.Seed = uint64(rand.Uint32()) // short enough to be typed
			}
			return a.runLoad(cmd.Context(), lab, flags)
		},
	}
	f := cmd.Flags()
	f.Int64Var(&flags.plan.Votes, "votes", 0, "how many votes to cast")
	f.DurationVar(&flags.duration, "duration", 0, "how long to cast votes")
	f.IntVar(&flags.plan.Voters, "voters", 0, "how many different voters at most (default: as many as it takes)")
	f.Float64Var(&flags.plan.Change, "change", 0, "share of votes, 0 to 1, by somebody who voted before; more if there are not voters enough")
	f.Float64Var(&flags.plan.Rate, "rate", 0, "votes a second, by the clock (default: as fast as they are answered)")
	f.IntVar(&flags.plan.Concurrency, "concurrency", 64, "how many connections, so votes on their way at once")
	f.DurationVar(&flags.plan.Patience, "patience", 30*time.Second, "how long to try a vote again and again")
	f.Uint64Var(&flags.plan.Seed, "seed", 0, "who votes for what (default: by chance)")
	f.StringVar(&flags.plan.URL, "url", "", "another way to this lab's voting page, as http://192.168.33.12/ (default: through 127.0.0.1)")
	f.BoolVar(&flags.json, "json", false, "print JSON")
	return cmd
}

// check finds what makes no sense before anything is done; changed tells which flags were given.
func (f loadFlags) check(changed func(string) bool) error {
	if changed("duration") && f.duration <= 0 {
		return fmt.Errorf("--duration %s: give a time, as 90s or 5m", f.duration)
	}
	if changed("votes") && f.plan.Votes == 0 || changed("voters") && f.plan.Voters == 0 {
		return errors.New("--votes and --voters: give at least 1")
	}
	if !changed("votes") && !changed("duration") {
		return errors.New("how many votes, or how long? Give --votes, --duration or both")
	}
	plan := f.plan
	if !changed("url") {
		plan.URL = "http://127.0.0.1/" // Which one is known later, and good.
	}
	if err := plan.Validate(); err != nil {
		return fmt.Errorf("--%w", err) // The plan's fields are named like the flags.
	}
	return nil
}

// loadResult is what --json prints.
type loadResult struct {
	load.Summary
	Plan load.Plan `json:"plan"`
	// Ledger is relative to the clone.
	Ledger      string `json:"ledger"`
	Interrupted bool   `json:"interrupted"`
	// taken: the lab was taken from under it.
	taken bool
}

// reachTimeout is how long the voting page may take to answer before the load.
const reachTimeout = 20 * time.Second

func (a *App) runLoad(ctx context.Context, lab *settings.Lab, flags loadFlags) error {
	ctx, end, err := usage.Begin(ctx, lab, "`lab load`")
	if err != nil {
		return err
	}
	defer end()
	plan := flags.plan
	if err := reach(ctx, plan.URL); err != nil {
		return err
	}
	described, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("describe the load: %w", err)
	}
	run := ledger.Run{ID: ledger.NewRunID(), Started: time.Now().UTC(), Lab: lab.Name, Seed: plan.Seed, Plan: described}
	book, err := ledger.Create(lab.LedgerDir(), run)
	if err != nil {
		return err
	}
	result := loadResult{Plan: plan, Ledger: lab.Relative(ledger.Path(lab.LedgerDir(), run.ID))}
	result.Summary, err = a.castAll(ctx, flags, run.ID, book)
	result.Interrupted, result.taken = ctx.Err() != nil, takenAway(ctx) != nil
	err = errors.Join(err, book.Close(), takenAway(ctx))
	if flags.json {
		err = errors.Join(err, a.printJSON(result))
	} else {
		result.print(a.out)
	}
	if err == nil && (result.Acknowledged < result.Votes || result.Interrupted) {
		return errReported
	}
	return err
}

// takenAway says that the lab is, if that is why ctx ended.
func takenAway(ctx context.Context) error {
	var closed *usage.ClosedError
	if errors.As(context.Cause(ctx), &closed) {
		return fmt.Errorf("ended before its time: %w", closed)
	}
	return nil
}

// reach says early that there is nobody to vote with.
func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := client.New(url, "").Answers(ctx); err != nil {
		return fmt.Errorf("no vote was cast: %w; `lab status` shows what is wrong", err)
	}
	return nil
}

// castAll shows how it goes on the standard error.
func (a *App) castAll(ctx context.Context, flags loadFlags, run ledger.RunID, book load.Recorder) (load.Summary, error) {
	board := console.NewBoard(a.err)
	defer board.Close()
	votes, answers := board.Begin("votes"), board.Begin("answers")

	plan := flags.plan
	abort := make(chan struct{})
	plan.Abort = abort
	ended := make(chan struct{})
	defer close(ended)
	giveUp := sync.OnceFunc(func() { close(abort) })
	go secondInterrupt(ctx, ended, func() {
		if takenAway(ctx) != nil {
			giveUp() // nobody is there to answer
			return
		}
		board.Note("No more votes are cast. Those on their way are brought to their end; ctrl-C again gives them up.")
	}, giveUp)

	casting := ctx
	if flags.duration > 0 {
		var cancel context.CancelFunc
		casting, cancel = context.WithTimeout(ctx, flags.duration)
		defer cancel()
	}
	return load.Run(casting, plan, run, book, func(p load.Progress) {
		votes.Say(saidOfVotes(p, flags.duration))
		answers.Say(saidOfAnswers(p))
	})
}

func saidOfVotes(p load.Progress, duration time.Duration) string {
	number := grouped()
	done, of := 0.0, ""
	if p.Planned > 0 {
		done, of = float64(p.Votes)/float64(p.Planned), number.Sprintf(" of %d", p.Planned)
	}
	if duration > 0 {
		done = max(done, p.Elapsed.Seconds()/duration.Seconds())
	}
	text := number.Sprintf("%s %3.0f %%  %d%s, %.0f/s", console.Gauge(done, 12), 100*min(done, 1), p.Votes, of, p.Rate)
	if p.Overdue > 0 {
		text += number.Sprintf(", %d overdue", p.Overdue)
	}
	return text
}

func saidOfAnswers(p load.Progress) string {
	return grouped().Sprintf("p50 %s  p99 %s  acknowledged %d, refused %d, unknown %d", milliseconds(p.P50.Seconds()*1000), milliseconds(p.P99.Seconds()*1000),
		p.Acknowledged, p.Refused, p.Unknown)
}

// milliseconds are for people: two digits are enough.
func milliseconds(ms float64) string {
	switch {
	case ms < 1:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.0f s", ms/1000)
	}
}

func (r loadResult) print(c *console.Console) {
	number := grouped()
	fmt.Fprintln(c, number.Sprintf("%d votes of %d voters in %s: %s acknowledged a second", r.Votes, r.Voters,
		console.Seconds(time.Duration(r.Seconds*float64(time.Second))), c.Bold(number.Sprintf("%.0f", r.Rate))))
	line := func(name string, n int64, colour func(string) string, note string) {
		count := number.Sprintf("%13d", n)
		if n > 0 {
			count = colour(count) + "  " + c.Dim(note)
		}
		fmt.Fprintf(c, "  %-13s%s\n", name, count)
	}
	line("acknowledged", r.Acknowledged, c.Good, most(c, r.ServedBy))
	line("refused", r.Refused, c.Bad, "the app said that they are not counted")
	line("unknown", r.Unknown, c.Bad, "given up; they may or may not be counted")
	line("tried again", r.Retried, c.Warn, most(c, r.Troubles))
	if r.Overdue > 0 {
		line("not cast", r.Overdue, c.Warn, fmt.Sprintf("were due, but all %d connections were busy", r.Plan.Concurrency))
	}
	if r.Strangers > 0 {
		line("strangers", r.Strangers, c.Bad, "voters whom the app took for somebody else")
	}
	if l := r.Latency; len(l.Buckets) > 0 {
		var heights []int64
		for _, b := range l.Buckets {
			heights = append(heights, b.Votes)
		}
		fmt.Fprintf(c, "latency   p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n", milliseconds(l.P50), milliseconds(l.P90), milliseconds(l.P99),
			milliseconds(l.P999), milliseconds(l.Max))
		fmt.Fprintf(c, "          %s %s %s\n", milliseconds(l.Buckets[0].UpTo/2), c.Accent(console.Spark(heights, c.Width()-30)),
			milliseconds(l.Buckets[len(l.Buckets)-1].UpTo))
	}
	if len(r.PerSecond) > 1 {
		fmt.Fprintf(c, "votes/s   %s\n", c.Accent(console.Spark(r.PerSecond, c.Width()-12)))
	}
	fmt.Fprintf(c, "ledger    %s, seed %d\n", r.Ledger, r.Plan.Seed)
	if r.Interrupted {
		fmt.Fprintln(c, c.Warn("Interrupted: not all votes were cast that were asked for."))
	}
	if r.taken {
		return // and the ledger with it
	}
	fmt.Fprintln(c, "Next: `lab verify` waits until the votes are counted, and judges.")
}

// shownName is how many columns the name of a server, or of a trouble, has.
const shownName = 40

// most names the three that happened most often.
func most(c *console.Console, counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		if counts[x] != counts[y] {
			return int(min(max(counts[y]-counts[x], -1), 1))
		}
		return strings.Compare(x, y)
	})
	var said []string
	for _, name := range names {
		if len(said) == 3 {
			said = append(said, "…")
			break
		}
		said = append(said, grouped().Sprintf("%s %d", c.Fit(name, shownName), counts[name]))
	}
	return strings.Join(said, ", ")
}
