package controls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/results"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

// size is how many votes are cast in each control.
type size struct{ acknowledge, skew, kill, path int64 }

// A few hundred find each fault as surely as thousands do, which are left to TestManyVotes.
func TestControls(t *testing.T) {
	controls(t, size{acknowledge: 400, skew: 400, kill: 400, path: 1000})
}

func controls(t *testing.T, n size) {
	t.Helper()
	s := startServices(t)
	t.Run("acknowledge before commit", func(t *testing.T) { acknowledgeBeforeCommit(t, s, n.acknowledge) })
	t.Run("wall-clock order under skew", func(t *testing.T) { wallClockOrderUnderSkew(t, s, n.skew) })
	t.Run("Redis without persistence", func(t *testing.T) { redisWithoutPersistence(t, s, n.kill) })
	t.Run("the whole path", func(t *testing.T) { theWholePath(t, s, n.path) })
}

// hasty is the faulty queue of a worker that acknowledges what it was given at once, and not after the commit.
type hasty struct{ worker.Queue }

func (h hasty) Read(ctx context.Context, block time.Duration) ([]queue.Entry, error) {
	entries, err := h.Queue.Read(ctx, block)
	if len(entries) == 0 || err != nil {
		return entries, err
	}
	return entries, h.Queue.Settle(ctx, entries)
}

// Claim is as hasty. What the dead worker was given, and could not acknowledge any more, would never leave the queue otherwise.
func (h hasty) Claim(ctx context.Context) ([]queue.Entry, bool, error) {
	entries, more, err := h.Queue.Claim(ctx)
	if len(entries) == 0 || err != nil {
		return entries, more, err
	}
	return entries, more, h.Queue.Settle(ctx, entries)
}

func (hasty) Settle(context.Context, []queue.Entry) error { return nil }

// life is that of a worker which is killed in the worst moment: it has its votes, and has not begun to commit them. Nothing that it does
// afterwards has any effect.
type life struct {
	dead chan struct{}
	// merging counts the batches that it was about to commit.
	merging atomic.Int64
}

var errDead = errors.New("the worker is dead")

type mortalStore struct {
	worker.Store
	*life
}

func (m mortalStore) Merge(context.Context, []vote.Vote) (int64, error) {
	m.merging.Add(1)
	<-m.dead
	return 0, errDead
}

type mortalQueue struct {
	worker.Queue
	*life
}

func (m mortalQueue) alive() error {
	select {
	case <-m.dead:
		return errDead
	default:
		return nil
	}
}

func (m mortalQueue) Read(ctx context.Context, block time.Duration) ([]queue.Entry, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.Queue.Read(ctx, block)
}

func (m mortalQueue) Claim(ctx context.Context) ([]queue.Entry, bool, error) {
	if err := m.alive(); err != nil {
		return nil, false, err
	}
	return m.Queue.Claim(ctx)
}

func (m mortalQueue) Settle(ctx context.Context, done []queue.Entry) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Queue.Settle(ctx, done)
}

func (m mortalQueue) Leave(ctx context.Context) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Queue.Leave(ctx)
}

// dieMidBatch has a worker take votes from both queues and die before it commits any.
func (a *app) dieMidBatch(name string, from func(worker.Queue) worker.Queue) {
	a.t.Helper()
	l := &life{dead: make(chan struct{})}
	die := sync.OnceFunc(func() { close(l.dead) })
	a.t.Cleanup(die)
	stop := a.work(name, mortalStore{a.store, l}, func(q worker.Queue) worker.Queue { return from(mortalQueue{q, l}) })
	a.await("both queues' votes are about to be committed", func(context.Context) error {
		if n := l.merging.Load(); n < int64(len(a.frontends)) {
			return fmt.Errorf("only %d batches are", n)
		}
		return nil
	})
	die()
	stop()
}

// A worker that acknowledges before the commit, and dies in between.
func acknowledgeBeforeCommit(t *testing.T, s *services, votes int64) {
	t.Helper()
	run := func(t *testing.T, faulty func(worker.Queue) worker.Queue) checker.Report {
		a := start(t, s, [2]capture{})
		a.cast(votes, 0)()
		a.dieMidBatch("worker01", faulty)
		a.work("worker02", a.store, faulty)
		return a.judge()
	}
	t.Run("faulty", func(t *testing.T) {
		guilty(t, run(t, func(q worker.Queue) worker.Queue { return hasty{q} }), checker.Lost)
	})
	t.Run("real", func(t *testing.T) { innocent(t, run(t, honest)) })
}

// wallClock is the faulty queue of a frontend that orders votes by its own clock alone.
type wallClock struct {
	webvote.Appender
	now func() time.Time
}

func (w wallClock) Append(ctx context.Context, v vote.Vote) error {
	v.Order = vote.Next(w.now(), 0)
	return w.Appender.Append(ctx, v)
}

// Two frontends serve voters who change their minds. Their clocks are further apart than any run takes, however slow the machine is.
func wallClockOrderUnderSkew(t *testing.T, s *services, votes int64) {
	t.Helper()
	run := func(t *testing.T, faulty func(now func() time.Time) func(webvote.Appender) webvote.Appender) checker.Report {
		var captures [2]capture
		for i, skew := range []time.Duration{time.Hour, 0} {
			now := func() time.Time { return time.Now().Add(skew) }
			captures[i] = capture{now: now, queue: faulty(now)}
		}
		a := start(t, s, captures)
		a.work("worker01", a.store, honest)
		a.cast(votes, 0.7)()
		return a.judge()
	}
	t.Run("faulty", func(t *testing.T) {
		guilty(t, run(t, func(now func() time.Time) func(webvote.Appender) webvote.Appender {
			return func(q webvote.Appender) webvote.Appender { return wallClock{q, now} }
		}), checker.Stale)
	})
	t.Run("real", func(t *testing.T) {
		innocent(t, run(t, func(func() time.Time) func(webvote.Appender) webvote.Appender { return nil }))
	})
}

// A Redis is killed under votes while nobody counts.
func redisWithoutPersistence(t *testing.T, s *services, votes int64) {
	t.Helper()
	run := func(t *testing.T, faulty bool) checker.Report {
		a := start(t, s, [2]capture{})
		victim := a.frontends[0].redis
		client := victim.Client(t)
		if faulty {
			if err := client.ConfigSet(t.Context(), "appendonly", "no").Err(); err != nil {
				t.Fatal(err)
			}
		}
		finish := a.cast(votes, 0)
		// More votes than there are connections: most of them were acknowledged.
		const enough = 2 * connections
		a.await("votes wait at the victim", func(ctx context.Context) error {
			n, err := client.Get(ctx, contract.CapturedKey).Int()
			if err == nil && n < enough {
				err = fmt.Errorf("only %d do", n)
			}
			return err
		})
		victim.Kill(t)
		victim.Restart(t)
		finish()
		a.work("worker01", a.store, honest)
		return a.judge()
	}
	t.Run("faulty", func(t *testing.T) { guilty(t, run(t, true), checker.Lost) })
	t.Run("real", func(t *testing.T) { innocent(t, run(t, false)) })
}

// The real app, with all of that at once and more: a worker dies with votes in its hands, two others share the queues, a Redis and Postgres
// crash under votes, and the results page says what the judge counted.
func theWholePath(t *testing.T, s *services, votes int64) {
	t.Helper()
	a := start(t, s, [2]capture{})
	finish := a.cast(votes, 0.6)
	a.dieMidBatch("worker01", honest)
	a.work("worker02", a.store, honest)
	a.work("worker03", a.store, honest)
	a.frontends[1].redis.Kill(t)
	a.frontends[1].redis.Restart(t)
	a.postgres.Kill(t)
	a.postgres.Restart(t)
	finish()
	report := a.judge()
	innocent(t, report)

	page, err := results.New(results.Config{OptionA: "Cats", OptionB: "Dogs", ServedBy: "results-app"}, a.store,
		prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/api/tally", nil))
	var shown struct{ A, B, Total int64 }
	if err := json.Unmarshal(answer.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.A != report.Tally.A || shown.B != report.Tally.B || shown.Total != report.Rows {
		t.Errorf("the results page says %+v, the judge %+v of %d", shown, report.Tally, report.Rows)
	}
}
