// Package cli is the lab command: a file for each subcommand, which reads its flags, calls the package that does the
// work, and prints the result. No logic lives here.
//
// Results go to the standard output, everything else to the standard error. The exit status is 0 when all is well, 1
// when it is not, 2 when the command was not understood.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
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
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
)

// App is what the command needs of its surroundings.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	// Environ as os.Environ gives it.
	Environ []string
	// Dir to start from; empty: the working directory.
	Dir     string
	Version string
	Host    lifecycle.Host
	// TUI shows the terminal UI until somebody quits.
	TUI func(ctx context.Context, app *App, s Screen) error
	// SteadyWithin is how long the first drill waits for the steady state; 0 means steadyFirst.
	SteadyWithin time.Duration
	// Self is this program's file, of which `lab reap` is started.
	Self string
	// Ask is how long agents may take to answer a command that shows something, Hear how long those may take that are asked
	// again because they had not; 0 for the usual.
	Ask, Hear time.Duration

	// out and err are Out and Err for words: whatever others wrote is harmless there. What is a document or JSON is not written to them.
	out, err *console.Console
	answers  *answers
}

// Exit statuses.
const (
	exitGood  = 0
	exitBad   = 1
	exitUsage = 2
)

// usageError is a command that was not understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errReported ends a command that has already said what is wrong.
var errReported = errors.New("said")

// Main runs the command and returns its exit status.
func Main(ctx context.Context, app App, args []string) int {
	app.out, app.err, app.answers = console.New(app.Out, app.Environ), console.New(app.Err, app.Environ), &answers{in: app.In}
	root := app.root() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if (err == nil || errors.Is(err, errReported)) && app.out.Err() != nil {
		// A full disk, for one: what was asked for is not there.
		err = fmt.Errorf("write the output: %w", app.out.Err())
	}
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errReported):
		return exitBad
	}
	fmt.Fprintf(app.err, "lab: %v\n", err)
	if hint := ownerHint(err); hint != "" {
		fmt.Fprintln(app.err, hint)
	}
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		fmt.Fprintf(app.err, "See `%s --help`.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitBad
}

// ownerHint says what to do about a file of the lab that this user may not touch: somebody else, as root with sudo, made it. It is empty for others.
func ownerHint(err error) string {
	var path *fs.PathError
	if !errors.As(err, &path) || !errors.Is(path.Err, fs.ErrPermission) || !slices.Contains(strings.Split(filepath.ToSlash(path.Path), "/"), ".lab") {
		return ""
	}
	return "The file belongs to another user. Run the command as that user, or make the clone yours: sudo chown -R \"$(id -un)\" CLONE"
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "A Docker cluster to learn on: six nodes, a voting app, and what keeps it running",
		Long: `lab brings up a lab of six nodes with Vagrant, installs a voting app on them through an agent on each node,
and shows how it is doing. Run it in a clone of swarmlab; ` + "`make up`" + ` builds everything and calls ` + "`lab up`" + `.

Settings come from the environment: LAB_NAME, LAB_SUBNET, LAB_PORT_BASE, LAB_FRONTENDS, LAB_WORKERS, LAB_STAGE,
PROVIDER. They are remembered until the lab is taken down.`,
		Example:       "  lab up\n  lab status\n  lab vote a\n  lab logs frontend01 redis01 -f",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.In)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetHelpFunc(a.help)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		a.up(), a.down(), a.status(), a.stage(), a.reset(), a.vote(), a.load(), a.verify(), a.deadLetters(), a.logs(), a.fault(), a.heal(), a.drill(), a.report(), a.tui(), a.doctor(), a.bundle(), a.watch(), a.version(), a.vagrant(), a.reap(),
	)
	return root
}

// args wraps a check of arguments so that its error counts as one of usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// oneOf accepts a single argument out of a list.
func oneOf(what string, words ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, given []string) error {
		if len(given) == 1 {
			for _, w := range words {
				if given[0] == w {
					return nil
				}
			}
			return fmt.Errorf("%q is no %s: give one of %s", given[0], what, strings.Join(words, ", "))
		}
		return fmt.Errorf("give one %s: %s", what, strings.Join(words, ", "))
	}
}

// lab opens the clone's lab.
func (a *App) lab() (*settings.Lab, error) {
	dir := a.Dir
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return nil, fmt.Errorf("find the clone's folder: %w", err)
		}
	}
	dir, err := settings.FindDir(dir)
	if err != nil {
		return nil, err
	}
	return settings.Open(dir, a.getenv)
}

func (a *App) getenv(name string) string { return console.Environment(a.Environ).Getenv(name) }

// fleet opens the lab that is up and its agents. Call the returned function when done.
func (a *App) fleet(unit fleet.Unit) (*settings.Lab, *fleet.Fleet, func(), error) {
	lab, err := a.lab()
	if err != nil {
		return nil, nil, nil, err
	}
	if lab.Saved == nil {
		return nil, nil, nil, a.noLab(context.Background(), lab)
	}
	f, err := lifecycle.Connect(lab, unit)
	if err != nil {
		return nil, nil, nil, err
	}
	a.replay(lab)
	return lab, f, func() { _ = f.Close() }, nil // the command is over
}

// noLabWithin bounds the look at what there is of a lab that is not known of.
const noLabWithin = 5 * time.Second

// noLab says that no lab is up, or that there is one that was lost from sight.
func (a *App) noLab(ctx context.Context, lab *settings.Lab) error {
	ctx, cancel := context.WithTimeout(ctx, noLabWithin)
	defer cancel()
	if host, ok := a.Host.(lifecycle.Witness); ok {
		if err := host.Left(ctx, lab); err != nil {
			return err
		}
	}
	return lifecycle.ErrNoLab
}

// lifecycle returns the lifecycle of the clone's lab, which shows its progress on the standard output.
func (a *App) lifecycle() (*lifecycle.Lifecycle, error) {
	lab, err := a.lab()
	if err != nil {
		return nil, err
	}
	a.replay(lab)
	return &lifecycle.Lifecycle{Lab: lab, Host: a.Host, Console: a.out}, nil
}

// grouped prints numbers as 1,234,567.
func grouped() *message.Printer { return message.NewPrinter(language.English) }

// printJSON prints a value for people and programs.
func (a *App) printJSON(v any) error { return a.encode(v, "  ") }

// printLine prints a value as one line.
func (a *App) printLine(v any) error { return a.encode(v, "") }

func (a *App) encode(v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	err := e.Encode(v)
	if err == nil {
		err = a.out.JSON(b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (a *App) completeNodes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	lab, err := a.lab()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return lab.Topology.Names(), cobra.ShellCompDirectiveNoFileComp
}
