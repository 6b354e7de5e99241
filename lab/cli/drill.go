package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/cpusteal"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

const (
	// steadyFirst and steadyNext are how long a drill waits for the steady state: the first one, and one that follows on another.
	steadyFirst = 30 * time.Second
	steadyNext  = 90 * time.Second
	// maxDrillFile bounds what is read of a drill's file, in bytes.
	maxDrillFile = 1 << 20
)

func (a *App) drill() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Break something on purpose, under votes, and prove what became of each of them",
		Long: `A drill makes sure that the lab is well, has votes cast, breaks one thing, looks whether all is seen that must be and in time, heals, and has
the ledger judge whether every acknowledged vote is counted, once. It always ends: ctrl-C, a closed terminal or a killed command heal all the
same, for faults are leases that the nodes themselves end. Each run leaves a journal; lab report makes a page of it.`,
		Example: "  lab drill list\n  lab drill show redis-stop\n  lab drill run redis-stop",
		Args:    args(cobra.NoArgs),
	}
	cmd.AddCommand(a.drillList(), a.drillShow(), a.drillRun())
	return cmd
}

// shownDrill is a drill as --json prints it.
type shownDrill struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Section string   `json:"section"`
	Faults  []string `json:"faults"`
	// FaultMS is how long things are broken and watched.
	FaultMS int64 `json:"fault_ms"`
}

func newShownDrill(d *drill.Drill) shownDrill {
	s := shownDrill{ID: d.ID, Title: d.Title, Section: d.Section, FaultMS: d.Length().Milliseconds()}
	for _, i := range d.Inject {
		s.Faults = append(s.Faults, faultWords(i))
	}
	return s
}

func faultWords(i drill.Injection) string {
	words := i.What()
	if len(i.Peers) > 0 {
		words += " from " + strings.Join(i.Peers, " ")
	}
	if i.For > 0 {
		words += fmt.Sprintf(", for %s", i.For)
	}
	if i.At > 0 {
		words += fmt.Sprintf(", after %s", i.At)
	}
	return words
}

func (a *App) drillList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the drills, by the sections of the tutorial", Example: "  lab drill list\n  lab drill list --json | jq -r '.[].id'",
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			all, err := drill.Catalogue()
			if err != nil {
				return err
			}
			if asJSON {
				shown := []shownDrill{}
				for _, d := range all {
					shown = append(shown, newShownDrill(d))
				}
				return a.printJSON(shown)
			}
			c, section, widest := a.out, "", 0
			for _, d := range all {
				widest = max(widest, len(d.ID))
			}
			for _, d := range all {
				if d.Section != section {
					if section != "" {
						fmt.Fprintln(c)
					}
					section = d.Section
					fmt.Fprintln(c, c.Bold(section))
				}
				fmt.Fprintf(c, "  %-*s %s\n", widest, d.ID, d.Title)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *App) drillShow() *cobra.Command {
	var answers bool
	var file string
	cmd := &cobra.Command{
		Use: "show [DRILL]", Short: "Tell a drill: its story, what it breaks, what must be seen", Example: "  lab drill show redis-stop\n  lab drill show --file mine.yaml --answers",
		RunE: func(cmd *cobra.Command, given []string) error {
			drills, err := a.choose(given, file, false)
			if err != nil {
				return err
			}
			for _, d := range drills {
				if file != "" {
					if err := a.checkNames(cmd.Context(), d); err != nil {
						return err
					}
				}
				introduce(a.out, d)
				printExpectations(a.out, d)
				if answers {
					printAfterwards(a.out, d)
				}
			}
			return nil
		},
		ValidArgsFunction: completeDrills,
	}
	cmd.Flags().BoolVar(&answers, "answers", false, "tell the answers, the debrief and the fix as well")
	cmd.Flags().StringVar(&file, "file", "", "a drill of your own")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml") // it fails for a flag that is not there
	return cmd
}

// checkNames finds what a drill of one's own names and the lab does not have, as running it does: nodes by the topology, containers where a lab is up
// and all of its nodes answer. Outside of a clone there is nothing to hold it against.
func (a *App) checkNames(ctx context.Context, d *drill.Drill) error {
	lab, err := a.lab()
	if errors.Is(err, settings.ErrNoClone) {
		return nil
	}
	if err != nil {
		return err
	}
	var view fleet.View
	if lab.Saved != nil {
		if f, err := lifecycle.Connect(lab, fleet.Observe); err == nil {
			defer f.Close() //nolint:errcheck // only read
			view = ask(ctx, f, cmp.Or(a.Ask, askWithin))
		}
	}
	if err := runner.Check(d, lab.Topology, view); err != nil {
		return usageError{err}
	}
	return nil
}

// choose finds the drills that were named, or all.
func (a *App) choose(given []string, file string, all bool) ([]*drill.Drill, error) {
	switch {
	case file != "" && (all || len(given) > 0), all && len(given) > 0:
		return nil, usageError{errors.New("name drills, or give --file, or --all: one of them")}
	case file != "":
		d, err := readDrill(file)
		if err != nil {
			return nil, err
		}
		for _, warning := range d.Warnings() {
			fmt.Fprintf(a.err, "warning: %s\n", plain.Line(warning))
		}
		return []*drill.Drill{d}, nil
	case !all && len(given) == 0:
		return nil, usageError{errors.New("which drill? lab drill list shows them")}
	}
	catalogue, err := drill.Catalogue()
	if err != nil || all {
		return catalogue, err
	}
	var chosen []*drill.Drill
	for _, id := range given {
		i := slices.IndexFunc(catalogue, func(d *drill.Drill) bool { return d.ID == id })
		if i < 0 {
			return nil, usageError{fmt.Errorf("there is no drill %s; lab drill list shows them", id)}
		}
		chosen = append(chosen, catalogue[i])
	}
	return chosen, nil
}

func readDrill(file string) (*drill.Drill, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("read a drill: %w", err)}
	}
	if !info.Mode().IsRegular() || info.Size() > maxDrillFile {
		return nil, usageError{fmt.Errorf("read a drill: %s is not a file of a drill's size", file)}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("read a drill: %w", err)}
	}
	d, err := drill.Parse(filepath.Base(file), text)
	if err != nil {
		return nil, usageError{err}
	}
	return d, nil
}

func completeDrills(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	catalogue, err := drill.Catalogue()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, d := range catalogue {
		if !slices.Contains(given, d.ID) {
			ids = append(ids, d.ID+"\t"+d.Title)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// proseWidth is the widest that prose is set.
const proseWidth = 100

// prose sets text in lines that are not too long to be read.
func prose(c *console.Console, text string) {
	fmt.Fprintln(c, strings.Join(wrap(strings.TrimSpace(text), min(c.Width(), proseWidth)), "\n"))
}

// introduce tells what is known before a drill: what will be seen is sealed.
func introduce(c *console.Console, d *drill.Drill) {
	fmt.Fprintf(c, "%s  %s\n%s\n\n", c.Bold(plain.Line(d.Title)), c.Dim(d.ID), c.Dim(d.Section))
	prose(c, d.Story)
	fmt.Fprintf(c, "\n%s\n", c.Bold("What is broken"))
	for _, i := range d.Inject {
		prose(c, "- "+faultWords(i))
	}
	if len(d.Predict) > 0 {
		fmt.Fprintf(c, "\n%s\n", c.Bold("Predict"))
		for _, q := range d.Predict {
			prose(c, "- "+q.Ask)
		}
	}
}

// printExpectations tells what must be seen.
func printExpectations(c *console.Console, d *drill.Drill) {
	for _, part := range []struct {
		title  string
		checks []drill.Check
	}{{"What must be seen", d.Expect}, {"And after the healing", d.Recover}} {
		if len(part.checks) == 0 {
			continue
		}
		fmt.Fprintf(c, "\n%s\n", c.Bold(part.title))
		for _, check := range part.checks {
			when := fmt.Sprintf("within %s", check.Within)
			if check.Always {
				when = fmt.Sprintf("from %s on, all the time", check.From)
			}
			prose(c, fmt.Sprintf("- %s: %s", when, check.See))
		}
	}
}

// printAfterwards unseals the answers.
func printAfterwards(c *console.Console, d *drill.Drill) {
	if len(d.Predict) > 0 {
		fmt.Fprintf(c, "\n%s\n", c.Bold("Did you predict it?"))
		for _, q := range d.Predict {
			prose(c, "- "+q.Ask)
			prose(c, c.Dim(strings.TrimSpace(q.Answer)))
		}
	}
	fmt.Fprintf(c, "\n%s\n", c.Bold("Debrief"))
	prose(c, d.Debrief)
	fmt.Fprintf(c, "\n%s\n", c.Bold("What would fix it"))
	prose(c, d.Fix)
}

// drillFlags are what `lab drill run` was asked for.
type drillFlags struct {
	all, yes, json, hold, untimed bool
	file                          string
	load                          float64
}

func (f drillFlags) options(steady time.Duration) runner.Options {
	return runner.Options{SteadyWithin: steady, Untimed: f.untimed}
}

func (a *App) drillRun() *cobra.Command {
	var flags drillFlags
	cmd := &cobra.Command{
		Use:   "run DRILL…",
		Short: "Run drills, one after the other",
		Long: `Runs drills. Tells the story and what to predict, asks, and goes on by itself from there: steady state, load, fault, recovery, verdict.
ctrl-C heals at once, and waits until it is healed; ctrl-C again does not wait. A lab that is not in its steady state is left alone.

With --untimed all has ten times as long, and at least two minutes, and the faults last until it was seen; how long it took, and how many tries
failed, is measured and not judged. What became of the votes is judged as ever.

The exit status is 0 when every drill passed, 1 when one failed, was aborted or could not be decided, 2 when nothing was run because the
command or a drill's file was not understood.`,
		Example: `  lab drill run redis-stop
  lab drill run redis-kill worker-kill --yes
  lab drill run --all --yes --json | jq -r '.drill.id + " " + .result'
  lab drill run postgres-stop --hold         # until you press Enter
  lab drill run --file mine.yaml --load 500
  lab drill run --all --yes --untimed        # on a slow or busy machine`,
		RunE: func(cmd *cobra.Command, given []string) error {
			drills, err := a.choose(given, flags.file, flags.all)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("load") {
				for _, d := range drills {
					d.Load.Rate = flags.load
				}
			}
			if flags.load < 1 || flags.load > drill.MaxRate {
				return usageError{fmt.Errorf("--load %g: give 1 to %d votes per second", flags.load, drill.MaxRate)}
			}
			if flags.hold && len(drills) > 1 {
				return usageError{errors.New("--hold is for one drill")}
			}
			return a.runDrills(cmd.Context(), drills, flags)
		},
		ValidArgsFunction: completeDrills,
	}
	f := cmd.Flags()
	f.BoolVar(&flags.all, "all", false, "run the whole catalogue")
	f.StringVar(&flags.file, "file", "", "run a drill of your own")
	f.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&flags.json, "json", false, "print the journal of each run, an object a line")
	f.BoolVar(&flags.hold, "hold", false, "let the fault last until Enter is pressed")
	f.BoolVar(&flags.untimed, "untimed", false, "do not judge how long things take: for a slow or busy machine")
	f.Float64Var(&flags.load, "load", drill.DefaultRate, "votes per second, in place of the drill's own")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml") // it fails for a flag that is not there
	return cmd
}

func (a *App) runDrills(ctx context.Context, drills []*drill.Drill, flags drillFlags) error {
	lab, f, done, err := a.fleet(fleet.Operate) //nolint:contextcheck // its own is for a look that is bounded, where there is no lab
	if err != nil {
		return err
	}
	defer done()
	if flags.file != "" {
		for _, d := range drills {
			if err := a.checkNames(ctx, d); err != nil {
				return err
			}
		}
	}
	o, err := a.powerFaults(lab)
	if err != nil {
		return err
	}
	r, closeRunner, err := a.newRunner(lab, f, o, flags.untimed)
	if err != nil {
		return err
	}
	defer closeRunner()
	if flags.all {
		drills = a.possible(ctx, lab, f, drills)
	}
	var ended []*journal.Journal
	steady := cmp.Or(a.SteadyWithin, steadyFirst)
	for _, d := range drills {
		if !flags.yes {
			introduce(a.err, d)
			if err := a.confirm(ctx, fmt.Sprintf("\nThis breaks things on the lab %s: %s. Go on?", lab.Name, strings.Join(newShownDrill(d).Faults, "; "))); err != nil {
				return err
			}
		}
		j, err := a.runDrill(ctx, r, d, flags, steady)
		if err != nil {
			return err
		}
		ended = append(ended, j)
		if _, err := report.Write(lab.JournalDir(), j); err != nil {
			return err
		}
		if flags.json {
			if err := a.printLine(j); err != nil {
				return err
			}
		} else if len(drills) == 1 {
			printRun(a.out, lab, j)
			if !flags.yes {
				printAfterwards(a.out, d)
			}
		}
		if ctx.Err() != nil {
			break
		}
		steady = steadyNext
	}
	if len(drills) > 1 && !flags.json {
		printEnded(a.out, lab, ended, len(drills))
	}
	if len(ended) < len(drills) || slices.ContainsFunc(ended, func(j *journal.Journal) bool { return j.Result != journal.Passed }) {
		return errReported
	}
	return nil
}

// possible leaves out of the catalogue what the lab's nodes cannot do.
func (a *App) possible(ctx context.Context, lab *settings.Lab, f *fleet.Fleet, drills []*drill.Drill) []*drill.Drill {
	view := ask(ctx, f, cmp.Or(a.Ask, askWithin))
	return slices.DeleteFunc(drills, func(d *drill.Drill) bool {
		why := runner.Unable(d, lab.Provider, view)
		if why != "" {
			fmt.Fprintf(a.err, "left out: %s: %s\n", d.ID, plain.Line(why))
		}
		return why != ""
	})
}

// newRunner wires what a drill needs.
func (a *App) newRunner(lab *settings.Lab, f *fleet.Fleet, o *powerfault.PowerFaults, untimed bool) (*runner.Runner, func(), error) {
	source, c, closeSights, err := openSource(lab, f)
	if err != nil {
		return nil, nil, err
	}
	return &runner.Runner{
		Lab:        lab,
		Source:     source,
		Breaker:    runner.Breakers{Agents: runner.Agents{Fleet: f}, Power: runner.Power{Faults: o}},
		Voters:     runner.LabVoters{Lab: lab, Datastore: c, Untimed: untimed},
		Processors: cpusteal.Read,
		Version:    a.Version, By: holder(),
	}, closeSights, nil
}

// runDrill shows on the standard error how it goes.
func (a *App) runDrill(
	ctx context.Context, r *runner.Runner, d *drill.Drill, flags drillFlags, steady time.Duration,
) (*journal.Journal, error) {
	c := a.err
	board := console.NewBoard(c)
	defer board.Close()
	board.Note(fmt.Sprintf("%s  %s", c.Bold(plain.Line(d.Title)), c.Dim(d.ID)))
	o := flags.options(steady)
	if flags.hold {
		o.Hold = a.enter()
		board.Note(c.Warn("The fault lasts until you press Enter."))
	}
	var phase *console.Phase
	name := ""
	o.Tell = func(u runner.Update) {
		if u.Phase != name {
			if phase != nil {
				phase.Done("")
			}
			name, phase = u.Phase, board.Begin(u.Phase)
		}
		phase.Say(saidOfDrill(u))
		if u.Line != "" {
			board.Note(drillLine(c, u))
		}
	}
	abandon, ended := make(chan struct{}), make(chan struct{})
	defer close(ended)
	o.Abandon = abandon
	go secondInterrupt(ctx, ended, func() {
		board.Note("Interrupted: what was broken is healed. ctrl-C again does not wait for that; then it ends by itself, within seconds.")
	}, func() { close(abandon) })
	j, err := r.Run(ctx, d, o)
	if phase != nil {
		if err == nil {
			phase.Done("")
		} else {
			phase.Fail()
		}
	}
	return j, err
}

// enter is closed when somebody presses Enter, or there is nobody to.
func (a *App) enter() <-chan struct{} {
	pressed := make(chan struct{})
	go func() {
		defer close(pressed)
		_, _ = a.answers.line()
	}()
	return pressed
}

func saidOfDrill(u runner.Update) string {
	text := ""
	if u.Left > 0 {
		text = fmt.Sprintf("%2.0f s left  ", u.Left.Seconds())
	}
	text += fmt.Sprintf("%.0f votes/s accepted, %.0f tries/s failed", u.Accepted, u.Failed)
	if u.Queued >= 0 {
		text += fmt.Sprintf(", %.0f queued", u.Queued)
	}
	return text
}

func drillLine(c *console.Console, u runner.Update) string {
	mark := map[runner.Tone]string{runner.Plain: " ", runner.Good: c.Good("✓"), runner.Warning: c.Warn("!"), runner.Bad: c.Bad("✗")}[u.Tone]
	return fmt.Sprintf("  %s %6.1f s  %s", mark, u.At.Seconds(), plain.Line(u.Line))
}

// printEnded tells of all runs, a line each.
func printEnded(c *console.Console, lab *settings.Lab, ended []*journal.Journal, all int) {
	var runs []shownRun
	passed, took := 0, int64(0)
	for _, j := range ended {
		runs = append(runs, newShownRun(lab, j))
		took += j.LengthMS
		if j.Result == journal.Passed {
			passed++
		}
	}
	printRuns(c, runs)
	fmt.Fprintf(c, "%d of %d drills passed, in %s\n", passed, all, length(took))
	if i := slices.IndexFunc(ended, func(j *journal.Journal) bool { return j.Untimed }); i >= 0 {
		prose(c, strings.Join(ended[i].Remarks, " "))
	}
	for _, j := range ended {
		for _, reason := range j.Reasons {
			fmt.Fprintf(c, "  %s %s: %s\n", c.Warn("!"), j.Drill.ID, c.Fit(reason, c.Width()-6-len(j.Drill.ID)))
		}
	}
}
