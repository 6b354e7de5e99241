package checker_test

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// BenchmarkJudge judges ledgers of ten million entries (a vote and its answer are two) and of ten million votes. It generates a
// ledger on disk and the rows that a correct system makes of it; peak-MiB is the most memory that the process ever had, the generator's included.
func BenchmarkJudge(b *testing.B) {
	const million = 1_000_000
	for _, size := range []struct{ votes, voters uint32 }{{5 * million, 3 * million}, {10 * million, 3 * million}, {10 * million, 10 * million}} {
		b.Run(fmt.Sprintf("%dMvotes/%dMvoters", size.votes/million, size.voters/million), func(b *testing.B) {
			path, run := generate(b, size.votes, size.voters)
			r, err := ledger.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close() //nolint:errcheck // only read
			debug.FreeOSMemory()
			b.ResetTimer()
			for range b.N {
				report, err := checker.Judge([]checker.Source{r}, rows(run, size.votes, size.voters), checker.Options{Sample: 1000})
				if err != nil || report.Result != checker.Pass || report.Sent.Votes != int64(size.votes) || report.Rows != int64(size.voters) {
					b.Fatalf("%+v %v", report, err)
				}
			}
			b.ReportMetric(peak(b), "peak-MiB")
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/judgement")
		})
	}
}

func voterID(v uint32) uuid.UUID { return ledger.RunID{7}.VoteID(ledger.Voter(v), 0) }

// generate writes a ledger in which voters vote in turns.
func generate(b *testing.B, votes, voters uint32) (string, ledger.RunID) {
	b.Helper()
	dir, run := b.TempDir(), ledger.NewRunID()
	w, err := ledger.Create(dir, ledger.Run{ID: run, Started: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range votes {
		v, s := ledger.Voter(i%voters), ledger.Seq(i/voters)
		o := ledger.Outcome{Kind: ledger.Acknowledged, VoterID: voterID(i % voters), Order: int64(i), ServedBy: "frontend01"}
		at := time.Duration(i) * time.Microsecond
		if err := errors.Join(w.Sent(v, s, 'a'+byte(i&1), at), w.Answered(v, s, o, at+time.Millisecond)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return ledger.Path(dir, run), run
}

// rows come in an order that has nothing to do with that of the ledger, as those of a table do.
func rows(run ledger.RunID, votes, voters uint32) checker.Evidence {
	vote := func(v uint32) checker.Row {
		last := (votes-1-v)/voters*voters + v
		return checker.Row{VoterID: voterID(v), VoteID: run.VoteID(ledger.Voter(v), ledger.Seq(last/voters)), Choice: 'a' + byte(last&1)}
	}
	var e checker.Evidence
	for v := range voters {
		if vote(v).Choice == 'a' {
			e.Tally.A++
		} else {
			e.Tally.B++
		}
	}
	const step = 7_368_787 // a prime, so that all voters are met
	e.Rows = func(yield func(checker.Row, error) bool) {
		for i := range uint64(voters) {
			if !yield(vote(uint32(i*step%uint64(voters))), nil) {
				return
			}
		}
	}
	return e
}

// peak is the process' greatest resident memory so far, in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmHWM")
	return 0
}
