package votingapp_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

// BenchmarkDrain empties two queues, every vote of a new voter, and compares with the least that Postgres could do for that: COPY of the same
// rows by two connections.
func BenchmarkDrain(b *testing.B) {
	const perQueue = 100_000
	pg := testservices.StartPostgres(b)
	redis := []*testservices.Redis{testservices.StartRedis(b), testservices.StartRedis(b)}
	for _, size := range []int{1000, 2000, 5000, 10000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			var drained, copied time.Duration
			for range b.N {
				filled := make([][]vote.Vote, len(redis))
				for i, r := range redis {
					filled[i] = fill(b, r, perQueue)
				}
				database := pg.Database(b)
				votes, err := store.Open(b.Context(), store.Config{
					Addr: pg.Addr, User: "postgres", Password: testservices.Password, Database: database, Conns: 2, Name: "bench",
				})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := votes.Migrate(b.Context()); err != nil {
					b.Fatal(err)
				}
				drained += drain(b, votes, redis, size)
				if t, err := votes.Tally(b.Context()); err != nil || t.Total() != int64(len(redis)*perQueue) {
					b.Fatalf("tally %v, %v", t, err)
				}
				votes.Close()
				copied += copyRows(b, pg, filled)
			}
			total := float64(b.N * len(redis) * perQueue)
			b.ReportMetric(total/drained.Seconds(), "votes/s")
			b.ReportMetric(total/copied.Seconds(), "copied/s")
			b.ReportMetric(copied.Seconds()/drained.Seconds(), "of-copy")
		})
	}
}

// fill captures n votes.
func fill(b *testing.B, r *testservices.Redis, n int) []vote.Vote {
	b.Helper()
	w := queue.NewWriter(r.Client(b), nil)
	defer w.Close()
	votes := make([]vote.Vote, n)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			for j := i; j < n; j += 500 {
				votes[j] = vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: vote.B, Order: vote.Order(j + 1), Frontend: "frontend01"}
				if err := w.Append(context.Background(), votes[j]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return votes
}

func drain(b *testing.B, votes *store.Store, redis []*testservices.Redis, size int) time.Duration {
	b.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w := worker.New(votes, worker.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	began := time.Now()
	for i, r := range redis {
		reader := queue.NewReader(r.Client(b), "bench", worker.Lease, size)
		workers.Go(func() { w.Drain(ctx, fmt.Sprintf("redis%02d", i+1), reader) })
	}
	for _, r := range redis {
		client := r.Client(b)
		for left := int64(1); left > 0; time.Sleep(2 * time.Millisecond) {
			var err error
			if left, err = client.XLen(b.Context(), queue.Stream).Result(); err != nil {
				b.Fatal(err)
			}
		}
	}
	return time.Since(began)
}

// copyRows writes the same rows to a table with the same primary key, one connection for each part.
func copyRows(b *testing.B, pg *testservices.Postgres, parts [][]vote.Vote) time.Duration {
	b.Helper()
	database := pg.Database(b)
	pg.Exec(b, database, `CREATE TABLE votes (voter_id uuid PRIMARY KEY, vote text NOT NULL, vote_id uuid NOT NULL,
		clock bigint NOT NULL, frontend text NOT NULL, counted_at timestamptz NOT NULL DEFAULT now())`)
	var all sync.WaitGroup
	conns := make([]*pgx.Conn, len(parts))
	for i := range parts {
		conns[i] = pg.Conn(b, database)
	}
	began := time.Now()
	for i, part := range parts {
		all.Go(func() {
			_, err := conns[i].CopyFrom(context.Background(), pgx.Identifier{"votes"},
				[]string{"voter_id", "vote", "vote_id", "clock", "frontend"},
				pgx.CopyFromSlice(len(part), func(i int) ([]any, error) {
					v := part[i]
					return []any{v.Voter, v.Choice.String(), v.ID, int64(v.Order), v.Frontend}, nil
				}))
			if err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}
