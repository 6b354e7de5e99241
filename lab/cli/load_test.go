package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/votes/load"
)

func TestLoadIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := loadResult{
		Summary: load.Summary{
			Counts: load.Counts{Votes: 1234567, Acknowledged: 1234500, Refused: 3, Unknown: 64, Retried: 1000},
			Voters: 300000, Strangers: 1, Overdue: 9, Seconds: 61.7, Rate: 20008.1,
			Latency: load.Latency{
				P50: 2.01, P90: 5.9, P99: 32.4, P999: 10900, Max: 61000.2,
				Buckets: []load.Bucket{{UpTo: 0.128, Votes: 1}, {UpTo: 0.256}, {UpTo: 0.512, Votes: 1000}, {UpTo: 1.024, Votes: 2000}},
			},
			PerSecond: []int64{10, 20, 0, 20},
			ServedBy:  map[string]int64{"frontend01": 617250, "frontend02": 617240, "\x1b[2Jname": 4, "frontend03": 6},
			Troubles:  map[string]int64{"status 503": 5, "connection closed": 1005},
		},
		Plan: load.Plan{Concurrency: 64, Seed: 1234567}, Ledger: ".lab/ledgers/0123456789ab.ledger", Interrupted: true,
	}
	r.print(console.New(&out, nil))
	want := `1,234,567 votes of 300,000 voters in 61.7 s: 20,008 acknowledged a second
  acknowledged     1,234,500  frontend01 617,250, frontend02 617,240, frontend03 6, …
  refused                  3  the app said that they are not counted
  unknown                 64  given up; they may or may not be counted
  tried again          1,000  connection closed 1,005, status 503 5
  not cast                 9  were due, but all 64 connections were busy
  strangers                1  voters whom the app took for somebody else
latency   p50 2.0 ms  p90 5.9 ms  p99 32 ms  p99.9 11 s  max 61 s
          0.06 ms ▁ ▅█ 1.0 ms
votes/s   ▅█ █
ledger    .lab/ledgers/0123456789ab.ledger, seed 1234567
Interrupted: not all votes were cast that were asked for.
Next: ` + "`lab verify`" + ` waits until the votes are counted, and judges.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if got := most(console.New(&bytes.Buffer{}, nil), map[string]int64{"\x1b[2Jname": 4}); got != "name 4" {
		t.Errorf("%q", got)
	}
	p := load.Progress{Counts: r.Counts, Planned: 2000000, Elapsed: time.Second, Overdue: 5, Rate: 20008.1, P50: time.Millisecond, P99: time.Second}
	if got := saidOfVotes(p, 0); got != "███████░░░░░  62 %  1,234,567 of 2,000,000, 20,008/s, 5 overdue" {
		t.Error(got)
	}
	p.Planned = 0
	if got := saidOfVotes(p, 4*time.Second); got != "███░░░░░░░░░  25 %  1,234,567, 20,008/s, 5 overdue" {
		t.Error(got)
	}
	if got := saidOfAnswers(p); got != "p50 1.0 ms  p99 1000 ms  acknowledged 1,234,500, refused 3, unknown 64" {
		t.Error(got)
	}
}
