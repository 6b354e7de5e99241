// Command lab brings the lab up and down and looks at it from the host; see `lab --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/swarmlab/swarmlab/lab/cli"
	"github.com/swarmlab/swarmlab/lab/doctor"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/tui"
	"github.com/swarmlab/swarmlab/tui/live"
	"github.com/swarmlab/swarmlab/tui/noquery"
	"github.com/swarmlab/swarmlab/tui/world"
)

// version is set by the Makefile.
var version = "unknown"

func main() { os.Exit(run()) }

func run() int {
	noquery.Restore()
	ensureHome()
	// Without SIGQUIT Go would print its goroutines, and leave the terminal as the UI has it.
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	// A closed terminal ends a command in order, unless it was started to outlive it (nohup).
	if !signal.Ignored(syscall.SIGHUP) {
		ending = append(ending, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	defer stop()
	environ := os.Environ()
	forgetPostgres(environ)
	queue.LogTo(slog.New(slog.DiscardHandler)) // whatever matters comes back as an error
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return cli.Main(ctx, cli.App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: environ, Version: version,
		Host: lifecycle.System{Check: doctor.Preflight}, Self: self, TUI: show,
	}, os.Args[1:])
}

// forgetPostgres takes from the environment what Postgres's client library would take over for the lab's own database.
func forgetPostgres(environ []string) {
	for _, entry := range environ {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name) // it fails for a name that is none
		}
	}
}

// ensureHome sets HOME where cron, cloud-init or systemd started this without one: Vagrant, Go and Docker want it.
func ensureHome() {
	if os.Getenv("HOME") != "" || runtime.GOOS == "windows" {
		return
	}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		_ = os.Setenv("HOME", u.HomeDir) // the tools say so themselves if they miss it
	}
}

// show ties the terminal UI to the lab: neither knows the command line.
func show(ctx context.Context, app *cli.App, s cli.Screen) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &live.Backend{Lab: s.Lab, Fleet: s.Fleet, PowerFaults: s.PowerFaults, Runner: s.Runner, App: client.New(s.Lab.VotingURL(), s.Lab.ResultsURL()), Untimed: s.Untimed}
	text, err := os.ReadFile(filepath.Join(s.Lab.Dir, "HOWTO.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the tutorial: %w", err)
	}
	terminal := tui.Terminal{In: app.In, Out: app.Out, Environ: app.Environ, ReadOnly: s.ReadOnly, Tutorial: string(text)}
	err = tui.Run(ctx, terminal, l, world.New(s.Lab), l.Feed(ctx, s.Runner.Source))
	l.EndVotes()
	return errors.Join(err, app.AwaitDrill(l.EndDrill()))
}
