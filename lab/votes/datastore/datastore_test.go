package datastore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// tunnels lead where a test says: from "node container:port" to an address.
type tunnels map[string]string

func (t tunnels) Dial(ctx context.Context, node, container string, port int) (net.Conn, error) {
	address, ok := t[fmt.Sprintf("%s %s:%d", node, container, port)]
	if !ok {
		return nil, fmt.Errorf("no tunnel to %s on %s", container, node)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func open(t testing.TB, tunnels tunnels) *datastore.Datastore {
	t.Helper()
	lab := fleettest.Clone(t)
	password(t, lab, testservices.Password)
	c, err := datastore.Open(lab, tunnels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func password(t testing.TB, lab *settings.Lab, text string) {
	t.Helper()
	for _, file := range []string{pki.RedisPasswordFile, pki.PostgresPasswordFile} {
		if err := os.WriteFile(lab.Path(filepath.FromSlash(file)), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func someVote(choice vote.Choice, order vote.Order) vote.Vote {
	return vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: choice, Order: order, Frontend: "frontend01"}
}

func TestQueues(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	one, two := testservices.StartRedis(t), testservices.StartRedis(t)
	c := open(t, tunnels{"frontend01 redis01:6379": one.Addr, "frontend02 redis02:6379": two.Addr})

	begun := time.Now()
	for i, q := range c.Queues(ctx) {
		if q.Err != nil || q.Waiting+q.Delivered+q.Dead != 0 || q.Settled.Before(begun) || q.Node != fmt.Sprintf("frontend0%d", i+1) {
			t.Errorf("an empty queue: %+v", q)
		}
	}

	client := two.Client(t)
	writer := queue.NewWriter(client, nil)
	defer writer.Close()
	reader := queue.NewReader(client, "worker01", time.Minute, 2)
	for range 3 {
		if err := writer.Append(ctx, someVote(vote.A, 1)); err != nil {
			t.Fatal(err)
		}
	}
	captured := time.Now()
	entries, err := reader.Read(ctx, time.Second)
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	if err := client.XAdd(ctx, &redis.XAddArgs{Stream: contract.DeadStream, Values: []string{"reason", "test"}}).Err(); err != nil {
		t.Fatal(err)
	}
	queues := c.Queues(ctx)
	if q := queues[0]; q.Err != nil || q.Waiting != 0 {
		t.Errorf("%+v", q)
	}
	q := queues[1]
	if q.Err != nil || q.Waiting != 3 || q.Delivered != int64(len(entries)) || q.Dead != 1 || q.Settled.After(captured) {
		t.Errorf("%+v with %d delivered, captured until %v", q, len(entries), captured)
	}

	// Delivered is not settled.
	if err := reader.Settle(ctx, entries); err != nil {
		t.Fatal(err)
	}
	for {
		more, err := reader.Read(ctx, 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(more) == 0 {
			break
		}
		if err := reader.Settle(ctx, more); err != nil {
			t.Fatal(err)
		}
	}
	settled := time.Now()
	if q := c.Queues(ctx)[1]; q.Err != nil || q.Waiting != 0 || q.Delivered != 0 || q.Settled.Before(settled) {
		t.Errorf("%+v, settled %v", q, settled)
	}

	// The clock was set back.
	future := fmt.Sprintf("%d-0", time.Now().Add(time.Hour).UnixMilli())
	if err := client.XAdd(ctx, &redis.XAddArgs{Stream: contract.VoteStream, ID: future, Values: []string{"v", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
	if q := c.Queues(ctx)[1]; q.Err != nil || q.Waiting != 1 || !q.Settled.IsZero() {
		t.Errorf("%+v", q)
	}

	one.Kill(t)
	queues = c.Queues(ctx)
	if q := queues[0]; q.Err == nil || !strings.Contains(q.Err.Error(), "redis01 on frontend01") {
		t.Errorf("a queue that is down: %+v", q)
	}
	if queues[1].Err != nil {
		t.Error(queues[1].Err)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	server := testservices.StartRedis(t)
	c := open(t, tunnels{"frontend02 redis02:6379": server.Addr})
	client := server.Client(t)
	for _, text := range []string{"one", "two", "three"} {
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: contract.DeadStream, Values: []string{"reason", "test", "vote", text}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	got := c.DeadLetters(ctx, 2)
	if d := got[0]; d.Node != "frontend01" || d.Err == nil || !strings.Contains(d.Err.Error(), "redis01 on frontend01") {
		t.Errorf("a queue that is away: %+v", d)
	}
	if d := got[1]; d.Node != "frontend02" || d.Err != nil || d.Total != 3 || len(d.Latest) != 2 || d.Latest[0].Text != "three" || d.Latest[1].Reason != "test" {
		t.Errorf("%+v", d)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	postgres := testservices.StartPostgres(t)
	c := open(t, tunnels{"store pg:5432": postgres.Addr})

	got, tally := count(t, c)
	if len(got) != 0 || tally.Total() != 0 {
		t.Errorf("no tables yet: %v %v", got, tally)
	}

	s, err := store.Open(ctx, store.Config{
		Addr: postgres.Addr, User: "postgres", Password: testservices.Password, Database: "votes", Conns: 2, Name: "test",
		ConnectTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	want := map[checker.Row]bool{}
	at := time.UnixMilli(1_800_000_000_000)
	var batch []vote.Vote
	for i := range 5000 {
		v := someVote([]vote.Choice{vote.A, vote.B}[i%5%2], vote.Next(at, 0))
		batch = append(batch, v)
		want[checker.Row{VoterID: v.Voter, VoteID: v.ID, Choice: byte(v.Choice), At: at}] = true
	}
	if _, err := s.Merge(ctx, batch); err != nil {
		t.Fatal(err)
	}
	got, tally = count(t, c)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(checker.Tally{A: 3000, B: 2000}, tally); diff != "" {
		t.Error(diff)
	}

	// The rows are those of the moment in which the tally was read.
	err = c.Count(ctx, func(snapshot datastore.Snapshot) error {
		if _, err := s.Merge(ctx, []vote.Vote{someVote(vote.A, 1)}); err != nil {
			return err
		}
		n := 0
		for _, err := range snapshot.Rows {
			if err != nil {
				return err
			}
			n++
		}
		if n != len(batch) || snapshot.Tally.Total() != int64(n) {
			t.Errorf("%d rows, tally %v", n, snapshot.Tally)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	// The judge's own trouble comes back as it is, also in the midst of the rows.
	trouble := errors.New("trouble")
	err = c.Count(ctx, func(snapshot datastore.Snapshot) error {
		for _, err := range snapshot.Rows {
			return errors.Join(trouble, err)
		}
		return nil
	})
	if !errors.Is(err, trouble) {
		t.Error(err)
	}

	postgres.Kill(t)
	if err := c.Count(ctx, func(datastore.Snapshot) error { return nil }); err == nil || !strings.Contains(err.Error(), "pg on store") ||
		strings.Contains(err.Error(), testservices.Password) {
		t.Errorf("a database that is down: %v", err)
	}
}

func count(t *testing.T, c *datastore.Datastore) (map[checker.Row]bool, checker.Tally) {
	t.Helper()
	rows, tally := map[checker.Row]bool{}, checker.Tally{}
	err := c.Count(within(t), func(s datastore.Snapshot) error {
		tally = s.Tally
		for row, err := range s.Rows {
			if err != nil {
				return err
			}
			rows[row] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, tally
}

func TestOpen(t *testing.T) {
	t.Parallel()
	lab := fleettest.Clone(t)
	if err := os.Remove(lab.Path(filepath.FromSlash(pki.RedisPasswordFile))); err != nil {
		t.Fatal(err)
	}
	if _, err := datastore.Open(lab, tunnels{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// BenchmarkRows reads a million rows.
func BenchmarkRows(b *testing.B) {
	postgres := testservices.StartPostgres(b)
	c := open(b, tunnels{"store pg:5432": postgres.Addr})
	postgres.Exec(b, "votes", "CREATE TABLE tally (a bigint, b bigint)")
	postgres.Exec(b, "votes", `CREATE TABLE votes AS SELECT gen_random_uuid() AS voter_id, gen_random_uuid() AS vote_id, 'a'::text AS vote,
		n::bigint AS clock FROM generate_series(1, 1000000) AS n`)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := c.Count(b.Context(), func(s datastore.Snapshot) error {
			for _, err := range s.Rows {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil || n != 1_000_000 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(1e6*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
