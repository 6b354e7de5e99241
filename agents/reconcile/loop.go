package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Status is what the loop sees and does, after each round.
type Status struct {
	Desired  Desired
	Observed Observed
	Pending  []Pending
	Reached  rolev1.Stage
}

// Pending is a step that is not done yet.
type Pending struct {
	Step Step
	// Reason is what it waits for, the last error, or that it is under way.
	Reason   string
	Attempts int
	Since    time.Time
	// RetryAt is when it is tried again; zero when something else must happen first.
	RetryAt time.Time
}

// Outcome is a step that was tried.
type Outcome struct {
	Step Step
	Took time.Duration
	Err  error
}

// Loop keeps a node as desired. The functions must be set before Run and may be called from several goroutines.
type Loop struct {
	// Desired returns the present desired state.
	Desired func() Desired
	// Observe looks at the node.
	Observe func(ctx context.Context, desired Desired) Observed
	// Faults names those of the desired containers that a fault holds, with what to say of it. It is asked after each observation, so that what is
	// seen of a fault is never mended: a fault is known before it takes effect.
	Faults func(desired Desired) map[string]string
	// Apply does a step; attempt counts from 0.
	Apply func(ctx context.Context, step Step, attempt int) error
	// Publish receives the status after each round. It must not block.
	Publish func(Status)
	// Done is told of each step that was tried. It must not block.
	Done func(Outcome)
	// Resync is called before the periodic full look.
	Resync func()
	Log    *slog.Logger

	setUp    sync.Once
	trigger  chan struct{}
	mu       sync.Mutex
	memory   map[string]*memory
	inFlight map[string]context.CancelFunc
	heavy    int
	holds    int
	idle     chan struct{} // closed when holds > 0 and nothing is in flight
	working  sync.WaitGroup
}

// memory is what is remembered of a step between rounds: only when to try it again and what to tell of it.
type memory struct {
	since, retryAt time.Time
	// lastWanted is the last round in which the step was wanted, absentSince the first since then in which it was not.
	lastWanted, absentSince time.Time
	attempts, failures      int
	err                     error
	backoff                 *backoff.ExponentialBackOff
}

const (
	// roundInterval is the least time between rounds: bursts of events make one.
	roundInterval = 40 * time.Millisecond
	// heavyLimit is how many image builds, loads and pulls run at a time.
	heavyLimit = 2
)

var (
	resyncInterval = timescale.Scale(30 * time.Second)
	// pollInterval is how often the loop looks for what no event announces: an engine that is back, a join that is
	// through.
	pollInterval = timescale.Scale(300 * time.Millisecond)
	// A step that is wanted again within this time after it was done did not help; doing it again is delayed.
	settled = timescale.Scale(3 * time.Second)
)

func (l *Loop) init() {
	l.setUp.Do(func() {
		l.trigger = make(chan struct{}, 1)
		l.memory = map[string]*memory{}
		l.inFlight = map[string]context.CancelFunc{}
	})
}

// Trigger makes the loop look again soon.
func (l *Loop) Trigger() {
	l.init()
	select {
	case l.trigger <- struct{}{}:
	default:
	}
}

// Hurry makes steps that wait for their next attempt due now: what they failed on may have changed.
func (l *Loop) Hurry() {
	l.init()
	l.mu.Lock()
	for _, m := range l.memory {
		m.retryAt = time.Time{}
		m.backoff = nil
	}
	l.mu.Unlock()
	l.Trigger()
}

// Hold ends the steps under way, waits for them, and keeps the loop from doing any until release is called. It goes on
// looking and publishing.
func (l *Loop) Hold(ctx context.Context) (release func(), err error) {
	l.init()
	l.mu.Lock()
	l.holds++
	for _, cancel := range l.inFlight {
		cancel()
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
		if len(l.inFlight) == 0 {
			close(l.idle)
		}
	}
	idle := l.idle
	l.mu.Unlock()
	release = sync.OnceFunc(func() {
		l.mu.Lock()
		l.holds--
		if l.holds == 0 {
			l.idle = nil
			clear(l.memory)
		}
		l.mu.Unlock()
		l.Trigger()
	})
	select {
	case <-idle:
		return release, nil
	case <-ctx.Done():
		release()
		return nil, context.Cause(ctx)
	}
}

// Run reconciles until the context ends, and returns when no step is under way any more.
func (l *Loop) Run(ctx context.Context) error {
	l.init()
	defer l.working.Wait()
	resync := time.NewTicker(resyncInterval)
	defer resync.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		next := l.round(ctx)
		timer.Reset(roundInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
		select {
		case <-l.trigger:
		case <-timer.C:
		case <-resync.C:
			l.Resync()
		case <-ctx.Done():
		}
	}
	return nil
}

// round looks once, launches what can be done and returns when a step is due again; zero when none is.
func (l *Loop) round(ctx context.Context) time.Time {
	desired := l.Desired()
	observed := l.Observe(ctx, desired)
	if ctx.Err() != nil {
		return time.Time{}
	}
	desired.Faults = l.Faults(desired)
	steps := Diff(desired, observed)
	now := time.Now()
	l.mu.Lock()
	var next time.Time
	pending := make([]Pending, 0, len(steps))
	for _, step := range steps {
		m := l.remember(step, now)
		_, busy := l.inFlight[step.Key()]
		due := !m.retryAt.After(now)
		if !busy && due && step.Waits == "" && l.holds == 0 && l.launch(ctx, step, m) {
			busy = true
		}
		p := Pending{Step: step, Reason: l.reason(step, m, busy), Attempts: m.attempts, Since: m.since}
		if !busy && step.Waits == "" && !due {
			p.RetryAt = m.retryAt
			if next.IsZero() || m.retryAt.Before(next) {
				next = m.retryAt
			}
		}
		if polled(step, observed) && (next.IsZero() || now.Add(pollInterval).Before(next)) {
			next = now.Add(pollInterval)
		}
		pending = append(pending, p)
	}
	for id, m := range l.memory {
		switch {
		case m.lastWanted.Equal(now):
		case m.absentSince.IsZero():
			m.absentSince = now
		case now.Sub(m.absentSince) > settled:
			// Kept until now, to see whether it helped.
			delete(l.memory, id)
		}
	}
	l.mu.Unlock()
	l.Publish(Status{Desired: desired, Observed: observed, Pending: pending, Reached: Reached(desired, observed)})
	return next
}

// polled reports whether what a step waits for comes without an event.
func polled(step Step, observed Observed) bool {
	switch step.Kind {
	case ReachEngine, JoinSwarm, InitSwarm:
		return step.Waits != ""
	case StartContainer, AttachContainer, ReplaceContainer:
		return step.Waits == openStop || observed.Settling != "" && step.Waits == observed.Settling
	case BlockedContainer:
		return observed.Busy[step.Subject]
	}
	return false
}

func (l *Loop) remember(step Step, now time.Time) *memory {
	m := l.memory[step.String()]
	if m == nil || !m.absentSince.IsZero() && now.Sub(m.absentSince) > settled {
		m = &memory{since: now}
		l.memory[step.String()] = m
	}
	m.lastWanted, m.absentSince = now, time.Time{}
	return m
}

func (l *Loop) reason(step Step, m *memory, busy bool) string {
	switch {
	case step.Waits != "":
		return step.Waits
	case m.err != nil:
		return m.err.Error()
	case busy:
		return "under way"
	case l.holds > 0:
		return "everything is held for a moment"
	case step.Why != "":
		return step.Why
	}
	return "waits for its turn"
}

// launch starts a step beside the loop; false when there is no room for it now. The mutex is held.
func (l *Loop) launch(ctx context.Context, step Step, m *memory) bool {
	heavy := step.Kind == ProvideImage || step.Kind == BuildImage
	if heavy {
		if l.heavy >= heavyLimit {
			return false
		}
		l.heavy++
	}
	ctx, cancel := context.WithCancel(ctx)
	l.inFlight[step.Key()] = cancel
	attempt := m.failures
	l.working.Go(func() {
		defer cancel()
		started := time.Now()
		l.Log.Info("step", "step", step.String(), "why", step.Why, "attempt", attempt+1)
		err := l.Apply(ctx, step, attempt)
		canceled := ctx.Err() != nil
		l.mu.Lock()
		delete(l.inFlight, step.Key())
		if heavy {
			l.heavy--
		}
		if !canceled {
			m.note(step, err, time.Now())
		}
		if l.holds > 0 && len(l.inFlight) == 0 {
			select {
			case <-l.idle:
			default:
				close(l.idle)
			}
		}
		l.mu.Unlock()
		switch {
		case canceled:
		case err != nil:
			l.Log.Warn("step failed", "step", step.String(), "attempt", attempt+1, "error", err,
				"took", time.Since(started).Round(time.Millisecond))
			l.Done(Outcome{Step: step, Took: time.Since(started), Err: err})
		default:
			l.Done(Outcome{Step: step, Took: time.Since(started)})
		}
		l.Trigger()
	})
	return true
}

// note remembers how a step ended.
func (m *memory) note(step Step, err error, now time.Time) {
	m.attempts++
	m.err = err
	if err == nil {
		m.failures = 0
	} else {
		m.failures++
	}
	if err == nil && step.Kind == ReloadContainer {
		// New content is no sign that the last reload did not help.
		m.attempts, m.backoff, m.retryAt = 0, nil, now
		return
	}
	if m.backoff == nil {
		m.backoff = backoff.NewExponentialBackOff()
		m.backoff.InitialInterval = timescale.Scale(200 * time.Millisecond)
		m.backoff.Multiplier = 2
		m.backoff.RandomizationFactor = 0.2
		m.backoff.MaxInterval = maxDelay(step)
	}
	m.retryAt = now.Add(m.backoff.NextBackOff())
}

func maxDelay(step Step) time.Duration {
	if step.Container == nil && step.Kind == StartContainer {
		return resyncInterval // nobody waits for a container that is in no plan
	}
	switch step.Kind {
	case ProvideImage, BuildImage:
		return timescale.Scale(15 * time.Second)
	case StartContainer, AttachContainer, JoinSwarm:
		return timescale.Scale(3 * time.Second)
	}
	return timescale.Scale(5 * time.Second)
}
