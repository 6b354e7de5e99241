// Package results shows the result live.
//
//	GET /            the page: complete without JavaScript, live with it
//	GET /api/tally   {"a","b","total","as_of"}: no older than [MaxAge], or 503
//	GET /api/stream  server-sent events with all that the page shows
//	GET /healthz     200 while Postgres answers, else 503 with the reason
//	GET /metrics     Prometheus
//
// One poller reads the tally, and everybody is served from what it read: a thousand viewers cost Postgres the same as one. While Postgres
// is away, the last result stays on the page together with its age.
package results

import (
	"context"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
)

var (
	// MaxAge is how old a result may be that is served as the current one.
	MaxAge = timescale.Scale(250 * time.Millisecond)
	// staleAfter is the age from which on the page warns.
	staleAfter = timescale.Scale(2 * time.Second)
	// readTimeout bounds one read of the tally.
	readTimeout = timescale.Scale(time.Second)
)

// historySeconds is how much the chart shows.
const historySeconds = 60

// Source is the store, as [store.Store] is.
type Source interface {
	Tally(ctx context.Context) (store.Tally, error)
}

// snapshot is the result at a moment.
type snapshot struct {
	tally store.Tally
	// asOf is when the read of tally began, zero if there was none yet.
	asOf time.Time
	// tried is when the last read began, and err why it failed: nil if it is the one that gave tally.
	tried time.Time
	err   error
	// history holds the votes that took effect in each of the last seconds, the newest last.
	history []int64
}

func (s snapshot) age(now time.Time) time.Duration { return now.Sub(s.asOf) }

// poller reads the tally, never twice at the same time, and keeps its history.
type poller struct {
	source Source
	now    func() time.Time
	// turn is held by the one who reads. A channel, so that waiting for it can be given up.
	turn chan struct{}

	mu      sync.Mutex
	last    snapshot
	samples []sample
}

// sample is the number of merged votes at the end of a second.
type sample struct {
	second int64
	merged int64
}

func newPoller(source Source, now func() time.Time) *poller {
	return &poller{source: source, now: now, turn: make(chan struct{}, 1)}
}

// latest is the last result, however old.
func (p *poller) latest() snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// fresh gives a result that is at most maxAge old. Callers that come while one is being read share it, if that read began late
// enough. After a failed read it gives the last result together with the error.
func (p *poller) fresh(ctx context.Context, maxAge time.Duration) (snapshot, error) {
	wanted := p.now().Add(-maxAge)
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return p.latest(), ctx.Err()
	}
	// A failure is shared as a result is: while Postgres hangs, callers must not queue up for a timeout each.
	if last := p.latest(); !last.tried.Before(wanted) {
		return last, last.err
	}
	began := p.now()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	tally, err := p.source.Tally(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.tried, p.last.err = began, err
	if err != nil {
		return p.last, err
	}
	p.last.tally, p.last.asOf = tally, began
	p.remember(began, tally.Merged)
	return p.last, nil
}

// remember updates the history. Seconds without a reading (Postgres was away) count as idle; what came meanwhile is shown in the second in which it
// was seen.
func (p *poller) remember(at time.Time, merged int64) {
	second := at.Unix()
	switch n := len(p.samples); {
	case n > 0 && merged < p.samples[n-1].merged: // The database was emptied.
		p.samples = append(p.samples[:0], sample{second - 1, 0}, sample{second, merged})
	case n > 0 && p.samples[n-1].second >= second:
		p.samples[n-1].merged = merged
	case n == 0:
		// What was counted before this program started is not part of its first second.
		p.samples = append(p.samples, sample{second - 1, merged}, sample{second, merged})
	default:
		p.samples = append(p.samples, sample{second, merged})
	}
	// One sample more than is shown: the oldest second needs the count before it.
	for len(p.samples) > 2 && p.samples[1].second <= second-historySeconds {
		p.samples = p.samples[1:]
	}
	history := make([]int64, historySeconds)
	for i := 1; i < len(p.samples); i++ {
		if back := second - p.samples[i].second; back < historySeconds {
			history[historySeconds-1-back] = p.samples[i].merged - p.samples[i-1].merged
		}
	}
	p.last.history = history
}
