// Package load casts votes as many browsers would, and keeps book of what it was promised.
//
// Each voter is a browser of its own: it has a cookie once a vote of theirs was acknowledged, changes its mind now and then, and votes again
// only when the vote before came to an end. A vote is tried under one and the same id until it is acknowledged, refused, or patience
// ends; then it is unknown: it may or may not have happened. A vote that was refused after a try that may have
// happened is unknown as well.
//
// In a closed loop each connection casts its next vote when the one before is over: the load is what the app can bear, and an outage
// hides in fewer votes. In an open loop votes are cast by the clock, as by people who know nothing of each other: the latency of a vote
// counts from the moment when it was due, so that a vote that had to wait for a connection counts with its wait (no coordinated
// omission).
//
// The package knows the app's HTTP surface only. What the book is for, and whether the promises were kept, is others' business.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

const (
	// tryTimeout bounds one try.
	tryTimeout = timescale.VoterTimeout
	// Pauses between tries grow from firstPause to maxPause, which also bounds what the app asks for.
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
	// progressEvery is how often progress is told.
	progressEvery = 500 * time.Millisecond
)

// Recorder is where votes are written down: before they are sent, and when their outcome is known. Times count from the start of Run. An error
// ends the load: no vote is sent that is not in the book.
type Recorder interface {
	Sent(v ledger.Voter, s ledger.Seq, choice byte, at time.Duration) error
	Answered(v ledger.Voter, s ledger.Seq, o ledger.Outcome, at time.Duration) error
}

var _ Recorder = (*ledger.Writer)(nil)

// Run casts the plan's votes under the ids of a run. When ctx ends no more votes are cast, and those on their way are brought to their end, within
// the plan's patience. progress, which may be nil, is called twice a second, and never after Run returned. The summary tells what was
// done also when there is an error, which is one of the plan or of the book: that votes fail is no error.
func Run(ctx context.Context, plan Plan, run ledger.RunID, book Recorder, progress func(Progress)) (Summary, error) {
	if err := plan.Validate(); err != nil {
		return Summary{}, fmt.Errorf("plan of a load: %w", err)
	}
	c := newClient(plan.URL, address(plan.URL))
	defer c.abort() // which closes nothing any more, but ends its context
	return cast(ctx, plan, run, book, progress, c)
}

// address of a URL that was found good.
func address(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// lines makes connections; abort ends the tries that are under way.
type lines interface {
	line() line
	abort()
}

// generator is a load under way.
type generator struct {
	plan  Plan
	run   ledger.RunID
	book  Recorder
	lines lines
	begun time.Time
	// stop ends the casting of more votes.
	stop    context.CancelCauseFunc
	aborted chan struct{}
	// arrivals counts the votes of an open loop that were given to a connection.
	arrivals atomic.Int64

	mu     sync.Mutex // guards the rest
	voters *voterPool
	back   *sync.Cond // somebody may vote again, or it is over
	tally  *tally
	// stopped is when no more votes were to be cast; 0: not yet.
	stopped time.Duration
}

func cast(ctx context.Context, plan Plan, run ledger.RunID, book Recorder, progress func(Progress), l lines) (Summary, error) {
	c := &generator{
		plan: plan, run: run, book: book, lines: l, begun: time.Now(), aborted: make(chan struct{}),
		voters: newVoterPool(plan), tally: newTally(),
	}
	c.back = sync.NewCond(&c.mu)
	ctx, c.stop = context.WithCancelCause(ctx)
	defer c.stop(nil)
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped = c.now()
		c.back.Broadcast()
	})()

	var others, connections sync.WaitGroup
	ended := make(chan struct{})
	others.Go(func() { c.watchAbort(ended) })
	if progress != nil {
		others.Go(func() { c.report(progress, ended) })
	}
	for range plan.Concurrency {
		connections.Go(func() { c.connection(ctx) })
	}
	connections.Wait()
	close(ended)
	others.Wait()

	elapsed := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	summary := c.tally.summary(run, elapsed, c.overdue(elapsed))
	err := context.Cause(ctx)
	var failed *recorderError
	if errors.As(err, &failed) {
		return summary, failed
	}
	return summary, nil
}

// recorderError ends a load.
type recorderError struct{ error }

func (e *recorderError) Unwrap() error { return e.error }

// now is the time of the book.
func (c *generator) now() time.Duration { return time.Since(c.begun) }

// watchAbort makes an abort of the plan one of all that waits.
func (c *generator) watchAbort(ended <-chan struct{}) {
	select {
	case <-c.plan.Abort:
		c.stop(nil)
		close(c.aborted)
		c.lines.abort()
	case <-ended:
	}
}

func (c *generator) report(progress func(Progress), ended <-chan struct{}) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		now := c.now()
		c.mu.Lock()
		p := c.tally.progress(now)
		p.Planned, p.Overdue = c.plan.Votes, c.overdue(now)
		c.mu.Unlock()
		progress(p)
	}
}

// overdue is how many votes of an open loop were due by now, or when it was stopped, and did not get a connection.
func (c *generator) overdue(now time.Duration) int64 {
	if c.plan.Rate == 0 {
		return 0
	}
	if c.stopped > 0 {
		now = c.stopped
	}
	due := int64(now.Seconds()*c.plan.Rate) + 1
	if c.plan.Votes > 0 {
		due = min(due, c.plan.Votes)
	}
	return max(0, due-c.arrivals.Load())
}

// connection casts vote after vote until ctx ends.
func (c *generator) connection(ctx context.Context) {
	l := c.lines.line()
	defer l.close()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, maxPause
	for {
		due, ok := c.await(ctx.Done())
		if !ok {
			return
		}
		b, ok := c.draw(ctx)
		if !ok {
			return
		}
		pause.Reset()
		if err := c.vote(l, &b, due, pause); err != nil {
			c.stop(&recorderError{err})
			return
		}
	}
}

// await returns when the next vote is due, and the moment at which it was.
func (c *generator) await(stopping <-chan struct{}) (due time.Duration, ok bool) {
	if c.plan.Rate == 0 {
		return c.now(), sleep(0, stopping)
	}
	n := c.arrivals.Add(1) - 1
	if c.plan.Votes > 0 && n >= c.plan.Votes {
		return 0, false
	}
	due = time.Duration(float64(n) / c.plan.Rate * float64(time.Second))
	if !sleep(due-c.now(), stopping) {
		c.arrivals.Add(-1)
		return 0, false
	}
	return due, true
}

// sleep is false if it was woken by done.
func sleep(d time.Duration, done <-chan struct{}) bool {
	if d <= 0 {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

func (c *generator) draw(ctx context.Context) (ballot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ctx.Err() == nil {
		b, turn, err := c.voters.draw()
		if err != nil {
			c.stop(&recorderError{err})
			return b, false
		}
		switch turn {
		case voteNow:
			c.tally.begin(&b)
			return b, true
		case allDrawn:
			c.back.Broadcast() // Nobody need wait for their turn.
			return b, false
		case waitForVoter:
			c.back.Wait()
		}
	}
	return ballot{}, false
}

// vote brings one vote to its end. Its errors are those of the book.
func (c *generator) vote(l line, b *ballot, due time.Duration, pause backoff.BackOff) error {
	begun := c.now()
	if err := c.book.Sent(b.voter, b.seq, b.choice, begun); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tally.cancel(b)
		return err
	}
	id := c.run.VoteID(b.voter, b.seq)
	end := begun + c.plan.Patience
	outcome := ledger.Outcome{Kind: ledger.Unknown}
	var a answer
	mayHaveHappened := false
	tries := 0
	for at := begun; ; at = c.now() {
		tries++
		l.try(b, id, c.begun.Add(min(end, at+tryTimeout)), &a)
		if a.verdict != taken {
			c.failed(&a)
		}
		if a.verdict == taken {
			outcome = ledger.Outcome{Kind: ledger.Acknowledged, VoterID: a.voterID, Order: a.order}
			break
		}
		if a.verdict == rejected {
			if !mayHaveHappened {
				outcome.Kind = ledger.Refused
			}
			break
		}
		mayHaveHappened = mayHaveHappened || a.verdict == unsure
		wait := max(pause.NextBackOff(), min(a.pause, maxPause))
		if c.now()+wait >= end || !sleep(wait, c.aborted) {
			break
		}
	}
	now := c.now()
	c.mu.Lock()
	outcome.ServedBy = c.tally.end(b, &outcome, &a, tries, now, now-due)
	c.mu.Unlock()
	err := c.book.Answered(b.voter, b.seq, outcome, now)
	c.mu.Lock()
	c.voters.done(*b, &a)
	c.back.Signal()
	c.mu.Unlock()
	return err
}

func (c *generator) failed(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.failed++
	c.tally.troubles[a.trouble]++
}
