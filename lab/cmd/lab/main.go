// Command lab brings the lab up and down and looks at it from the host; see `lab --help`.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/swarmlab/swarmlab/lab/cli"
	"github.com/swarmlab/swarmlab/lab/doctor"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
)

// version is set by the Makefile.
var version = "unknown"

func main() { os.Exit(run()) }

func run() int {
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	// A closed terminal ends a command in order, unless it was started to outlive it (nohup).
	if !signal.Ignored(syscall.SIGHUP) {
		ending = append(ending, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	defer stop()
	queue.LogTo(slog.New(slog.DiscardHandler)) // whatever matters comes back as an error
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return cli.Main(ctx, cli.App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Version: version,
		Host: lifecycle.System{Check: doctor.Preflight}, Self: self,
	}, os.Args[1:])
}
