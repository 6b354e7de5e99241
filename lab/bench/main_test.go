//go:build bench

package bench

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
)

var (
	runs     = flag.Int("runs", 5, "interleaved runs; the median counts")
	span     = flag.Duration("span", 5*time.Second, "length of one run")
	drained  = flag.Int("drain", 1_000_000, "votes to drain")
	endToEnd = flag.Duration("end-to-end", time.Minute, "length of the run of all programs together")
	many     = flag.Int64("many", 0, "votes of the run that shows that memory stays; 0: no such run")
	out      = flag.String("out", "", "file for the figures as JSON")
)

// programs is the folder for what is built.
var programs string

// report is what all benchmarks add to.
var report = &Report{Began: time.Now().UTC(), Machine: machine()}

func TestMain(m *testing.M) {
	flag.Parse()
	queue.LogTo(slog.New(slog.DiscardHandler)) // It tells of every try while a Redis starts.
	status := run(m)
	if len(report.Rows) > 0 {
		fmt.Printf("\n%s, %s\n\n", report.Began.Format(time.RFC3339), report.Machine)
		err := report.Print(os.Stdout)
		if err == nil && *out != "" {
			err = write(*out)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// run gives the programs a folder while the benchmarks run.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "swarmlab-bench")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of temporary files is all that would be left
	programs = dir
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		fmt.Fprintln(os.Stderr, "interrupted: removing what the benchmarks started")
		if err := errors.Join(testservices.Discard(), os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(130)
	}()
	return m.Run()
}

func write(path string) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func machine() string {
	commit := "unknown"
	if said, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		commit = strings.TrimSpace(string(said))
	}
	return fmt.Sprintf("%s/%s, %d processors, %s, commit %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), commit)
}
