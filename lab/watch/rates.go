package watch

import (
	"time"

	"github.com/swarmlab/swarmlab/lab/votes/datastore"
)

// ratesEvery is the least time over which rates are taken.
const ratesEvery = time.Second

// Rates is how votes were doing over about a second.
type Rates struct {
	At time.Time
	// Captured and Counted votes per second; -1 when nobody tells.
	Captured, Counted float64
	// Queued by frontend, the votes that wait there; one that does not tell is missing.
	Queued map[string]int64
}

// Unknown is how votes are doing where nobody tells.
func Unknown() Rates { return Rates{Captured: -1, Counted: -1} }

// Waiting is the votes that wait in all queues that tell; -1 when none does.
func (r Rates) Waiting() int64 {
	if len(r.Queued) == 0 {
		return -1
	}
	total := int64(0)
	for _, n := range r.Queued {
		total += n
	}
	return total
}

// Series is one number of many rates, in their order.
func Series(all []Rates, of func(Rates) float64) []float64 {
	series := make([]float64, len(all))
	for i, r := range all {
		series[i] = of(r)
	}
	return series
}

// Meter makes rates of what the queues tell, look after look. It is a value: its zero has not looked yet.
type Meter struct {
	at             time.Time
	captured, left map[string]int64
}

// Next takes in a look at the queues. It returns the meter for the next look and the rates since the one before; ok is false when that was
// less than a second ago, and nothing has changed then.
func (m Meter) Next(queues []datastore.Queue, now time.Time) (next Meter, rates Rates, ok bool) {
	took := now.Sub(m.at)
	if took < ratesEvery {
		return m, Rates{}, false
	}
	next = Meter{at: now, captured: map[string]int64{}, left: map[string]int64{}}
	rates = Unknown()
	rates.At, rates.Queued = now, map[string]int64{}
	captured, counted, known := int64(0), int64(0), false
	for _, q := range queues {
		if q.Err != nil {
			continue
		}
		rates.Queued[q.Node] = q.Waiting
		next.captured[q.Node], next.left[q.Node] = q.Waiting+q.Left, q.Left
		if before, again := m.captured[q.Node]; again {
			known = true
			captured += next.captured[q.Node] - before
			counted += q.Left - m.left[q.Node]
		}
	}
	if known { // a queue that was made anew counts from nothing
		rates.Captured, rates.Counted = max(float64(captured)/took.Seconds(), 0), max(float64(counted)/took.Seconds(), 0)
	}
	return next, rates, true
}
