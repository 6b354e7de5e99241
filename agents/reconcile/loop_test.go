package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/agents/engine"
)

// bench is a loop on strings: a node that shall have containers running, and an Apply that the test decides on.
type bench struct {
	loop  *Loop
	apply func(ctx context.Context, step Step, attempt int) error

	mu       sync.Mutex
	observed Observed
	desired  Desired
	faults   map[string]string
	status   Status
	applied  []string
	at       []time.Time
}

func newBench(desired Desired, observed Observed) *bench {
	b := &bench{desired: desired, observed: observed}
	b.loop = &Loop{
		Desired: func() Desired {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.desired
		},
		Observe: func(context.Context, Desired) Observed {
			b.mu.Lock()
			defer b.mu.Unlock()
			o := b.observed
			o.Containers = map[string]engine.Container{}
			for name, c := range b.observed.Containers {
				o.Containers[name] = c
			}
			return o
		},
		Faults: func(Desired) map[string]string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return maps.Clone(b.faults)
		},
		Apply: func(ctx context.Context, step Step, attempt int) error {
			b.mu.Lock()
			b.applied = append(b.applied, step.String())
			b.at = append(b.at, time.Now())
			b.mu.Unlock()
			return b.apply(ctx, step, attempt)
		},
		Publish: func(s Status) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.status = s
		},
		Done:   func(Outcome) {},
		Resync: func() {},
		Log:    slog.New(slog.DiscardHandler),
	}
	return b
}

// does brings about what a step is for.
func (b *bench) does(step Step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch step.Kind {
	case CreateContainer:
		b.observed.Containers[step.Subject] = made(*step.Container, engine.StateCreated)
	case StartContainer:
		b.observed.Containers[step.Subject] = made(*step.Container, engine.StateRunning)
	}
}

func (b *bench) now() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *bench) log() ([]string, []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.applied), slices.Clone(b.at)
}

// run starts the loop in a bubble and ends it with the test.
func (b *bench) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A fault that is injected while the loop looks is known before its effect is mended.
func TestLoopLeavesAFaultAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := redis()
		b := newBench(worker(c), joined())
		b.observed.Containers[c.Spec.Name] = made(c, engine.StateRunning)
		b.apply = func(_ context.Context, step Step, _ int) error {
			b.does(step)
			return nil
		}
		observe := b.loop.Observe
		b.loop.Observe = func(ctx context.Context, desired Desired) Observed {
			b.mu.Lock()
			b.faults = map[string]string{c.Spec.Name: "the fault stop is in force"}
			b.observed.Containers[c.Spec.Name] = made(c, engine.StateExited)
			b.mu.Unlock()
			return observe(ctx, desired)
		}
		b.run(t)
		synctest.Wait()
		if applied, _ := b.log(); len(applied) > 0 {
			t.Errorf("it did %v to a container that a fault holds", applied)
		}
	})
}

func TestLoopConverges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis(), web()), joined())
		b.apply = func(_ context.Context, step Step, _ int) error {
			b.does(step)
			return nil
		}
		b.run(t)
		time.Sleep(time.Second)
		applied, _ := b.log()
		want := []string{"create redis01", "create frontend01", "start redis01", "start frontend01"}
		slices.Sort(applied[:2])
		slices.Sort(want[:2])
		if !slices.Equal(applied, want) {
			t.Errorf("did %v, want %v", applied, want)
		}
		if s := b.now(); len(s.Pending) != 0 || s.Reached != s.Desired.Stage {
			t.Errorf("pending %v, reached %v", s.Pending, s.Reached)
		}
		time.Sleep(10 * time.Minute)
		if again, _ := b.log(); len(again) != len(applied) {
			t.Errorf("a settled node was touched: %v", again[len(applied):])
		}
	})
}

func TestLoopRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis()), joined(made(redis(), engine.StateCreated)))
		broken := errors.New("network mynet not found")
		b.apply = func(_ context.Context, step Step, attempt int) error {
			if attempt < 6 {
				return broken
			}
			b.does(step)
			return nil
		}
		b.run(t)
		time.Sleep(300 * time.Millisecond)
		s := b.now()
		if len(s.Pending) != 1 || s.Pending[0].Reason != broken.Error() || s.Pending[0].Attempts == 0 || s.Pending[0].RetryAt.IsZero() {
			t.Errorf("pending %+v", s.Pending)
		}
		time.Sleep(time.Minute)
		applied, at := b.log()
		if len(applied) != 7 || len(b.now().Pending) != 0 {
			t.Fatalf("did %v, then pending %v", applied, b.now().Pending)
		}
		for i := 1; i < len(at); i++ {
			if pause := at[i].Sub(at[i-1]); pause < 100*time.Millisecond || pause > 4*time.Second {
				t.Errorf("pause %d was %v", i, pause)
			}
		}
	})
}

func TestLoopHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis()), joined(made(redis(), engine.StateCreated)))
		var away atomic.Bool
		b.apply = func(_ context.Context, step Step, _ int) error {
			if away.Load() {
				return errors.New("the manager is away")
			}
			b.does(step)
			return nil
		}
		away.Store(true)
		b.run(t)
		time.Sleep(time.Minute)
		away.Store(false)
		b.loop.Hurry()
		time.Sleep(100 * time.Millisecond)
		if s := b.now(); len(s.Pending) != 0 {
			t.Errorf("still pending: %+v", s.Pending)
		}
	})
}

func TestLoopOneStepPerObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis()), joined(made(redis(), engine.StateCreated)))
		b.apply = func(_ context.Context, step Step, _ int) error {
			time.Sleep(30 * time.Second) // an overlay that takes its time
			b.does(step)
			return nil
		}
		b.run(t)
		for range 100 {
			b.loop.Trigger()
			time.Sleep(200 * time.Millisecond)
		}
		if applied, _ := b.log(); len(applied) != 1 {
			t.Errorf("did %v at a time", applied)
		}
		if s := b.now(); len(s.Pending) != 1 || s.Pending[0].Reason != "under way" {
			t.Errorf("pending %+v", s.Pending)
		}
		time.Sleep(time.Minute)
		if s := b.now(); len(s.Pending) != 0 {
			t.Errorf("still pending: %+v", s.Pending)
		}
	})
}

// A container whose start works and that ends at once must not be started in a tight loop.
func TestLoopSlowsDownWhatDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis()), joined(made(redis(), engine.StateExited)))
		b.apply = func(context.Context, Step, int) error { return nil }
		b.run(t)
		time.Sleep(time.Minute)
		if applied, _ := b.log(); len(applied) < 15 || len(applied) > 40 {
			t.Errorf("%d starts in a minute", len(applied))
		}
	})
}

func TestLoopHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis()), joined(made(redis(), engine.StateCreated)))
		var held atomic.Bool
		held.Store(true)
		b.apply = func(ctx context.Context, step Step, _ int) error {
			if held.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			b.does(step)
			return nil
		}
		b.run(t)
		time.Sleep(time.Second)
		release, err := b.loop.Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before, _ := b.log()
		time.Sleep(time.Minute)
		if during, _ := b.log(); len(during) != len(before) {
			t.Errorf("held, it did %v", during[len(before):])
		}
		held.Store(false)
		release()
		release() // twice is once
		time.Sleep(time.Second)
		if s := b.now(); len(s.Pending) != 0 {
			t.Errorf("released, it left %+v", s.Pending)
		}
	})
}

func TestLoopHoldGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(worker(redis()), joined(made(redis(), engine.StateCreated)))
		b.apply = func(_ context.Context, step Step, _ int) error {
			time.Sleep(time.Minute) // deaf
			b.does(step)
			return nil
		}
		b.run(t)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.loop.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(5 * time.Minute)
		if s := b.now(); len(s.Pending) != 0 {
			t.Errorf("nobody holds it, and it left %+v", s.Pending)
		}
	})
}
