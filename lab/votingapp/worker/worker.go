// Package worker moves votes from the frontends' queues to the store.
//
// Each queue is drained on its own, so that an empty or dead one delays no other. A batch is read, merged in one transaction and
// acknowledged only after the commit: whatever happens in between (the worker is killed, frozen, cut off; the outcome of the commit is
// unknown), the batch is delivered and merged again, to no effect. While one batch is merged, the next is fetched and the last one acknowledged.
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

	"github.com/swarmlab/swarmlab/agents/common/timescale"
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
	// Settle acknowledges entries: their votes are counted, the rest of them is dead.
	Settle(ctx context.Context, done []queue.Entry) error
	// State tells whether it is still the same queue. It may be called at any time.
	State(ctx context.Context) (queue.State, error)
	// Leave is called at the end.
	Leave(ctx context.Context) error
}

// Store counts votes, as [store.Store] does.
type Store interface {
	// Merge counts a batch durably and returns how many rows changed. It is idempotent.
	Merge(ctx context.Context, batch []vote.Vote) (int64, error)
	// Witness compares a queue with what was ever seen of it, and says what is missing if nobody said so before.
	Witness(ctx context.Context, queue string, look func(context.Context) (store.Sighting, error)) (store.Loss, error)
	// Migrate prepares the database.
	Migrate(ctx context.Context) (int, error)
}

// Lease is how long a worker may hold entries before others may claim them. It is longer than any merge takes, and short enough
// that nobody waits long for the votes of a worker that died.
var Lease = timescale.Scale(5 * time.Second)

// Batch is about how many votes go into a transaction. Below 10,000 each costs more (`make bench` has the figures); larger ones hardly raise the
// throughput, but take longer to redo.
const Batch = 20_000

const (
	block       = 500 * time.Millisecond // a worker that is stopped waits for its reads to end
	finishGrace = 5 * time.Second        // of Docker's ten seconds between SIGTERM and SIGKILL
	settleTries = 5
)

var (
	lull         = timescale.Scale(100 * time.Millisecond) // between two reads of a queue that has no full batch to give
	claimEvery   = Lease / 2
	witnessEvery = timescale.Scale(time.Second)
	mergeTimeout = timescale.Scale(10 * time.Second)
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
	d := &drain{
		Worker: w, queue: q, name: name, log: w.log.With("queue", name), m: w.metrics.of(name), suspect: make(chan struct{}, 1),
	}
	// Nothing is kept in the channels: at most three batches are in memory.
	batches, counted := make(chan []queue.Entry), make(chan []queue.Entry)
	var stages sync.WaitGroup
	stages.Go(func() { d.witness(ctx) })
	stages.Go(func() {
		defer close(counted)
		for batch := range batches {
			if d.count(finish, batch) {
				counted <- batch
			}
		}
	})
	stages.Go(func() {
		for batch := range counted {
			d.settle(finish, batch)
		}
	})
	d.fetch(ctx, finish, batches)
	close(batches)
	stages.Wait()
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
	// suspect asks for a look at the queue at once: it was away.
	suspect chan struct{}
}

// witness looks at the queue again and again until ctx ends: one that comes back without what it had acknowledged is never silent.
func (d *drain) witness(ctx context.Context) {
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, mergeTimeout)
		loss, err := d.store.Witness(attempt, d.name, func(ctx context.Context) (store.Sighting, error) {
			state, err := d.queue.State(ctx)
			return store.Sighting(state), err
		})
		cancel()
		if loss != store.LossNone {
			d.m.incidents.Inc()
			d.log.Error("redis came back without data that it had acknowledged: votes may be lost", "loss", string(loss))
		}
		if err != nil && ctx.Err() == nil {
			d.log.Debug("queue cannot be compared with what was seen of it", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.suspect:
		case <-tick.C:
		}
	}
}

func (d *drain) lookAgain() {
	select {
	case d.suspect <- struct{}{}:
	default:
	}
}

// fetch reads batches until ctx ends. A queue that is all but empty is read now and then only: a transaction costs Postgres as much for
// ten votes as for a hundred, and takes the processors from those who vote. A read in progress is not cut off: what Redis had given to it would have to wait for its lease
// to end.
func (d *drain) fetch(ctx, finish context.Context, batches chan<- []queue.Entry) {
	var (
		claimed = time.Now()
		next    time.Time // not before is there a read
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
			if len(entries) > 0 {
				n := votes(entries)
				d.m.claimed.Add(float64(n))
				d.log.Info("took over votes that another consumer did not finish", "entries", len(entries), "votes", n)
			}
		} else {
			rest(ctx, time.Until(next))
			entries, err = d.queue.Read(finish, block)
			if next = time.Now(); votes(entries) < Batch/2 {
				next = next.Add(lull)
			}
		}
		if len(entries) > 0 {
			d.m.read.Add(float64(votes(entries)))
			batches <- entries
		}
		if err == nil {
			d.m.up.Set(1)
			if after, ended := outage.end(); ended {
				d.log.Info("queue can be read again", "after", after)
				d.lookAgain()
			}
			pause.Reset()
			continue
		}
		more = false
		if errors.Is(err, queue.ErrWiped) {
			d.log.Warn("starting anew on the queue", "error", err)
			d.lookAgain()
			continue
		}
		d.m.up.Set(0)
		if outage.begin() {
			d.log.Warn("queue cannot be read; trying again", "error", err)
		}
		pause.wait(ctx)
	}
}

// votes is the number of votes of entries, readable or not.
func votes(entries []queue.Entry) int {
	n := 0
	for i := range entries {
		n += len(entries[i].Votes) + len(entries[i].Dead)
	}
	return n
}

// count merges the votes of one batch. It gives up only when ctx ends; the entries are then delivered again.
func (d *drain) count(ctx context.Context, batch []queue.Entry) bool {
	all := make([]vote.Vote, 0, votes(batch))
	for i := range batch {
		all = append(all, batch[i].Votes...)
	}
	rejected := map[vote.Vote]error{}
	if err := d.merge(ctx, all, rejected); err != nil {
		d.log.Warn("batch left for redelivery", "votes", len(all), "error", err)
		return false
	}
	if len(rejected) > 0 {
		for i := range batch {
			batch[i].Reject(rejected)
		}
	}
	return true
}

// merge merges votes, trying until the store takes them or ctx ends. Votes that the store will never take are rejected
// one by one, so that they do not hold up the others.
func (d *drain) merge(ctx context.Context, votes []vote.Vote, rejected map[vote.Vote]error) error {
	if len(votes) == 0 {
		return nil
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
			return nil
		case ctx.Err() != nil:
			return err
		case store.Rejected(err) && len(votes) == 1:
			rejected[votes[0]] = err
			return nil
		case store.Rejected(err):
			half := len(votes) / 2
			if err := d.merge(ctx, votes[:half], rejected); err != nil {
				return err
			}
			return d.merge(ctx, votes[half:], rejected)
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

// settle acknowledges a batch whose votes are counted. If that fails they are delivered again, to no effect.
func (d *drain) settle(ctx context.Context, batch []queue.Entry) {
	counted, dead := 0, 0
	for i := range batch {
		counted += len(batch[i].Votes)
		for _, l := range batch[i].Dead {
			if dead++; dead == 1 {
				d.log.Error("votes that cannot be counted go to the dead-letter stream", "first", batch[i].ID, "reason", l.Err)
			}
		}
	}
	pause := newPause(50*time.Millisecond, time.Second)
	for try := 1; ; try++ {
		err := d.queue.Settle(ctx, batch)
		if err == nil {
			break
		}
		if try == settleTries || ctx.Err() != nil {
			d.log.Warn("votes not acknowledged; they will be delivered again", "votes", counted+dead, "error", err)
			return
		}
		pause.wait(ctx)
	}
	d.m.counted.Add(float64(counted))
	d.m.dead.Add(float64(dead))
}

// pause is a growing wait between attempts, with jitter.
type pause struct{ *backoff.ExponentialBackOff }

func newPause(first, longest time.Duration) pause {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = first, longest
	b.Reset()
	return pause{b}
}

func (p pause) wait(ctx context.Context) { rest(ctx, p.NextBackOff()) }

// rest waits, or until ctx ends.
func rest(ctx context.Context, length time.Duration) {
	if length <= 0 {
		return
	}
	timer := time.NewTimer(length)
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
