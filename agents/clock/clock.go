// Package clock estimates how far a node's clock is from another's, the reference, from exchanges of four timestamps as NTP
// makes them (RFC 5905, section 8), and reads what chrony says about the node's clock.
//
// The exchanges are timed by a clock of the node that nobody steps; the offset is worked out anew whenever somebody looks, from
// what the node's wall clock shows then. So a step of the wall clock, be it amid an exchange, spoils nothing and shows at once.
//
// The package must not know how the timestamps travel, nor what the nodes are to each other.
package clock

import (
	"errors"
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

const (
	// window is how many exchanges are kept, as in RFC 5905's clock filter (section 10).
	window = 8
	// tolerance is by how much two clocks may part while nobody looks, in parts per million: twice what a bad quartz does. A clock
	// that chrony slews parts faster, up to 83,333; then the next exchange contradicts the older ones, which are dropped.
	tolerance = 100
	// OffBy is how far off a clock must be for people to be warned: votes and logs of two nodes then look out of order.
	OffBy = 500 * time.Millisecond
	// noteworthy is the smallest change of an offset that is told, and refresh how often it is told without a change.
	noteworthy = time.Millisecond
	refresh    = time.Minute
)

// StaleAfter is the age of the last exchange from which on its offset is only a memory.
var StaleAfter = timescale.Scale(30 * time.Second)

// Instant is a reading of a node's two clocks at one moment; see [Now].
type Instant struct {
	// Wall is what the node takes for the time of day. It may be stepped at any time.
	Wall time.Time
	// Steady is the time since some moment in the past, which no step changes. It counts while the node sleeps.
	Steady time.Duration
}

// Now reads the node's clocks.
func Now() Instant { return now(steady, time.Now) }

// now reads the two clocks together; again, a few times, if the thread lost the processor between the two.
func now(steady func() time.Duration, wall func() time.Time) Instant {
	const attempts, good = 5, 50 * time.Microsecond
	var best Instant
	var narrowest time.Duration
	for i := range attempts {
		before := steady()
		shown := wall()
		gap := steady() - before
		if i == 0 || gap < narrowest {
			best, narrowest = Instant{Wall: shown.Round(0), Steady: before + gap/2}, gap
		}
		if gap <= good {
			break
		}
	}
	return best
}

// Exchange is a question to the reference and its answer.
type Exchange struct {
	// Sent and Received are when the question left and the answer came, by the node's steady clock (t1, t4).
	Sent, Received time.Duration
	// Arrived and Answered are when the question came and the answer left, by the reference's wall clock (t2, t3).
	Arrived, Answered time.Time
}

// ErrImpossible is of an exchange that took longer for the reference than for the asker, or no time at all to be answered:
// the reference's clock was stepped meanwhile, or is none.
var ErrImpossible = errors.New("the timestamps contradict each other")

// sample says what the reference's clock showed at the steady time at: origin plus at, give or take bound.
type sample struct {
	origin time.Time
	at     time.Duration
	bound  time.Duration
}

// sample is RFC 5905's estimate. Its theta, ((t2-t1)+(t3-t4))/2, is the distance of the middles of the two intervals; the error
// is at most half of delta, (t4-t1)-(t3-t2), which is the time on the way: all of it may have been spent one way.
func (x Exchange) sample() (sample, error) {
	trip, held := x.Received-x.Sent, x.Answered.Sub(x.Arrived)
	if trip < 0 || held < 0 || held > trip {
		return sample{}, fmt.Errorf("%w: a round trip of %v, of which the answer took %v", ErrImpossible, trip, held)
	}
	middle := x.Sent + trip/2
	return sample{origin: x.Arrived.Round(0).Add(held / 2).Add(-middle), at: x.Received, bound: (trip - held) / 2}, nil
}

// boundAt is what is left of a sample's certainty at a later steady time.
func (s sample) boundAt(steady time.Duration) time.Duration {
	return s.bound + max(0, steady-s.at)/1e6*tolerance
}

// Estimator keeps the last few exchanges. Its zero value knows of none. It is not safe for concurrent use.
type Estimator struct {
	// samples, oldest first. None contradicts the last.
	samples []sample
}

// Add takes an exchange in, which must be later than those before. The error wraps [ErrImpossible] and leaves the estimate as it was.
func (e *Estimator) Add(x Exchange) error {
	s, err := x.sample()
	if err != nil {
		return err
	}
	kept := make([]sample, 0, window)
	for _, old := range e.samples[max(0, len(e.samples)-window+1):] {
		// A clock that was stepped or slewed meanwhile, here or there: what was known of it is void.
		if s.origin.Sub(old.origin).Abs() <= s.bound+old.boundAt(s.at) {
			kept = append(kept, old)
		}
	}
	e.samples = append(kept, s)
	return nil
}

// Reading is the offset of a node's clock at one moment.
type Reading struct {
	// Known is false, and everything else zero, before the first exchange.
	Known bool
	// Offset is the node's clock minus the reference's: positive when the node is ahead.
	Offset time.Duration
	// Bound is how far the true offset may be from Offset, at most, either way.
	Bound time.Duration
	// MeasuredAt is when the last exchange ended, by the node's present clock.
	MeasuredAt time.Time
	// Stale: that is longer ago than [StaleAfter].
	Stale bool
	// Off: the true offset is beyond [OffBy] for certain. A stale reading is certain of nothing.
	Off bool
}

// At returns the offset at a moment, by the exchange that is the least uncertain then: that with the shortest round trip, as long as
// it is young.
func (e *Estimator) At(now Instant) Reading {
	if len(e.samples) == 0 {
		return Reading{}
	}
	best := e.samples[0]
	for _, s := range e.samples[1:] {
		if s.boundAt(now.Steady) <= best.boundAt(now.Steady) {
			best = s
		}
	}
	age := now.Steady - e.samples[len(e.samples)-1].at
	r := Reading{
		Known: true, Offset: now.Wall.Sub(best.origin.Add(now.Steady)), Bound: best.boundAt(now.Steady),
		MeasuredAt: now.Wall.Add(-age), Stale: age > StaleAfter,
	}
	r.Off = !r.Stale && r.Offset.Abs()-r.Bound > OffBy
	return r
}

// Noteworthy reports whether r is worth telling to somebody who was told last of before, that long ago: it is another verdict, or
// an offset that differs by more than 1 ms and by more than is uncertain of it, or a minute has passed.
func (r Reading) Noteworthy(before Reading, ago time.Duration) bool {
	if r.Known != before.Known || r.Stale != before.Stale || r.Off != before.Off {
		return true
	}
	return r.Known && (ago >= refresh || (r.Offset-before.Offset).Abs() > max(noteworthy, r.Bound))
}
