package clock

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	ms = time.Millisecond
	us = time.Microsecond
)

// noon is when all stories begin, by the reference's clock; the node's steady clock shows an hour then.
var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

const boot = time.Hour

// exchange begins at a time after noon; the question travels out, the answer back, and the reference thinks meanwhile.
func exchange(at, out, think, back time.Duration) Exchange {
	return Exchange{
		Sent: boot + at, Arrived: noon.Add(at + out), Answered: noon.Add(at + out + think), Received: boot + at + out + think + back,
	}
}

// instant is a moment after noon on a node whose wall clock is ahead of the reference's.
func instant(at, ahead time.Duration) Instant {
	return Instant{Wall: noon.Add(at + ahead), Steady: boot + at}
}

func TestReading(t *testing.T) {
	tests := map[string]struct {
		exchanges []Exchange
		at        Instant
		want      Reading
	}{
		"nothing is known": {at: instant(0, 0)},
		"the way out and back take the same time": {
			exchanges: []Exchange{exchange(0, 2*ms, 5*ms, 2*ms)}, at: instant(9*ms, 300*ms),
			want: Reading{Known: true, Offset: 300 * ms, Bound: 2 * ms, MeasuredAt: noon.Add(309 * ms)},
		},
		"behind": {
			exchanges: []Exchange{exchange(0, 2*ms, 0, 2*ms)}, at: instant(4*ms, -300*ms),
			want: Reading{Known: true, Offset: -300 * ms, Bound: 2 * ms, MeasuredAt: noon.Add(-296 * ms)},
		},
		"all of the time goes into the way out": {
			exchanges: []Exchange{exchange(0, 8*ms, 0, 0)}, at: instant(8*ms, 0),
			want: Reading{Known: true, Offset: -4 * ms, Bound: 4 * ms, MeasuredAt: noon.Add(8 * ms)},
		},
		"all of the time goes into the way back": {
			exchanges: []Exchange{exchange(0, 0, 0, 8*ms)}, at: instant(8*ms, 0),
			want: Reading{Known: true, Offset: 4 * ms, Bound: 4 * ms, MeasuredAt: noon.Add(8 * ms)},
		},
		"the shortest round trip counts": {
			exchanges: []Exchange{exchange(0, 40*ms, 0, 0), exchange(time.Second, ms, 0, ms), exchange(2*time.Second, 0, 0, 30*ms)},
			at:        instant(3*time.Second, 0),
			want:      Reading{Known: true, Bound: ms + 199800*time.Nanosecond, MeasuredAt: noon.Add(2030 * ms)},
		},
		"a long round trip counts if the short one is old": {
			exchanges: []Exchange{exchange(0, ms, 0, ms), exchange(22*time.Second, 2*ms, 0, 2*ms)},
			at:        instant(22004*ms, 0),
			want:      Reading{Known: true, Bound: 2 * ms, MeasuredAt: noon.Add(22004 * ms)},
		},
		"a step of the node's clock shows at once": {
			exchanges: []Exchange{exchange(0, ms, 0, ms)}, at: instant(2*ms, -2*time.Hour),
			want: Reading{Known: true, Offset: -2 * time.Hour, Bound: ms, MeasuredAt: noon.Add(2*ms - 2*time.Hour), Off: true},
		},
		"a step of the reference voids what was known": {
			exchanges: []Exchange{
				exchange(0, ms, 0, ms),
				{Sent: boot + 5*time.Second, Arrived: noon.Add(time.Minute), Answered: noon.Add(time.Minute), Received: boot + 5020*ms},
			},
			at:   Instant{Wall: noon.Add(time.Minute + 10*ms), Steady: boot + 5020*ms},
			want: Reading{Known: true, Bound: 10 * ms, MeasuredAt: noon.Add(time.Minute + 10*ms)},
		},
		"off by not quite enough to be sure": {
			exchanges: []Exchange{exchange(0, ms, 0, ms)}, at: instant(2*ms, -501*ms),
			want: Reading{Known: true, Offset: -501 * ms, Bound: ms, MeasuredAt: noon.Add(-499 * ms)},
		},
		"off for sure": {
			exchanges: []Exchange{exchange(0, ms, 0, ms)}, at: instant(2*ms, 501*ms+1),
			want: Reading{Known: true, Offset: 501*ms + 1, Bound: ms, MeasuredAt: noon.Add(503*ms + 1), Off: true},
		},
		"old": {
			exchanges: []Exchange{exchange(0, ms, 0, ms)}, at: instant(40*time.Second+2*ms, time.Second),
			want: Reading{Known: true, Offset: time.Second, Bound: 5 * ms, MeasuredAt: noon.Add(1002 * ms), Stale: true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var e Estimator
			for _, x := range test.exchanges {
				if err := e.Add(x); err != nil {
					t.Fatal(err)
				}
			}
			if got := e.At(test.at); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestImpossible(t *testing.T) {
	var e Estimator
	if err := e.Add(exchange(0, ms, 0, ms)); err != nil {
		t.Fatal(err)
	}
	before := e.At(instant(2*ms, 0))
	for name, x := range map[string]Exchange{
		"the reference thought longer than the whole took": exchange(0, 0, 5*ms, -ms),
		"the reference answered before it was asked":       exchange(0, 5*ms, -ms, 5*ms),
		"the answer came before the question":              exchange(0, 0, 0, -ms),
		"no timestamps":                                    {Sent: boot, Received: boot + ms, Answered: noon},
	} {
		if err := e.Add(x); !errors.Is(err, ErrImpossible) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := e.At(instant(2*ms, 0)); got != before {
		t.Errorf("they changed the estimate: %+v", got)
	}
}

// Whatever the ways take, and whichever clock is stepped when, the truth lies within the bound after each exchange.
func TestTruthIsWithinTheBound(t *testing.T) {
	const seed = 33
	random := rand.New(rand.NewPCG(seed, seed))
	some := func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }
	for range 200 {
		var e Estimator
		at, ahead, reference := time.Duration(0), some(time.Hour)-30*time.Minute, time.Duration(0)
		for range 30 {
			switch random.IntN(6) {
			case 0:
				ahead += some(time.Minute) - 30*time.Second
			case 1:
				// Small enough to hide in a bound would be a step that nobody can tell from a slow answer.
				reference += time.Minute
			}
			x := exchange(at, some(20*ms), some(ms), some(20*ms))
			x.Arrived, x.Answered = x.Arrived.Add(reference), x.Answered.Add(reference)
			if err := e.Add(x); err != nil {
				t.Fatal(err)
			}
			at = x.Received - boot + some(5*time.Second)
			got, truth := e.At(instant(at, reference+ahead)), ahead
			if (got.Offset - truth).Abs() > got.Bound {
				t.Fatalf("%v, but truly %v", got, truth)
			}
			if got.Bound > 21*ms {
				t.Fatalf("%v is more than half of any round trip and what adds up in five seconds", got.Bound)
			}
		}
		if len(e.samples) > window {
			t.Fatalf("%d samples are kept", len(e.samples))
		}
	}
}

func TestNoteworthy(t *testing.T) {
	quiet := Reading{Known: true, Offset: 5 * ms, Bound: 100 * us}
	coarse := Reading{Known: true, Offset: 5 * ms, Bound: 20 * ms}
	with := func(r Reading, change func(*Reading)) Reading {
		change(&r)
		return r
	}
	tests := map[string]struct {
		before, now Reading
		ago         time.Duration
		want        bool
	}{
		"nothing is known, still":   {ago: time.Hour},
		"the first":                 {now: quiet, want: true},
		"the same":                  {before: quiet, now: quiet, ago: 59 * time.Second},
		"the same, a minute later":  {before: quiet, now: quiet, ago: time.Minute, want: true},
		"a millisecond":             {before: quiet, now: with(quiet, func(r *Reading) { r.Offset += ms })},
		"more than a millisecond":   {before: quiet, now: with(quiet, func(r *Reading) { r.Offset -= ms + 1 }), want: true},
		"less than is certain":      {before: quiet, now: with(coarse, func(r *Reading) { r.Offset += 19 * ms })},
		"more than is uncertain":    {before: quiet, now: with(coarse, func(r *Reading) { r.Offset += 21 * ms }), want: true},
		"it became stale":           {before: quiet, now: with(quiet, func(r *Reading) { r.Stale = true }), want: true},
		"it became a thing to warn": {before: quiet, now: with(quiet, func(r *Reading) { r.Off = true }), want: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.now.Noteworthy(test.before, test.ago); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A thread that loses the processor between the two clocks reads them again.
func TestNowIsReadTogether(t *testing.T) {
	passed, reads := boot, 0
	steady := func() time.Duration { return passed }
	wall := func() time.Time {
		if reads++; reads == 1 {
			defer func() { passed += 30 * ms }()
		}
		return noon.Add(passed - boot)
	}
	if got, want := now(steady, wall), (Instant{Wall: noon.Add(30 * ms), Steady: boot + 30*ms}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if a, b := Now(), Now(); b.Steady < a.Steady {
		t.Errorf("%v, then %v", a, b)
	}
}
