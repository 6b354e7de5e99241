package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/clock"
)

// clockBench is a node with a clock of its own and a manager with another, in a bubble of synctest.
type clockBench struct {
	agentv1.AgentServiceClient
	watch *clockWatch

	mu sync.Mutex
	// kept is what keeps the node's clock.
	kept ClockKeeper
	// ahead is by how much the node's clock is ahead of the manager's.
	ahead time.Duration
	// away: the manager does not answer; hangs: it does not even refuse.
	away, hangs bool
	asked       int
	refreshes   int
	told        []string
}

func newClockBench() *clockBench {
	b := &clockBench{kept: ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_NONE}}
	begin := time.Now()
	b.watch = &clockWatch{
		nodes: []*rolev1.Node{{Name: "manager", Address: "192.168.33.11"}},
		keeper: func(context.Context) (kept ClockKeeper) {
			b.set(func() { kept = b.kept })
			return kept
		},
		now: func() (at clock.Instant) {
			b.set(func() { at = clock.Instant{Wall: time.Now().Add(b.ahead), Steady: time.Since(begin)} })
			return at
		},
		refresh: func() { b.set(func() { b.refreshes++ }) },
		notify:  func(action, message string) { b.set(func() { b.told = append(b.told, action+": "+message) }) },
	}
	return b
}

func (b *clockBench) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// Clock answers as the manager's agent does, 2 ms away.
func (b *clockBench) Clock(ctx context.Context, _ *agentv1.ClockRequest, _ ...grpc.CallOption) (*agentv1.ClockResponse, error) {
	var away, hangs bool
	b.set(func() {
		b.asked++
		away, hangs = b.away, b.hangs
	})
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(2 * time.Millisecond)
	if away {
		return nil, status.Error(codes.Unavailable, "it is away")
	}
	at := timestamppb.Now()
	time.Sleep(2 * time.Millisecond)
	return &agentv1.ClockResponse{ArrivedAt: at, AnsweredAt: at}, nil
}

// run lets a story happen while the watch runs; steps of it look at the bench only while everybody waits.
func (b *clockBench) run(t *testing.T, story func(after func(time.Duration) *agentv1.ClockStatus)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.watch.run(ctx, b) }()
	story(func(d time.Duration) *agentv1.ClockStatus {
		time.Sleep(d)
		synctest.Wait()
		return b.watch.status()
	})
	cancelled := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(cancelled) > 10*time.Millisecond {
		t.Errorf("it ended with %v, %v late", err, time.Since(cancelled))
	}
}

func TestClockIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBench()
		b.ahead, b.away = 300*time.Millisecond, true
		b.run(t, func(after func(time.Duration) *agentv1.ClockStatus) {
			if s := after(10 * time.Second); s.GetOffset() != nil || s.GetMeasuredAt() != nil || s.GetStale() || b.asked < 9 || b.asked > 13 {
				t.Errorf("before the first answer, asked %d times: %v", b.asked, s)
			}
			b.set(func() { b.away = false })
			s := after(2 * time.Second)
			if s.GetOffset().AsDuration() != b.ahead || s.GetBound().AsDuration() < 2*time.Millisecond ||
				s.GetBound().AsDuration() > 3*time.Millisecond || s.GetOff() || s.GetStale() || s.GetReference() {
				t.Errorf("after it: %v", s)
			}
			b.set(func() { b.asked = 0 })
			if after(100 * time.Second); b.asked < 16 || b.asked > 25 {
				t.Errorf("asked %d times in 100 s", b.asked)
			}
		})
	})
}

func TestClockIsNotToldForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBench()
		b.run(t, func(after func(time.Duration) *agentv1.ClockStatus) {
			after(time.Second)
			b.set(func() { b.refreshes = 0 })
			if after(10 * time.Minute); b.refreshes < 9 || b.refreshes > 10 {
				t.Errorf("told %d times in 10 minutes in which nothing happened", b.refreshes)
			}
			b.set(func() { b.refreshes = 0 })
			b.set(func() { b.ahead = 40 * time.Millisecond })
			if after(10 * time.Second); b.refreshes < 1 || b.refreshes > 2 {
				t.Errorf("told %d times of one change", b.refreshes)
			}
			if len(b.told) > 0 {
				t.Errorf("events: %q", b.told)
			}
		})
	})
}

func TestClockGrowsStale(t *testing.T) {
	for name, trouble := range map[string]func(b *clockBench, now bool){
		"it refuses": func(b *clockBench, now bool) { b.set(func() { b.away = now }) },
		"it hangs":   func(b *clockBench, now bool) { b.set(func() { b.hangs = now }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newClockBench()
				b.run(t, func(after func(time.Duration) *agentv1.ClockStatus) {
					after(7 * time.Second)
					trouble(b, true)
					if s := after(24 * time.Second); s.GetStale() {
						t.Errorf("too early: %v", s)
					}
					b.set(func() { b.refreshes = 0 })
					s := after(16 * time.Second)
					age := b.watch.now().Wall.Sub(s.GetMeasuredAt().AsTime())
					if !s.GetStale() || age < 34*time.Second || age > 47*time.Second || s.GetOffset() == nil || b.refreshes != 1 {
						t.Errorf("%v old, told %d times: %v", age, b.refreshes, s)
					}
					trouble(b, false)
					if s := after(9 * time.Second); s.GetStale() || b.refreshes != 2 {
						t.Errorf("it is back, told %d times: %v", b.refreshes, s)
					}
				})
			})
		})
	}
}

func TestClockThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBench()
		b.run(t, func(after func(time.Duration) *agentv1.ClockStatus) {
			after(7 * time.Second)
			b.set(func() { b.ahead = -1200 * time.Millisecond })
			if s := after(0); !s.GetOff() || s.GetOffset().AsDuration() != b.ahead {
				t.Errorf("a step does not show at once: %v", s)
			}
			after(7 * time.Second)
			// A manager that goes away meanwhile is no proof that the clock is right.
			b.set(func() { b.away = true })
			after(time.Minute)
			b.set(func() { b.away = false })
			after(7 * time.Second)
			b.set(func() { b.ahead = 0 })
			after(7 * time.Second)
			want := []string{
				"off: the node's clock is -1.2 s from the manager's", "right: the node's clock is +0.0 ms from the manager's",
			}
			if !slices.Equal(b.told, want) {
				t.Errorf("told %q", b.told)
			}
		})
	})
}

func TestClockOfTheManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBench()
		b.watch.reference = true
		b.run(t, func(after func(time.Duration) *agentv1.ClockStatus) {
			s := after(time.Minute)
			if !s.GetReference() || s.GetOffset() == nil || s.GetOffset().AsDuration() != 0 || s.GetStale() || b.asked != 0 {
				t.Errorf("asked itself %d times: %v", b.asked, s)
			}
		})
	})
}

func TestClockKeeper(t *testing.T) {
	chrony := func(source string, err error) ClockKeeper {
		return ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_CHRONY, Tracking: clock.Tracking{Source: source}, Err: err}
	}
	for _, test := range []struct {
		kept         ClockKeeper
		source, want string
	}{
		{ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_HOST}, "CLOCK_SOURCE_HOST", ""},
		{chrony("192.168.33.11", nil), "CLOCK_SOURCE_CHRONY", "manager"},
		{chrony("192.0.2.7", nil), "CLOCK_SOURCE_CHRONY", "192.0.2.7"},
		{chrony(clock.Local, nil), "CLOCK_SOURCE_CHRONY", "local"},
		{chrony("", errors.New("it is dead")), "CLOCK_SOURCE_CHRONY", ""},
	} {
		t.Run(fmt.Sprint(test.source, test.want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newClockBench()
				b.run(t, func(after func(time.Duration) *agentv1.ClockStatus) {
					after(time.Second)
					b.set(func() { b.refreshes = 0 })
					b.set(func() { b.kept = test.kept })
					s := after(keeperInterval + 2*clockCalm)
					if s.GetSource().String() != test.source || s.GetSynchronizedTo() != test.want || s.GetError() != errorText(test.kept.Err) {
						t.Errorf("%v", s)
					}
					if b.refreshes != 1 {
						t.Errorf("told %d times", b.refreshes)
					}
				})
			})
		})
	}
}
