//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
)

// seedEnv repeats the choices of an earlier run, whose seed its log tells.
const seedEnv = "LAB_TEST_SEED"

// newSeed says and returns what decides over all that is left to chance.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(rand.Uint32())
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("%s=%d", seedEnv, seed)
	return seed
}

// trial is a load and, in the end, the verdict on what became of it. Nobody else votes meanwhile.
type trial struct {
	seed uint64
	path string
	// others are the voters who were there before.
	others int64
	book   *book
	cancel context.CancelFunc
	ended  chan struct{}
	// These hold once ended is closed.
	summary load.Summary
	err     error
}

// book counts, beside keeping the ledger.
type book struct {
	*ledger.Writer
	mu           sync.Mutex
	acknowledged int64
	servedBy     map[string]int64
}

func (b *book) Answered(v ledger.Voter, s ledger.Seq, o ledger.Outcome, at time.Duration) error {
	if o.Kind == ledger.Acknowledged {
		b.mu.Lock()
		b.acknowledged++
		b.servedBy[o.ServedBy]++
		b.mu.Unlock()
	}
	return b.Writer.Answered(v, s, o, at)
}

func (b *book) count() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acknowledged
}

func (b *book) servers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.servedBy)
}

// tryOut starts a load of votes, at the lab's rate; 0: until it is judged. Every second vote is a change of mind.
func (l *lab) tryOut(t *testing.T, seed uint64, votes int64) *trial {
	t.Helper()
	run := ledger.Run{ID: ledger.NewRunID(), Started: time.Now(), Lab: l.Name, Seed: seed}
	// Votes of an aborted drill before may still be on their way: they are others.
	l.drained(t)
	rows := l.countRows(t)
	writer, err := ledger.Create(l.LedgerDir(), run)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tr := &trial{
		seed: seed, path: ledger.Path(l.LedgerDir(), run.ID), others: rows, cancel: cancel, ended: make(chan struct{}),
		book: &book{Writer: writer, servedBy: map[string]int64{}},
	}
	go func() {
		defer close(tr.ended)
		tr.summary, tr.err = load.Run(ctx, load.Plan{
			URL: l.votingURL() + "/", Votes: votes, Change: 0.5, Rate: l.rate, Concurrency: 32, Patience: l.patience, Seed: seed,
		}, run.ID, tr.book, nil)
		tr.err = errors.Join(tr.err, writer.Close())
	}()
	t.Cleanup(func() {
		cancel()
		<-tr.ended
	})
	return tr
}

// more waits until this many more votes are acknowledged.
func (tr *trial) more(t *testing.T, l *lab, votes int64) {
	t.Helper()
	goal := tr.book.count() + votes
	waitFor(t, l.patience, fmt.Sprintf("%d more votes are acknowledged", votes), func(context.Context) error {
		if n := tr.book.count(); n < goal {
			return fmt.Errorf("%d are missing", goal-n)
		}
		return nil
	})
}

// over waits until all votes of the load have come to their end.
func (tr *trial) over(t *testing.T) {
	t.Helper()
	<-tr.ended
	if tr.err != nil {
		t.Fatal(tr.err)
	}
}

// judge ends the load, waits until all is counted, and holds that against the ledger.
func (tr *trial) judge(t *testing.T, l *lab) verify.Verdict {
	t.Helper()
	tr.cancel()
	tr.over(t)
	began := time.Now()
	v := verify.Verifier{Lab: l.Lab, Datastore: l.datastore(t)}
	got, err := v.Settled(t.Context(), verify.Options{
		Ledgers: []string{tr.path}, Options: checker.Options{Sample: 1000, Seed: tr.seed}, Timeout: l.patience,
	}, func([]string) {})
	if err != nil {
		t.Fatal(err)
	}
	s := tr.summary
	t.Logf("%s: %d votes of %d voters in %.0f s, %d acknowledged by %v, %d without an answer, %d tries; drained and judged in %.1f s: %v",
		got.Result, s.Votes, s.Voters, s.Seconds, s.Acknowledged, s.ServedBy, s.Unknown, s.Tries, time.Since(began).Seconds(), got.Found)
	return got
}

// pass demands that every acknowledged vote of the load is counted, once and in order, and nothing else.
func (tr *trial) pass(t *testing.T, l *lab) {
	t.Helper()
	got := tr.judge(t, l)
	if got.Result != checker.Pass || got.Violations() != 0 || got.Register.Violations != 0 || got.Register.Undecided != 0 {
		t.Errorf("the promise is broken (%v): %+v", got.Missing, got.Examples)
	}
	if got.Others != tr.others {
		t.Errorf("%d voters are none of the load's; before it there were %d", got.Others, tr.others)
	}
	for _, q := range got.Queues {
		if q.Dead > 0 {
			t.Errorf("%s put %d votes aside", q.Node, q.Dead)
		}
	}
}

// datastore reads what the lab holds.
func (l *lab) datastore(t *testing.T) *datastore.Datastore {
	t.Helper()
	c, err := datastore.Open(l.Lab, l.fleet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// count waits for the database and reads it.
func (l *lab) count(t *testing.T, read func(datastore.Snapshot) error) {
	t.Helper()
	c := l.datastore(t)
	waitFor(t, l.patience, "the database is read", func(ctx context.Context) error { return c.Count(ctx, read) })
}

func (l *lab) countRows(t *testing.T) (rows int64) {
	t.Helper()
	l.count(t, func(s datastore.Snapshot) error {
		rows = 0
		for _, err := range s.Rows {
			if err != nil {
				return err
			}
			rows++
		}
		return nil
	})
	return rows
}

// drained waits until no vote waits in any queue.
func (l *lab) drained(t *testing.T) {
	t.Helper()
	c := l.datastore(t)
	waitFor(t, l.patience, "the queues are empty", func(ctx context.Context) error {
		for _, q := range c.Queues(ctx) {
			if q.Err != nil || q.Waiting > 0 {
				return fmt.Errorf("%d wait on %s: %w", q.Waiting, q.Node, q.Err)
			}
		}
		return nil
	})
}

// mustTally returns what is counted once every vote cast so far has been.
func (l *lab) mustTally(t *testing.T) (v tally) {
	t.Helper()
	l.drained(t)
	l.count(t, func(s datastore.Snapshot) error {
		v = tally{A: int(s.Tally.A), B: int(s.Tally.B), Total: int(s.Tally.Total())}
		return nil
	})
	return v
}

func (l *lab) secret(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(l.Path(filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// redis connects to a frontend's queue.
func (l *lab) redis(t *testing.T, ordinal int) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.fleet.Dial(ctx, fmt.Sprintf("frontend%02d", ordinal), fmt.Sprintf("redis%02d", ordinal), 6379)
		},
		Password: l.secret(t, pki.RedisPasswordFile), DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// holdVotes keeps every worker from committing until release is called, or Postgres ends the connection that holds the lock.
func (l *lab) holdVotes(t *testing.T) (release func()) {
	t.Helper()
	cfg, err := pgx.ParseConfig("postgres://postgres@pg/votes?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = l.secret(t, pki.PostgresPasswordFile)
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return l.fleet.Dial(ctx, "store", "pg", 5432)
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), l.patience)
		defer cancel()
		_ = conn.Close(ctx) // the lock goes with the connection
	})
	t.Cleanup(release)
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE votes IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	return release
}

// consumers are a worker's runs at the queues, as Redis knows them.
func consumers(ctx context.Context, queues []*redis.Client, worker string) (all []redis.XInfoConsumer, err error) {
	for _, q := range queues {
		found, err := q.XInfoConsumers(ctx, contract.VoteStream, contract.WorkerGroup).Result()
		if err != nil {
			return nil, err
		}
		all = append(all, slices.DeleteFunc(found, func(c redis.XInfoConsumer) bool { return !strings.HasPrefix(c.Name, worker+"-") })...)
	}
	return all, nil
}
