//go:build bench

package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
)

// whole is the whole application. Its worker comes later.
type whole struct {
	*site
	pg       *testservices.Postgres
	database string
	env      []string
	worker   *program
}

func newWhole(t *testing.T) *whole {
	t.Helper()
	w := &whole{env: secrets(t), pg: testservices.StartPostgres(t)}
	w.database = w.pg.Database(t)
	w.site = newSite(t, "web-vote-app", w.env, testservices.StartRedis(t), testservices.StartRedis(t))
	return w
}

func (w *whole) startWorker(t *testing.T) {
	t.Helper()
	w.worker = start(t, "vote-worker", "METRICS_LISTEN", append([]string{
		"WORKER_NUMBER=1", "REDIS_ADDRS=" + w.queues[0].Addr + "," + w.queues[1].Addr, "POSTGRES_ADDR=" + w.pg.Addr, "POSTGRES_DB=" + w.database,
	}, w.env...)...)
}

// awaitDrained waits until the queues are empty, and returns how long that took.
func (w *whole) awaitDrained(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	eventually(t, "drained queues", func(ctx context.Context) error {
		for _, q := range w.queues {
			left, err := q.Client(t).XLen(ctx, contract.VoteStream).Result()
			if err != nil {
				return err
			}
			if left > 0 {
				return fmt.Errorf("%d entries are left", left)
			}
		}
		return nil
	})
	return time.Since(began)
}

// count is what is in the database: the voters, and how many there are of each choice by the tally.
func (w *whole) count(t *testing.T) (rows, a, b int64) {
	t.Helper()
	conn := w.pg.Conn(t, w.database)
	if err := conn.QueryRow(t.Context(),
		"SELECT (SELECT count(*) FROM votes), sum(a)::bigint, sum(b)::bigint FROM tally").Scan(&rows, &a, &b); err != nil {
		t.Fatal(err)
	}
	return rows, a, b
}

// memories are the MiB that each process uses.
func (w *whole) memories(t *testing.T) map[string]float64 {
	t.Helper()
	used := map[string]float64{}
	for name, pid := range map[string]int{
		"page 1": w.web[0].pid(), "page 2": w.web[1].pid(), "worker": w.worker.pid(), "Redis 1": w.queues[0].PID(t), "Redis 2": w.queues[1].PID(t),
	} {
		used[name] = resident(t, pid)
	}
	return used
}

func addMemories(part string, before, after map[string]float64) {
	for _, name := range []string{"page 1", "page 2", "worker", "Redis 1", "Redis 2"} {
		report.Add(Row{Part: part, Name: "memory at the end, " + name, Value: after[name], Unit: "MiB", Of: "early on", Limit: before[name]})
	}
}

// TestEndToEnd runs everything at once, every vote that of a new voter.
func TestEndToEnd(t *testing.T) {
	w := newWhole(t)
	var alone []float64
	for range *runs {
		drive(t, w.front.addr, newcomers, warmUp())
		alone = append(alone, drive(t, w.front.addr, newcomers, *span).Rate)
	}
	for _, q := range w.queues {
		if err := q.Client(t).FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.startWorker(t)
	warm := drive(t, w.front.addr, newcomers, warmUp())
	before := w.memories(t)
	together := drive(t, w.front.addr, newcomers, *endToEnd)
	backlog := w.awaitDrained(t)
	rows, a, b := w.count(t)
	if promised := warm.Acknowledged + together.Acknowledged; rows < promised || a+b != rows {
		t.Errorf("%d votes were acknowledged, %d are in the table, %d in the tally", promised, rows, a+b)
	}
	const part = "end to end"
	add := func(row Row) {
		row.Part = part
		report.Add(row)
	}
	add(Row{Name: "acknowledged", Value: together.Rate, Unit: "votes/s", Of: "capture alone", Limit: Median(alone), Target: AtLeast(.75)})
	add(Row{Name: "p99", Value: together.Latency.P99, Unit: "ms"})
	add(Row{Name: "not acknowledged", Value: float64(together.Votes - together.Acknowledged), Unit: "votes"})
	add(Row{Name: "backlog drained after", Value: backlog.Seconds(), Unit: "s", Target: AtMost(1)})
	addMemories(part, before, w.memories(t))
}

// TestMany casts votes by fewer voters: memory stays, the tally is exact and the results page fast. That shows with millions of them, which
// take many minutes, so only when asked to (-many 10000000). Otherwise they are few, and show that it works.
func TestMany(t *testing.T) {
	votes := int64(*many)
	if votes == 0 {
		votes = int64(max(1000, forSpan(1000)))
	}
	w := newWhole(t)
	w.startWorker(t)
	results := start(t, "results-app", "LISTEN", append([]string{"POSTGRES_ADDR=" + w.pg.Addr, "POSTGRES_DB=" + w.database}, w.env...)...)
	var inA, inB int64
	cast := func(votes int64) load.Summary {
		t.Helper()
		book := make(choices, votes*3/10)
		plan := load.Plan{
			URL: "http://" + w.front.addr + "/", Votes: votes, Voters: int(votes * 3 / 10), Change: .7,
			Concurrency: connections, Patience: patience, Seed: 1,
		}
		sum, err := load.Run(t.Context(), plan, ledger.NewRunID(), book, w.progress(t))
		if err != nil || sum.Acknowledged != votes {
			t.Fatalf("%d of %d votes were acknowledged: %v, %v", sum.Acknowledged, votes, sum.Troubles, err)
		}
		inA += int64(bytes.Count(book, []byte{'a'}))
		inB += int64(bytes.Count(book, []byte{'b'}))
		return sum
	}
	early := cast(votes / 10)
	before := w.memories(t)
	late := cast(votes - votes/10)
	after := w.memories(t)
	backlog := w.awaitDrained(t)
	rows, a, b := w.count(t)
	if voters := early.Voters + late.Voters; rows != voters || a != inA || b != inB || inA+inB != voters {
		t.Errorf("%d voters voted, %d and %d of them for a and b; %d are in the table, %d and %d in the tally", voters, inA, inB, rows, a, b)
	}
	const part = "many"
	add := func(row Row) {
		row.Part = part
		report.Add(row)
	}
	add(Row{Name: "votes", Value: float64(votes), Unit: "votes"})
	add(Row{Name: "voters, all of them in the table and under their last choice in the tally", Value: float64(rows), Unit: "voters"})
	add(Row{Name: "acknowledged", Value: late.Rate, Unit: "votes/s", Of: "the first tenth", Limit: early.Rate})
	add(Row{Name: "backlog drained after", Value: backlog.Seconds(), Unit: "s"})
	add(Row{Name: "results page, p99", Value: pageTime(t, results.addr, forSpan(100)), Unit: "ms", Target: AtMost(5)})
	addMemories(part, before, after)
}

// progress prints how a long load is doing, now and then.
func (w *whole) progress(t *testing.T) func(load.Progress) {
	const every = 30 * time.Second
	next := every
	return func(p load.Progress) {
		if p.Elapsed < next {
			return
		}
		next += every
		fmt.Printf("%9.0f s  %d of %d votes  %.0f votes/s ", p.Elapsed.Seconds(), p.Acknowledged, p.Planned, float64(p.Acknowledged)/p.Elapsed.Seconds())
		used := w.memories(t)
		for _, name := range slices.Sorted(maps.Keys(used)) {
			fmt.Printf(" %s %.1f MiB", name, used[name])
		}
		fmt.Println()
	}
}

// pageTime asks for the results page so many times, one after another, and returns the 99th percentile in milliseconds. Most find a result
// ready that is fresh enough.
func pageTime(t *testing.T, addr string, times int) float64 {
	t.Helper()
	var took []time.Duration
	for range times {
		began := time.Now()
		resp, err := http.Get("http://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", resp.Status, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100].Seconds() * 1000
}

// resident is the memory of a process in MiB.
func resident(t *testing.T, pid int) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatalf("process %d has no memory", pid)
	return 0
}
