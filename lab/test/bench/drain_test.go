//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/test/bench/seedstyle"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

// TestDrain empties two queues into Postgres over two connections, every vote of a new voter, and compares with the least that Postgres
// could do for that: COPY of the same rows, in the binary format, by two connections into a table with the same primary key; once by pgx'
// CopyFrom, as a Go program would do it, and once as a stream of bytes that was prepared before, which leaves nothing to do for the client.
// The worker runs within the benchmark, as COPY does.
func TestDrain(t *testing.T) {
	pg := testservices.StartPostgres(t)
	queues := []*testservices.Redis{testservices.StartRedis(t), testservices.StartRedis(t)}
	parts := make([][]vote.Vote, len(queues))
	var entries int64
	for i, q := range queues {
		parts[i] = fill(t, q.Client(t), *drained/len(queues), fmt.Sprintf("frontend%02d", i+1))
		n, err := q.Client(t).XLen(t.Context(), contract.VoteStream).Result()
		if err != nil {
			t.Fatal(err)
		}
		entries += n
	}
	var drains, copies, raws []float64
	total := float64(*drained / len(queues) * len(queues))
	for range *runs {
		drains = append(drains, total/drain(t, pg, queues, int64(total)).Seconds())
		copies = append(copies, total/copyRows(t, pg, parts).Seconds())
		raws = append(raws, total/copyBytes(t, pg, parts).Seconds())
	}
	seeds := seedDrain(t, pg, queues)
	add := func(row Row) {
		row.Part, row.Unit = "drain", "votes/s"
		report.Add(row)
	}
	rate := Median(drains)
	add(Row{Name: "two connections", Value: rate, Of: "COPY by pgx", Limit: Median(copies), Target: AtLeast(.6)})
	add(Row{Name: "two connections", Value: rate, Of: "COPY of prepared bytes", Limit: Median(raws)})
	add(Row{Name: "two connections", Value: rate, Of: "seed-style", Limit: seeds, Target: AtLeast(40)})
	report.Add(Row{Part: "drain", Name: "votes in an entry", Value: total / float64(entries), Unit: "votes"})
}

// kept is where a full stream is kept while its copy is drained.
const kept = "bench:votes"

// fill captures n votes, as many at a time as a busy frontend, and keeps a copy of the stream.
func fill(t *testing.T, client *redis.Client, n int, frontend string) []vote.Vote {
	t.Helper()
	const together = connections / 2
	w := queue.NewWriter(client, nil)
	defer w.Close()
	votes := make([]vote.Vote, n)
	var all sync.WaitGroup
	for i := range together {
		all.Go(func() {
			for j := i; j < n; j += together {
				votes[j] = vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: vote.B, Order: vote.Next(time.Now(), 0), Frontend: frontend}
				if err := w.Append(t.Context(), votes[j]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if err := client.Copy(t.Context(), contract.VoteStream, kept, 0, true).Err(); err != nil {
		t.Fatal(err)
	}
	return votes
}

// patient is a client for commands that take Redis a while.
func patient(t *testing.T, q *testservices.Redis) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: q.Addr, Password: testservices.Password, ReadTimeout: patience, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newDatabase makes an empty database; what went before it is on the disk, so that it does not have to pay for that.
func newDatabase(t *testing.T, pg *testservices.Postgres) string {
	t.Helper()
	database := pg.Database(t)
	pg.Exec(t, "postgres", "CHECKPOINT")
	return database
}

// drain drains what is kept in the queues and returns how long that took.
func drain(t *testing.T, pg *testservices.Postgres, queues []*testservices.Redis, want int64) time.Duration {
	t.Helper()
	for _, q := range queues {
		if err := patient(t, q).Copy(t.Context(), kept, contract.VoteStream, 0, true).Err(); err != nil {
			t.Fatal(err)
		}
	}
	votes, err := store.Open(t.Context(), store.Config{
		Addr: pg.Addr, User: "postgres", Password: testservices.Password, Database: newDatabase(t, pg), Conns: len(queues), Name: "bench",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer votes.Close()
	if _, err := votes.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := worker.New(votes, worker.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	var draining sync.WaitGroup
	defer draining.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	began := time.Now()
	for i, q := range queues {
		reader := queue.NewReader(q.Client(t), "bench", worker.Lease, worker.Batch)
		draining.Go(func() { w.Drain(ctx, fmt.Sprintf("redis%02d", i+1), reader) })
	}
	for _, q := range queues {
		empty(t, q)
	}
	took := time.Since(began)
	if tally, err := votes.Tally(t.Context()); err != nil || tally.Total() != want {
		t.Fatalf("%d votes of %d are counted, %v", tally.Total(), want, err)
	}
	return took
}

// empty waits until a queue is drained.
func empty(t *testing.T, q *testservices.Redis) {
	t.Helper()
	client := q.Client(t)
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		left, err := client.XLen(t.Context(), contract.VoteStream).Result()
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d entries are left in the queue", left)
		}
	}
}

var columns = []string{"voter_id", "vote", "vote_id", "clock", "frontend"}

// copyInto lets copy write each part over a connection of its own and returns how long that took.
func copyInto(t *testing.T, pg *testservices.Postgres, parts [][]vote.Vote, copy func(conn *pgx.Conn, part int) error) time.Duration {
	t.Helper()
	database := newDatabase(t, pg)
	pg.Exec(t, database, `CREATE TABLE votes (voter_id uuid PRIMARY KEY, vote text NOT NULL, vote_id uuid NOT NULL,
		clock bigint NOT NULL, frontend text NOT NULL, counted_at timestamptz NOT NULL DEFAULT now())`)
	conns := make([]*pgx.Conn, len(parts))
	for i := range conns {
		conns[i] = pg.Conn(t, database)
	}
	var all sync.WaitGroup
	began := time.Now()
	for i := range parts {
		all.Go(func() {
			if err := copy(conns[i], i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

func copyRows(t *testing.T, pg *testservices.Postgres, parts [][]vote.Vote) time.Duration {
	t.Helper()
	return copyInto(t, pg, parts, func(conn *pgx.Conn, part int) error {
		votes := parts[part]
		_, err := conn.CopyFrom(context.Background(), pgx.Identifier{"votes"}, columns,
			pgx.CopyFromSlice(len(votes), func(i int) ([]any, error) {
				v := &votes[i]
				return []any{v.Voter, v.Choice.String(), v.ID, int64(v.Order), v.Frontend}, nil
			}))
		return err
	})
}

func copyBytes(t *testing.T, pg *testservices.Postgres, parts [][]vote.Vote) time.Duration {
	t.Helper()
	streams := make([][]byte, len(parts))
	be := binary.BigEndian
	for i, part := range parts {
		b := append([]byte("PGCOPY\n\xff\r\n\x00"), make([]byte, 8)...)
		for _, v := range part {
			b = be.AppendUint16(b, uint16(len(columns)))
			b = append(be.AppendUint32(b, 16), v.Voter[:]...)
			b = append(be.AppendUint32(b, 1), byte(v.Choice))
			b = append(be.AppendUint32(b, 16), v.ID[:]...)
			b = be.AppendUint64(be.AppendUint32(b, 8), uint64(v.Order))
			b = append(be.AppendUint32(b, uint32(len(v.Frontend))), v.Frontend...)
		}
		streams[i] = be.AppendUint16(b, 0xffff)
	}
	return copyInto(t, pg, parts, func(conn *pgx.Conn, part int) error {
		_, err := conn.PgConn().CopyFrom(context.Background(), bytes.NewReader(streams[part]),
			"COPY votes (voter_id, vote, vote_id, clock, frontend) FROM STDIN BINARY")
		return err
	})
}

// seedDrain lets the seeds' worker drain the same queues for a while and returns its rate.
func seedDrain(t *testing.T, pg *testservices.Postgres, queues []*testservices.Redis) float64 {
	t.Helper()
	database := pg.Database(t)
	pg.Exec(t, database, seedstyle.Schema)
	many := forSpan(40) * 1000 // more than it can drain meanwhile
	addrs := ""
	for _, q := range queues {
		client := patient(t, q)
		for range many / 1000 {
			var list []any
			for range 1000 {
				ballot, err := json.Marshal(seedstyle.Ballot{VoterID: uuid.NewString(), Vote: "a"})
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, ballot)
			}
			if err := client.LPush(t.Context(), "seed:votes", list...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		// The seeds' list has the name of today's stream.
		if err := client.Rename(t.Context(), "seed:votes", seedstyle.List).Err(); err != nil {
			t.Fatal(err)
		}
		addrs += "," + q.Addr
	}
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "seedstyle-worker"))
	cmd.Env = append(append(os.Environ(), "REDIS_ADDRS="+addrs[1:], "POSTGRES_ADDR="+pg.Addr, "POSTGRES_DB="+database), secrets(t)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	left := func() (n int64) {
		for _, q := range queues {
			one, err := q.Client(t).LLen(t.Context(), seedstyle.List).Result()
			if err != nil {
				t.Fatal(err)
			}
			n += one
		}
		return n
	}
	eventually(t, "the seeds' worker", func(context.Context) error {
		if left() > int64(len(queues)*many-100) {
			return fmt.Errorf("nothing is drained")
		}
		return nil
	})
	before, began := left(), time.Now()
	time.Sleep(*span)
	after, took := left(), time.Since(began)
	if after == 0 {
		t.Log("the seeds' worker had nothing left to do: it is faster than said")
	}
	return float64(before-after) / took.Seconds()
}
