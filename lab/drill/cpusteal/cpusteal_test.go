package cpusteal_test

import (
	"errors"
	"math"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/cpusteal"
)

func TestShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after cpusteal.Reading
		want          float64
	}{
		{cpusteal.Reading{}, cpusteal.Reading{}, 0},
		{cpusteal.Reading{Busy: 10}, cpusteal.Reading{Busy: 14}, 0},
		{cpusteal.Reading{Busy: 10, Stolen: 5}, cpusteal.Reading{Busy: 13, Stolen: 6}, 0.25},
		{cpusteal.Reading{Busy: 10, Stolen: 5}, cpusteal.Reading{Busy: 10, Stolen: 6}, 1},
		// Linux does not promise that its counters never go back a little.
		{cpusteal.Reading{Busy: 10, Stolen: 5}, cpusteal.Reading{Busy: 9, Stolen: 4}, 0},
		{cpusteal.Reading{Busy: 10, Stolen: 5}, cpusteal.Reading{Busy: 9, Stolen: 6}, 1},
	} {
		if got := c.after.Share(c.before); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v since %+v: %g, want %g", c.after, c.before, got, c.want)
		}
	}
}

// Half of the time is stolen for a second, and nothing before and after.
func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r cpusteal.Reading
		var broken error
		clock := cpusteal.NewClock(func() (cpusteal.Reading, error) { return r, broken })
		for _, step := range []struct {
			passes       time.Duration
			busy, stolen float64
			err          error
			want, lost   time.Duration
		}{
			{time.Second, 2, 0, nil, time.Second, 0},
			{time.Second, 1, 1, nil, 1500 * time.Millisecond, 500 * time.Millisecond},
			{time.Second, 0, 0, nil, 2500 * time.Millisecond, 500 * time.Millisecond},
			{time.Second, 0, 0, errors.New("no such file"), 3500 * time.Millisecond, 500 * time.Millisecond},
		} {
			time.Sleep(step.passes)
			r.Busy, r.Stolen, broken = r.Busy+step.busy, r.Stolen+step.stolen, step.err
			if got := clock.Elapsed(); got != step.want || clock.Lost() != step.lost {
				t.Errorf("elapsed %s, lost %s; want %s and %s", got, clock.Lost(), step.want, step.lost)
			}
		}
	})
}

// The real counters grow with what is done.
func TestRead(t *testing.T) {
	t.Parallel()
	before, err := cpusteal.Read()
	if _, missing := os.Stat("/proc/stat"); missing != nil {
		if err == nil {
			t.Errorf("read %+v from nowhere", before)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Minute)
	for after := before; after.Busy <= before.Busy; {
		if time.Now().After(end) {
			t.Fatalf("a minute of work does not show in %+v", after)
		}
		if after, err = cpusteal.Read(); err != nil {
			t.Fatal(err)
		}
	}
}
