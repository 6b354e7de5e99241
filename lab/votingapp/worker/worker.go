// Package worker moves votes from the frontends' queues to the store.
//
// Each queue is drained on its own, so that an empty or dead one delays no other. A batch is read, merged in one transaction and
// acknowledged only after the commit: whatever happens in between (the worker is killed, frozen, cut off; the outcome of the commit is
// unknown), the batch is delivered and merged again, to no effect. While one batch is merged, the next is fetched.
//
// The package decides what to do and when; how it is done in Redis and Postgres stands in packages queue and store.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// Queue is one frontend's queue, as [queue.Reader] is.
type Queue interface {
	// Read waits up to block for new entries; none is no error.
	Read(ctx context.Context, block time.Duration) ([]queue.Entry, error)
	// Claim takes over entries whose consumer let its lease run out; more asks to be called again.
	Claim(ctx context.Context) (claimed []queue.Entry, more bool, err error)
	// Settle acknowledges entries: counted, or dead for the reason in their Err.
	Settle(ctx context.Context, counted, dead []queue.Entry) error
	// Leave is called at the end.
	Leave(ctx context.Context) error
}

// Store counts votes, as [store.Store] does.
type Store interface {
	// Merge counts a batch durably and returns how many rows changed. It is idempotent.
	Merge(ctx context.Context, batch []vote.Vote) (int64, error)
	// Migrate prepares the database.
	Migrate(ctx context.Context) (int, error)
}

// Lease is how long a worker may hold entries before others may claim them. It is longer than any merge takes, and short enough
// that nobody waits long for the votes of a worker that died.
const Lease = 5 * time.Second

const (
	block        = 500 * time.Millisecond // a worker that is stopped waits for its reads to end
	claimEvery   = Lease / 2
	mergeTimeout = 10 * time.Second
	finishGrace  = 5 * time.Second // of Docker's ten seconds between SIGTERM and SIGKILL
	settleTries  = 5
)

// Worker drains queues into a store.
type Worker struct {
	store   Store
	metrics *Metrics
	log     *slog.Logger
}

// New makes a worker.
func New(store Store, metrics *Metrics, log *slog.Logger) *Worker {
	return &Worker{store: store, metrics: metrics, log: log}
}

// Drain drains one queue until ctx ends, then finishes what was read, as far as the store allows within a few seconds. name is for people.
func (w *Worker) Drain(ctx context.Context, name string, q Queue) {
	finish, cancel := graced(ctx, finishGrace)
	defer cancel()
	d := &drain{Worker: w, queue: q, name: name, log: w.log.With("queue", name), m: w.metrics.of(name)}
	batches := make(chan []queue.Entry)
	var counting sync.WaitGroup
	counting.Go(func() {
		for batch := range batches {
			d.count(finish, batch)
		}
	})
	d.fetch(ctx, finish, batches)
	close(batches)
	counting.Wait()
	if err := q.Leave(finish); err != nil {
		d.log.Debug("consumer stays on the group's list", "error", err)
	}
}

// graced gives a context that ends some time after ctx does.
func graced(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}

// drain is the draining of one queue.
type drain struct {
	*Worker
	queue Queue
	name  string
	log   *slog.Logger
	m     queueMetrics
}

// fetch reads batches until ctx ends. A read in progress is not cut off: what Redis had given to it would have to wait for its lease
// to end.
func (d *drain) fetch(ctx, finish context.Context, batches chan<- []queue.Entry) {
	var (
		claimed = time.Now()
		more    bool
		pause   = newPause(100*time.Millisecond, 2*time.Second)
		outage  outage
	)
	for ctx.Err() == nil {
		var (
			entries []queue.Entry
			err     error
		)
		if more || time.Since(claimed) > claimEvery {
			claimed = time.Now()
			entries, more, err = d.queue.Claim(finish)
			d.m.claimed.Add(float64(len(entries)))
			if len(entries) > 0 {
				d.log.Info("took over entries that another consumer did not finish", "entries", len(entries))
			}
		} else {
			entries, err = d.queue.Read(finish, block)
		}
		if len(entries) > 0 {
			d.m.read.Add(float64(len(entries)))
			batches <- entries
		}
		if err == nil {
			d.m.up.Set(1)
			if after, ended := outage.end(); ended {
				d.log.Info("queue can be read again", "after", after)
			}
			pause.Reset()
			continue
		}
		more = false
		if errors.Is(err, queue.ErrWiped) {
			d.m.wiped.Inc()
			d.log.Error("acknowledged votes may be lost", "error", err)
			continue
		}
		d.m.up.Set(0)
		if outage.begin() {
			d.log.Warn("queue cannot be read; trying again", "error", err)
		}
		pause.wait(ctx)
	}
}

// count brings one batch to its end: merged, acknowledged. It gives up only when ctx ends; the entries are then delivered again.
func (d *drain) count(ctx context.Context, batch []queue.Entry) {
	counted := make([]queue.Entry, 0, len(batch))
	var dead []queue.Entry
	for _, e := range batch {
		if e.Err != nil {
			dead = append(dead, e)
		} else {
			counted = append(counted, e)
		}
	}
	counted, rejected, err := d.merge(ctx, counted)
	if err != nil {
		d.log.Warn("batch left for redelivery", "entries", len(batch), "error", err)
		return
	}
	dead = append(dead, rejected...)
	if len(dead) > 0 {
		d.log.Error("entries that cannot be counted go to the dead-letter stream",
			"entries", len(dead), "first", dead[0].ID, "reason", dead[0].Err)
	}
	if err := d.settle(ctx, counted, dead); err != nil {
		// They are counted already; delivered again, they have no effect.
		d.log.Warn("entries not acknowledged; they will be delivered again", "entries", len(batch), "error", err)
		return
	}
	d.m.counted.Add(float64(len(counted)))
	d.m.dead.Add(float64(len(dead)))
}

// merge merges the votes of entries, trying until the store takes them or ctx ends. Entries that the store will never take are rejected
// one by one, so that they do not hold up the others.
func (d *drain) merge(ctx context.Context, entries []queue.Entry) (merged, rejected []queue.Entry, err error) {
	if len(entries) == 0 {
		return nil, nil, nil
	}
	votes := make([]vote.Vote, len(entries))
	for i, e := range entries {
		votes[i] = e.Vote
	}
	var (
		pause  = newPause(50*time.Millisecond, time.Second)
		outage outage
	)
	for {
		err := d.try(ctx, votes)
		switch {
		case err == nil:
			if after, ended := outage.end(); ended {
				d.log.Info("votes can be counted again", "after", after)
			}
			return entries, nil, nil
		case ctx.Err() != nil:
			return nil, nil, err
		case store.Rejected(err) && len(entries) == 1:
			entries[0].Err = err
			return nil, entries, nil
		case store.Rejected(err):
			return d.halves(ctx, entries)
		case store.Unprepared(err):
			if _, err := d.store.Migrate(ctx); err != nil {
				d.log.Error("database cannot be prepared", "error", err)
			}
		}
		if outage.begin() {
			d.log.Warn("votes cannot be counted; trying again", "error", err)
		}
		pause.wait(ctx)
	}
}

func (d *drain) halves(ctx context.Context, entries []queue.Entry) (merged, rejected []queue.Entry, err error) {
	for _, half := range [][]queue.Entry{entries[:len(entries)/2], entries[len(entries)/2:]} {
		m, r, err := d.merge(ctx, half)
		if err != nil {
			return nil, nil, err
		}
		merged, rejected = append(merged, m...), append(rejected, r...)
	}
	return merged, rejected, nil
}

func (d *drain) try(ctx context.Context, votes []vote.Vote) error {
	ctx, cancel := context.WithTimeout(ctx, mergeTimeout)
	defer cancel()
	began := time.Now()
	changed, err := d.store.Merge(ctx, votes)
	if err != nil {
		d.metrics.mergeErrors.Inc()
		return err
	}
	d.metrics.mergeSeconds.Observe(time.Since(began).Seconds())
	d.metrics.batchVotes.Observe(float64(len(votes)))
	d.m.changed.Add(float64(changed))
	return nil
}

func (d *drain) settle(ctx context.Context, counted, dead []queue.Entry) error {
	pause := newPause(50*time.Millisecond, time.Second)
	for try := 1; ; try++ {
		err := d.queue.Settle(ctx, counted, dead)
		if err == nil || try == settleTries || ctx.Err() != nil {
			return err
		}
		pause.wait(ctx)
	}
}

// pause is a growing wait between attempts, with jitter.
type pause struct{ *backoff.ExponentialBackOff }

func newPause(first, longest time.Duration) pause {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = first, longest
	b.Reset()
	return pause{b}
}

func (p pause) wait(ctx context.Context) {
	timer := time.NewTimer(p.NextBackOff())
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// outage remembers since when something fails, so that the log has one line for its beginning and one for its end.
type outage struct{ since time.Time }

func (o *outage) begin() bool {
	if !o.since.IsZero() {
		return false
	}
	o.since = time.Now()
	return true
}

func (o *outage) end() (time.Duration, bool) {
	if o.since.IsZero() {
		return 0, false
	}
	after := time.Since(o.since).Round(time.Millisecond)
	o.since = time.Time{}
	return after, true
}
