package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// fakeQueue hands out its entries once, and again by Claim when they were not settled.
type fakeQueue struct {
	mu            sync.Mutex
	waiting       []queue.Entry
	held          map[string]queue.Entry
	counted, dead []string
	readErr       error
	settleErrs    int
	left          bool
	identity      string
}

var _ Queue = (*fakeQueue)(nil)

func (q *fakeQueue) Read(ctx context.Context, block time.Duration) ([]queue.Entry, error) {
	if got, err := q.take(); len(got) > 0 || err != nil {
		return got, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(block):
	}
	return q.take()
}

func (q *fakeQueue) take() ([]queue.Entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.readErr != nil {
		return nil, q.readErr
	}
	n := min(len(q.waiting), 10)
	got := q.waiting[:n]
	q.waiting = q.waiting[n:]
	for _, e := range got {
		q.held[e.ID] = e
	}
	return got, nil
}

func (q *fakeQueue) Claim(context.Context) ([]queue.Entry, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var got []queue.Entry
	for _, e := range q.held {
		got = append(got, e)
	}
	return got, false, q.readErr
}

func (q *fakeQueue) Settle(_ context.Context, done []queue.Entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.settleErrs > 0 {
		q.settleErrs--
		return errors.New("redis is away")
	}
	for _, e := range done {
		delete(q.held, e.ID)
		if len(e.Votes) > 0 {
			q.counted = append(q.counted, e.ID)
		}
		if len(e.Dead) > 0 {
			q.dead = append(q.dead, e.ID)
		}
	}
	return nil
}

func (q *fakeQueue) State(context.Context) (queue.State, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return queue.State{Identity: q.identity, Captured: 1}, q.readErr
}

func (q *fakeQueue) Leave(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left = true
	return nil
}

func (q *fakeQueue) state() (counted, dead []string, held int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.counted), slices.Clone(q.dead), len(q.held) + len(q.waiting)
}

// fakeStore counts in memory; voters that it rejects are named.
type fakeStore struct {
	mu       sync.Mutex
	votes    map[uuid.UUID]vote.Vote
	rejects  map[uuid.UUID]bool
	err      error
	migrated int
	seen     map[string]string
}

var _ Store = (*fakeStore)(nil)

func (s *fakeStore) Merge(_ context.Context, batch []vote.Vote) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	for _, v := range batch {
		if s.rejects[v.Voter] {
			return 0, &pgconn.PgError{Code: "23514", TableName: "votes"}
		}
	}
	for _, v := range batch {
		if have, ok := s.votes[v.Voter]; !ok || v.After(have) {
			s.votes[v.Voter] = v
		}
	}
	return int64(len(batch)), nil
}

// Witness keeps the identities that it saw.
func (s *fakeStore) Witness(ctx context.Context, queue string, look func(context.Context) (store.Sighting, error)) (store.Loss, error) {
	now, err := look(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.seen[queue]
	if err != nil || known && before == now.Identity {
		return store.LossNone, err
	}
	s.seen[queue] = now.Identity
	if !known {
		return store.LossNone, nil
	}
	return store.LossEmpty, nil
}

func (s *fakeStore) Migrate(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.migrated++
	s.err = nil
	return 1, nil
}

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func entries(n int) []queue.Entry {
	list := make([]queue.Entry, n)
	for i := range list {
		list[i] = queue.Entry{ID: fmt.Sprint(i, "-0"), Votes: []vote.Vote{{
			ID: uuid.New(), Voter: uuid.New(), Choice: vote.A, Order: vote.Order(i + 1), Frontend: "frontend01",
		}}}
	}
	return list
}

// drainFor drains a queue for some (fake) time while do does things to it, and stops.
func drainFor(t *testing.T, q *fakeQueue, s *fakeStore, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var draining sync.WaitGroup
	w := New(s, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	draining.Go(func() { w.Drain(ctx, "redis01", q) })
	do()
	cancel()
	draining.Wait()
	if !q.left {
		t.Error("the queue was not left")
	}
}

func newFakes(list []queue.Entry) (*fakeQueue, *fakeStore) {
	return &fakeQueue{waiting: list, held: map[string]queue.Entry{}},
		&fakeStore{votes: map[uuid.UUID]vote.Vote{}, rejects: map[uuid.UUID]bool{}, seen: map[string]string{}}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakes(entries(95))
		drainFor(t, q, s, func() { time.Sleep(time.Second) })
		if counted, dead, held := q.state(); len(counted) != 95 || len(dead) != 0 || held != 0 || len(s.votes) != 95 {
			t.Errorf("%d counted, %d dead, %d held, %d in the store", len(counted), len(dead), held, len(s.votes))
		}
	})
}

func TestPoisonIsPutAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := entries(40)
		garbage := []queue.Letter{{Err: errors.New("garbage")}}
		list[3].Votes, list[3].Dead = nil, garbage
		list[20].Dead = garbage // beside a good vote
		q, s := newFakes(list)
		s.rejects[list[7].Votes[0].Voter] = true
		s.rejects[list[8].Votes[0].Voter] = true
		s.rejects[list[39].Votes[0].Voter] = true
		drainFor(t, q, s, func() { time.Sleep(10 * time.Second) })
		counted, dead, held := q.state()
		slices.Sort(dead)
		if !slices.Equal(dead, []string{"20-0", "3-0", "39-0", "7-0", "8-0"}) || len(counted) != 36 || held != 0 {
			t.Errorf("%d counted, dead %v, %d held", len(counted), dead, held)
		}
	})
}

func TestNothingIsAcknowledgedBeforeItIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakes(entries(30))
		s.fail(errors.New("postgres is away"))
		drainFor(t, q, s, func() {
			time.Sleep(time.Minute)
			if counted, _, held := q.state(); len(counted) != 0 || held != 30 {
				t.Errorf("%d acknowledged, %d held, while the store is away", len(counted), held)
			}
			s.fail(nil)
			time.Sleep(2 * Lease)
		})
		if _, _, held := q.state(); held != 0 || len(s.votes) != 30 {
			t.Errorf("%d held, %d in the store", held, len(s.votes))
		}
	})
}

func TestStoppedWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakes(entries(30))
		s.fail(errors.New("postgres is away"))
		began := time.Now()
		drainFor(t, q, s, func() { time.Sleep(time.Second) })
		if took := time.Since(began); took > time.Second+finishGrace+2*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if counted, dead, held := q.state(); len(counted)+len(dead) != 0 || held != 30 {
			t.Errorf("%v counted, %v dead, %d held", counted, dead, held)
		}
	})
}

func TestUnacknowledgedEntriesComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakes(entries(10))
		q.settleErrs = settleTries
		drainFor(t, q, s, func() { time.Sleep(30 * time.Second) })
		if _, _, held := q.state(); held != 0 || len(s.votes) != 10 {
			t.Errorf("%d held, %d in the store", held, len(s.votes))
		}
	})
}

func TestEmptiedDatabaseIsPreparedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakes(entries(10))
		s.fail(&pgconn.PgError{Code: "42P01"})
		drainFor(t, q, s, func() { time.Sleep(10 * time.Second) })
		if s.migrated == 0 || len(s.votes) != 10 {
			t.Errorf("migrated %d times, %d in the store", s.migrated, len(s.votes))
		}
	})
}

func TestDeadQueueDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, s := newFakes(nil)
		dead.readErr = errors.New("no such host")
		alive, _ := newFakes(entries(50))
		ctx, cancel := context.WithCancel(t.Context())
		w := New(s, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
		var draining sync.WaitGroup
		draining.Go(func() {
			w.All(ctx, []string{"redis01", "redis02"}, func(host string) (Queue, func()) {
				return map[string]Queue{"redis01": dead, "redis02": alive}[host], func() {}
			})
		})
		time.Sleep(time.Second)
		if counted, _, _ := alive.state(); len(counted) != 50 {
			t.Errorf("%d of 50 counted", len(counted))
		}
		cancel()
		draining.Wait()
	})
}

func TestWipedQueueIsNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newFakes(nil)
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		metrics := NewMetrics(registry)
		ctx, cancel := context.WithCancel(t.Context())
		var draining sync.WaitGroup
		draining.Go(func() { New(s, metrics, slog.New(slog.NewTextHandler(&log, nil))).Drain(ctx, "redis01", q) })
		time.Sleep(10 * time.Second)
		for _, identity := range []string{"another", "yet another"} {
			q.mu.Lock()
			q.identity = identity
			q.mu.Unlock()
			time.Sleep(2 * witnessEvery)
		}
		cancel()
		draining.Wait()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var n float64
		for _, f := range families {
			if f.GetName() == "queue_incidents_total" {
				n = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if n != 2 || strings.Count(log.String(), "votes may be lost") != 2 {
			t.Errorf("%v incidents; the log says:\n%s", n, &log)
		}
	})
}

// fakeDNS knows some names; others are unknown, or fail.
type fakeDNS struct {
	mu    sync.Mutex
	known map[string]bool
	fails bool
}

func (d *fakeDNS) LookupHost(_ context.Context, host string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fails:
		return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
	case d.known[host]:
		return []string{"10.0.0.1"}, nil
	default:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
}

func (d *fakeDNS) set(fails bool, hosts ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known, d.fails = map[string]bool{}, fails
	for _, h := range hosts {
		d.known[h] = true
	}
}

func TestDiscover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{}
		_, s := newFakes(nil)
		var (
			mu   sync.Mutex
			open = map[string]bool{}
		)
		expect := func(hosts ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			for _, h := range hosts {
				if !open[h] {
					t.Errorf("%s is not drained: %v", h, open)
				}
			}
			if len(open) != len(hosts) {
				t.Errorf("drained: %v, want %v", open, hosts)
			}
		}
		dns.set(false, "redis01", "redis02", "redis20")
		ctx, cancel := context.WithCancel(t.Context())
		w := New(s, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
		var discovering sync.WaitGroup
		discovering.Go(func() {
			w.Discover(ctx, dns, func(host string) (Queue, func()) {
				mu.Lock()
				defer mu.Unlock()
				open[host] = true
				q, _ := newFakes(nil)
				return q, func() {
					mu.Lock()
					defer mu.Unlock()
					delete(open, host)
				}
			})
		})
		time.Sleep(time.Second)
		expect("redis01", "redis02") // 20 is too far beyond.
		dns.set(false, "redis01", "redis02", "redis10", "redis18")
		time.Sleep(2*discoverEvery + time.Second)
		expect("redis01", "redis02", "redis10", "redis18")
		dns.set(true) // A DNS that fails says nothing about who is there.
		time.Sleep(10 * discoverEvery)
		expect("redis01", "redis02", "redis10", "redis18")
		dns.set(false, "redis02", "redis10", "redis18") // gone for a moment
		time.Sleep(discoverEvery)
		dns.set(false, "redis01", "redis02")
		time.Sleep((goneAfter + 2) * discoverEvery)
		expect("redis01", "redis02")
		cancel()
		discovering.Wait()
		expect()
	})
}
