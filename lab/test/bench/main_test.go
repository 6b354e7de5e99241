//go:build bench

package bench

import (
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
	span     = flag.Duration("span", 5*time.Second, "length of one run; data and the other lengths go by it")
	drained  = flag.Int("drain", 0, "votes to drain; 0: a million for a span of 5s")
	endToEnd = flag.Duration("end-to-end", 0, "length of the run of all programs together; 0: 12 spans")
	many     = flag.Int("many", 0, "votes of the run that shows that memory stays, 10,000,000 for example; 0: so few that they only show that it works")
	out      = flag.String("out", "", "file for the figures as JSON")
)

// programs is the folder for what is built.
var programs string

// report is what all benchmarks add to.
var report = &Report{Began: time.Now().UTC(), Machine: machine()}

// forSpan is how much of something goes with the span, of which there is so much in a second.
func forSpan(perSecond float64) int { return int(max(1, perSecond*span.Seconds())) }

func TestMain(m *testing.M) {
	flag.Parse()
	if *runs < 1 || *span <= 0 {
		fmt.Fprintln(os.Stderr, "-runs and -span are at least 1 and above 0")
		os.Exit(2)
	}
	if *drained == 0 {
		*drained = forSpan(200_000)
	}
	if *endToEnd == 0 {
		*endToEnd = 12 * *span
	}
	queue.LogTo(slog.New(slog.DiscardHandler)) // It tells of every try while a Redis starts.
	status := run(m)
	if len(report.Rows) > 0 {
		fmt.Println()
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
	text, err := report.JSON()
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func machine() string {
	commit := "unknown"
	if said, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		commit = strings.TrimSpace(string(said))
	}
	return fmt.Sprintf("%s/%s, %d processors, %s, commit %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), commit)
}
