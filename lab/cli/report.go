package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
)

func (a *App) report() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show what drills have left behind, and make pages of it",
		Long: `Each run of a drill leaves a journal below .lab/journal, which outlives the lab. A report tells of one: what was broken, what was
seen and when, what became of the votes, and what is to be learned from it. No lab need be up.

A run is named by its ID or by any part of it that no other run's has; without one the latest run is meant.`,
		Example: `  lab report list
  lab report show                           # the latest run
  lab report show redis-stop
  lab report export --out report.html`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("give one of list, show and export")}
		},
	}
	cmd.AddCommand(a.reportList(), a.reportShow(), a.reportExport())
	return cmd
}

func (a *App) reportList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the runs of drills, the newest last",
		Example: "  lab report list\n  lab report list --json | jq -r '.[] | select(.result == \"failed\") | .id'",
		Args:    args(cobra.NoArgs),
		RunE: func(_ *cobra.Command, _ []string) error {
			lab, err := a.lab()
			if err != nil {
				return err
			}
			runs, broken, err := readRuns(lab)
			switch {
			case err != nil:
				return err
			case asJSON:
				err = a.printJSON(runs)
			case len(runs)+len(broken) == 0:
				fmt.Fprintf(a.err, "%v\n", journal.ErrEmpty)
			default:
				printRuns(a.out, runs)
			}
			for _, b := range broken {
				fmt.Fprintf(a.err, "lab: %v\n", b)
				err = errReported
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *App) reportShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [ID]",
		Short: "Show how a run went, on the terminal; the latest without ID",
		Long: `Prints the verdict on a run, what had to be seen and was, what was measured, and how the votes went. The exit status tells whether
it could be shown, not how the run went. With --json it prints the whole journal.`,
		Example:           "  lab report show\n  lab report show redis-stop\n  lab report show --json | jq '.checks[] | select(.held | not)'",
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeRuns,
		RunE: func(_ *cobra.Command, given []string) error {
			lab, j, err := a.run(given)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(j)
			}
			printRun(a.out, lab, j)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the journal")
	return cmd
}

// exportFlags are what `lab report export` was asked for.
type exportFlags struct {
	out   string
	force bool
}

func (a *App) reportExport() *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use:   "export [ID]",
		Short: "Write the report on a run as one HTML file, with plots; of the latest without ID",
		Long: `Writes a page that needs nothing else: no other file, no network, no script. It can be mailed, shown on a projector and printed.
Whoever reads it learns who ran the drill, and when.`,
		Example:           "  lab report export\n  lab report export redis-stop --out report.html --force\n  lab report export --out - | gzip >report.html.gz",
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeRuns,
		RunE: func(_ *cobra.Command, given []string) error {
			if flags.out == "-" && flags.force {
				return usageError{errors.New("--force: the standard output is no file that could be replaced")}
			}
			_, j, err := a.run(given)
			if err != nil {
				return err
			}
			if flags.out == "-" {
				var page bytes.Buffer
				if err := report.HTML(&page, j); err != nil {
					return err
				}
				// It may be a terminal, and a page loses nothing that is to be seen.
				_, err := io.WriteString(a.Out, plain.Text(page.String()))
				return err
			}
			path := cmp.Or(flags.out, j.ID+report.Suffix)
			if a.Dir != "" && !filepath.IsAbs(path) {
				path = filepath.Join(a.Dir, path)
			}
			if err := export(path, flags.force, func(w io.Writer) error { return report.HTML(w, j) }); err != nil {
				return err
			}
			if !a.out.Live() {
				fmt.Fprintln(a.Out, path) // for a program, to which each byte of it matters
				return nil
			}
			fmt.Fprintln(a.out, path)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.out, "out", "", "the file to write, - for the standard output (default ID.html in the working directory)")
	f.BoolVar(&flags.force, "force", false, "replace the file if it is there")
	_ = cmd.MarkFlagFilename("out", "html") // it fails for a flag that is not there
	return cmd
}

// export writes a file that is not there yet, unless it may be replaced. Of one that could not be written, nothing is left.
func export(path string, force bool, write func(io.Writer) error) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, how, 0o644) //nolint:gosec // a page to be read by others
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already, and was left as it is: --force replaces it, --out gives another name", path)
	case err != nil:
		return fmt.Errorf("export the report: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("export the report: %w", err), os.Remove(path))
	}
	return nil
}

// run reads the journal that was meant.
func (a *App) run(given []string) (*settings.Lab, *journal.Journal, error) {
	lab, err := a.lab()
	if err != nil {
		return nil, nil, err
	}
	id, err := journal.Find(lab.JournalDir(), strings.Join(given, ""))
	if errors.Is(err, journal.ErrNone) {
		err = fmt.Errorf("%w; `lab report list` shows them", err)
	}
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.Read(lab.JournalDir(), id)
	return lab, j, err
}

func (a *App) completeRuns(_ *cobra.Command, given []string, part string) ([]string, cobra.ShellCompDirective) {
	lab, err := a.lab()
	if err != nil || len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids, _ := journal.IDs(lab.JournalDir()) // There is nothing to complete then.
	slices.Reverse(ids)
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.Contains(id, part) })
	return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// shownRun is a run as `lab report list --json` prints it.
type shownRun struct {
	ID    string    `json:"id"`
	Drill string    `json:"drill"`
	Begun time.Time `json:"begun"`
	// Result is empty for a run that goes on, or was cut off.
	Result   journal.Result `json:"result"`
	LengthMS int64          `json:"length_ms"`
	// Untimed: its times were not judged.
	Untimed bool `json:"untimed,omitempty"`
	// Lost and Double voters; null where the ledger was not judged.
	Lost   *int64 `json:"lost"`
	Double *int64 `json:"double"`
	// Journal is relative to the clone.
	Journal string `json:"journal"`
}

// readRuns reads all journals, and says of those that cannot be read why.
func readRuns(lab *settings.Lab) (runs []shownRun, broken []error, err error) {
	ids, err := journal.IDs(lab.JournalDir())
	if err != nil {
		return nil, nil, err
	}
	runs = []shownRun{}
	for _, id := range ids {
		j, err := journal.Read(lab.JournalDir(), id)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		runs = append(runs, newShownRun(lab, j))
	}
	slices.SortStableFunc(runs, func(x, y shownRun) int { return x.Begun.Compare(y.Begun) })
	return runs, broken, nil
}

func newShownRun(lab *settings.Lab, j *journal.Journal) shownRun {
	r := shownRun{
		ID: j.ID, Drill: j.Drill.ID, Begun: j.Begun, Result: j.Result, LengthMS: j.LengthMS, Untimed: j.Untimed,
		Journal: lab.Relative(journal.Path(lab.JournalDir(), j.ID)),
	}
	if v := j.Verdict; v != nil {
		lost, double := v.Found[checker.Lost], v.Found[checker.Double]
		r.Lost, r.Double = &lost, &double
	}
	return r
}

// printRuns needs 80 columns at most. The name of the drill is part of the id.
func printRuns(c *console.Console, runs []shownRun) {
	const format = "%-37s %-12s %s %s %7s"
	fmt.Fprintln(c, c.Dim(fmt.Sprintf(format, "ID", "WHEN", fmt.Sprintf("%-9s", "RESULT"), "LOST/DOUBLE", "LENGTH")))
	for _, r := range runs {
		fmt.Fprintf(c, format+"\n", c.Fit(r.ID, 37), r.Begun.Local().Format("Jan _2 15:04"), coloured(c, r.Result, 9), violations(c, r), length(r.LengthMS))
	}
}

func violations(c *console.Console, r shownRun) string {
	if r.Lost == nil || r.Double == nil {
		return fmt.Sprintf("%11s", "?")
	}
	text := fmt.Sprintf("%11s", fmt.Sprintf("%d/%d", *r.Lost, *r.Double))
	if *r.Lost+*r.Double > 0 {
		return c.Bad(text)
	}
	return text
}

func length(ms int64) string {
	if ms == 0 {
		return "–"
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// resultText is a result in a word, also of a run that has none.
func resultText(r journal.Result) string { return cmp.Or(string(r), "not ended") }

func coloured(c *console.Console, r journal.Result, width int) string {
	text := fmt.Sprintf("%-*s", width, resultText(r))
	switch r {
	case journal.Passed:
		return c.Good(text)
	case journal.Failed:
		return c.Bad(text)
	default:
		return c.Warn(text)
	}
}

func printRun(c *console.Console, lab *settings.Lab, j *journal.Journal) {
	p := grouped()
	say := func(format string, args ...any) { fmt.Fprintln(c, strings.TrimRight(p.Sprintf(format, args...), " ")) }
	say("%s  %s", coloured(c, j.Result, 0), c.Fit(cmp.Or(j.Drill.Title, j.Drill.ID), c.Width()-12))
	for _, reason := range j.Reasons {
		say("  %s %s", c.Warn("!"), c.Fit(reason, c.Width()-4))
	}
	for _, remark := range j.Remarks {
		say("  %s", c.Fit(remark, c.Width()-2))
	}
	say("")
	say("%-10s %s", "run", j.ID)
	took := "not ended"
	if j.LengthMS > 0 {
		took = "for " + console.Seconds(time.Duration(j.LengthMS)*time.Millisecond)
	}
	say("%-10s %s, %s, by %s", "begun", j.Begun.Local().Format(time.DateTime), took, c.Fit(cmp.Or(j.By, "somebody"), 40))
	for i, f := range j.Faults {
		head := ""
		if i == 0 {
			head = "broken"
		}
		until := "never seen to be over"
		if f.HealedMS > 0 {
			until = "gone at " + fmt.Sprintf("%.1f s", seconds(f.HealedMS))
		}
		say("%-10s %s, at %s, %s", head, c.Fit(f.What+" on "+f.Node, 40), fmt.Sprintf("%.1f s", seconds(f.InjectedMS)), until)
	}
	printChecks(c, j.Checks)
	printFigures(c, j)
	printVotes(c, j)
	say("")
	say("journal    %s", lab.Relative(journal.Path(lab.JournalDir(), j.ID)))
	if path := report.Path(lab.JournalDir(), j.ID); exists(path) {
		say("report     %s", lab.Relative(path))
	} else {
		say("report     `lab report export %s` makes a page of it", j.ID)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func seconds(ms int64) float64 { return (time.Duration(ms) * time.Millisecond).Seconds() }

func printChecks(c *console.Console, checks []journal.Check) {
	if len(checks) == 0 {
		return
	}
	fmt.Fprintf(c, "\n%s\n", c.Bold("What had to be seen"))
	for _, k := range checks {
		took := time.Duration(k.AfterMS) * time.Millisecond
		sign, how := c.Good("✓"), "after "+console.Seconds(took)
		switch {
		case k.Held && k.Always:
			how = "always"
		case k.Always:
			sign, how = c.Bad("✗"), "only for "+console.Seconds(took)
		case !k.Held:
			sign, how = c.Bad("✗"), "not within "+console.Seconds(time.Duration(k.LimitMS())*time.Millisecond)
		}
		fmt.Fprintf(c, "  %s %-16s %s\n", sign, how, c.Fit(k.See, c.Width()-21))
		if !k.Held && k.Saw != "" {
			fmt.Fprintf(c, "    %-16s %s\n", "", c.Dim(c.Fit(k.Saw, c.Width()-21)))
		}
	}
}

func printFigures(c *console.Console, j *journal.Journal) {
	if len(j.Metrics) == 0 {
		return
	}
	p := grouped()
	fmt.Fprintf(c, "\n%s\n", c.Bold("What was measured"))
	for _, f := range j.Metrics {
		sign, limit := " ", ""
		if f.Limit != nil {
			sign, limit = c.Good("✓"), p.Sprintf("at most %v", *f.Limit)
		}
		switch {
		case !j.Binds(f):
			sign = " "
		case f.Met():
		case f.Target:
			sign = c.Warn("!")
		default:
			sign = c.Bad("✗")
		}
		line := p.Sprintf("%12v %-5s %-16s", f.Value, c.Fit(f.Unit, 8), limit)
		fmt.Fprintf(c, "  %s %s %s\n", sign, line, c.Fit(f.Name, c.Width()-41))
	}
}

// printVotes draws a bar for each sample or few.
func printVotes(c *console.Console, j *journal.Journal) {
	p := grouped()
	if v := j.Verdict; v != nil {
		fmt.Fprintf(c, "\n%s\n", c.Bold("What became of the votes"))
		fmt.Fprintln(c, p.Sprintf("  ledger   %s: %d acknowledged, %d lost, %d stale, %d double, %d phantom", v.Result, v.Sent.Acknowledged,
			v.Found[checker.Lost], v.Found[checker.Stale], v.Found[checker.Double], v.Found[checker.Phantom]))
	}
	if len(j.Samples) == 0 {
		return
	}
	var accepted, errs, queued []int64
	var most, worst, longest float64
	for _, s := range j.Samples {
		sum := 0.0
		for _, n := range s.Queued {
			sum += n
		}
		accepted, errs, queued = append(accepted, int64(s.Accepted)), append(errs, int64(s.Errors)), append(queued, int64(sum))
		most, worst, longest = max(most, s.Accepted), max(worst, s.Errors), max(longest, sum)
	}
	if j.Verdict == nil {
		fmt.Fprintln(c)
	}
	for _, line := range []struct {
		name   string
		values []int64
		most   float64
	}{{"votes/s", accepted, most}, {"errors/s", errs, worst}, {"queued", queued, longest}} {
		width := c.Width() - 28
		fmt.Fprintf(c, "  %-8s %s %s\n", line.name, c.Accent(console.Spark(line.values, width)), p.Sprintf("at most %.0f", line.most))
	}
}
