package runner

import (
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/cpusteal"
)

// cpuSamples are readings of what the processors did, over span or a little more, the oldest first.
type cpuSamples []cpuSample

type cpuSample struct {
	at time.Time
	cpusteal.Reading
}

// add takes up a reading.
func (t cpuSamples) add(now time.Time, r cpusteal.Reading) cpuSamples {
	t = append(t, cpuSample{now, r})
	for len(t) > 2 && now.Sub(t[1].at) >= span {
		t = t[1:]
	}
	return t
}

// share is the part of the processors' time that was stolen over span; 0 while the readings do not go back that far.
func (t cpuSamples) share() float64 {
	if len(t) == 0 || t[len(t)-1].at.Sub(t[0].at) < span {
		return 0
	}
	return t[len(t)-1].Share(t[0].Reading)
}

// steal takes note of what the processors did, and, once something is broken, of the worst.
func (r *run) steal(now time.Time) {
	if n := len(r.cpuSamples); r.Processors == nil || n > 0 && now.Sub(r.cpuSamples[n-1].at) < tickEvery {
		return // a busy lab has news more often than a reading is worth
	}
	reading, err := r.Processors()
	if err != nil {
		return // a system that does not count it
	}
	r.cpuSamples = r.cpuSamples.add(now, reading)
	if len(r.journal.Faults) > 0 {
		r.journal.Stolen = max(r.journal.Stolen, r.cpuSamples.share())
	}
}

// withheld says for people how much was.
func withheld(share float64) string {
	return fmt.Sprintf("its host withheld %.0f %% of the time that it wanted", 100*share)
}
