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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	queue.LogTo(slog.New(slog.DiscardHandler)) // whatever matters comes back as an error
	return cli.Main(ctx, cli.App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Version: version,
		Host: lifecycle.System{Check: doctor.Preflight},
	}, os.Args[1:])
}
