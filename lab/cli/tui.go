package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// Screen is what the terminal UI needs of a lab that is up.
type Screen struct {
	Lab         *settings.Lab
	Fleet       *fleet.Fleet
	PowerFaults *powerfault.PowerFaults
	Runner      *runner.Runner
	ReadOnly    bool
	// Untimed: how long things take in drills is not judged.
	Untimed bool
}

func (a *App) tui() *cobra.Command {
	var readOnly, untimed bool
	cmd := &cobra.Command{
		Use:   "tui",
		Short: "The lab as a map that lives: watch the votes flow, break things, run drills",
		Long: `Shows the lab on the whole terminal: a map of the nodes with their containers, queues and rates, the failure drills, charts of the votes, what
happens on the nodes, and the logs of any container. ? tells the keys of a page. What is broken from here is a lease and ends by itself.
Quitting while a drill runs asks first; the drill is aborted, and what it broke is healed before the command ends.

Colours suit the background that the terminal tells when it is asked. NO_COLOR=1 shows the same without colours.`,
		Example: "  lab tui\n  lab tui --read-only      # for the projector\n  lab tui --untimed        # drills on a slow or busy machine",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !isTerminal(a.In) || !isTerminal(a.Out) {
				return errors.New("this is not a terminal; `lab status` and `lab watch` print the same as text")
			}
			if !draws(a.getenv("TERM")) {
				return usageError{fmt.Errorf("this terminal cannot show a page (TERM is %q); use `lab watch`, or set TERM to what it is", a.getenv("TERM"))}
			}
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			if err := trusted(cmd.Context(), f); err != nil {
				return err
			}
			return a.show(cmd.Context(), lab, f, readOnly, untimed)
		},
	}
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "only show: no key breaks, heals or votes")
	cmd.Flags().BoolVar(&untimed, "untimed", false, "do not judge how long things take in drills: for a slow or busy machine")
	return cmd
}

func (a *App) show(ctx context.Context, lab *settings.Lab, f *fleet.Fleet, readOnly, untimed bool) error {
	o, err := a.powerFaults(lab)
	if err != nil {
		return err
	}
	r, closeRunner, err := a.newRunner(lab, f, o, untimed)
	if err != nil {
		return err
	}
	defer closeRunner()
	return a.TUI(ctx, a, Screen{Lab: lab, Fleet: f, PowerFaults: o, Runner: r, ReadOnly: readOnly, Untimed: untimed})
}

const (
	// healWithin is how long a drill may take to heal that the UI left; the runner has its own bounds, which are shorter as a rule.
	healWithin = 10 * time.Minute
	// leaveWithin is how long it may take to end when nobody waits for the healing any more.
	leaveWithin = 10 * time.Second
)

// AwaitDrill waits until a drill is over that was aborted because the UI ended, and heals. An interrupt ends the waiting: then abandon has the drill
// leave what is broken to its lease. A nil over: there is no drill.
func (a *App) AwaitDrill(id string, over <-chan struct{}, abandon func()) error {
	if over == nil {
		return nil
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	waiting := fmt.Sprintf("The drill %s is aborted, and what it broke is healed: waiting for that. ctrl-C does not wait; then it ends by itself, within seconds.", id)
	fmt.Fprintln(a.err, strings.Join(wrap(waiting, a.err.Width()), "\n"))
	select {
	case <-over:
		return nil
	case <-interrupts:
	case <-time.After(healWithin):
	}
	abandon()
	select {
	case <-over:
	case <-time.After(leaveWithin):
	}
	return fmt.Errorf("not all that the drill %s broke was seen to be over; it ends by itself, and `lab status` shows what is left", id)
}

// trustWithin is how long the agents may take to say that they do not know us; what does not answer is shown as such.
const trustWithin = 2 * time.Second

// trusted tells early when no agent that answers takes this clone's certificate. The first that takes it is enough.
func trusted(ctx context.Context, f *fleet.Fleet) error {
	ctx, cancel := context.WithTimeout(ctx, trustWithin)
	defer cancel()
	var refused error
	for u := range f.Watch(ctx) {
		n, _ := u.View.Node(u.Node)
		switch {
		case n.Err == nil:
			return nil
		case n.Err.Problem == fleet.ProblemTrust:
			refused = n.Err
		}
		if !slices.ContainsFunc(u.View.Nodes, func(n fleet.NodeView) bool { return n.Snapshot == nil && n.Err == nil }) {
			return refused
		}
	}
	return refused
}

// draws reports whether a terminal of that name can be drawn on: move the cursor, and show what is selected. Windows has no such names.
func draws(name string) bool {
	return runtime.GOOS == "windows" || name != "" && name != "dumb"
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(file.Fd())
}
