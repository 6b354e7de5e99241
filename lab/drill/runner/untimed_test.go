package runner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/load"
)

// slow is a fake lab on a slow machine.
type slow struct {
	*fake
	// inject, renew and mend are how long the injection, a renewal and the end of a fault take; what is injected is not seen for hidden.
	inject, renew, mend, hidden time.Duration
	// leaves is when frontend01 leaves the balancer, after its Redis stopped, and back when it is in it again, after it was started.
	leaves, back time.Duration
	// flows says whether votes are accepted, so long after the load began and after the first fault was ordered; 0: it was not.
	flows func(load, fault time.Duration) bool
	// wellAfter is when the lab gets ready, readyAfter when it does again after a fault has ended.
	wellAfter, readyAfter time.Duration

	begun, ordered, broke, mended, changed time.Time
	// ranOut: a lease did before its fault was ended.
	down, ranOut bool
	// plan of the load.
	plan load.Plan
}

func (s *slow) Inject(ctx context.Context, node string, what drill.Injection, l time.Duration, holder string) (Broken, error) {
	s.mu.Lock()
	if s.ordered.IsZero() {
		s.ordered = time.Now()
	}
	s.mu.Unlock()
	time.Sleep(s.inject)
	s.mu.Lock()
	s.broke = time.Now()
	s.mu.Unlock()
	return s.fake.Inject(ctx, node, what, l, holder)
}

func (s *slow) Renew(ctx context.Context, b Broken, l time.Duration) error {
	if err := wait(ctx, s.renew); err != nil {
		return err
	}
	return s.fake.Renew(ctx, b, l)
}

func (s *slow) End(ctx context.Context, b Broken) error {
	if err := wait(ctx, s.mend); err != nil {
		return err
	}
	s.mu.Lock()
	s.mended = time.Now()
	s.unsteady = s.readyAfter > 0
	s.ranOut = s.ranOut || time.Now().After(s.leases[b.ID])
	s.mu.Unlock()
	return s.fake.End(ctx, b)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Watch tells of the nodes what it has told before, while the last fault is hidden.
func (s *slow) Watch(ctx context.Context) <-chan fleet.Update {
	seen := make(chan fleet.Update)
	go func() {
		defer close(seen)
		for u := range s.fake.Watch(ctx) {
			s.mu.Lock()
			hidden := !s.broke.IsZero() && time.Since(s.broke) < s.hidden
			s.mu.Unlock()
			if hidden {
				continue
			}
			select {
			case seen <- u:
			case <-ctx.Done():
			}
		}
	}()
	return seen
}

// Servers are as Redis is since long enough.
func (s *slow) Servers(context.Context) (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsteady = time.Since(s.begun) < s.wellAfter || !s.mended.IsZero() && time.Since(s.mended) < s.readyAfter
	stopped := s.stopped("redis01")
	after := s.back
	if stopped {
		after = s.leaves
	}
	switch {
	case stopped == s.down || s.blind:
		s.changed = time.Time{}
	case s.changed.IsZero():
		s.changed = time.Now()
	}
	if !s.changed.IsZero() && time.Since(s.changed) >= after {
		s.down, s.changed = stopped, time.Time{}
	}
	return map[string]bool{"frontend01": !s.down, "frontend02": true}, nil
}

func (s *slow) Cast(ctx context.Context, plan load.Plan, progress func(load.Progress)) (load.Summary, string, error) {
	s.plan = plan
	begun := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var sum load.Summary
	failed := int64(0)
	for {
		select {
		case <-ctx.Done():
			return sum, "ledger", nil
		case <-plan.Abort:
			return sum, "ledger", nil
		case <-tick.C:
		}
		s.mu.Lock()
		since := time.Duration(0)
		if !s.ordered.IsZero() {
			since = time.Since(s.ordered)
		}
		s.mu.Unlock()
		p := load.Progress{Elapsed: time.Since(begun)}
		if s.flows == nil || s.flows(time.Since(begun), since) {
			sum.Acknowledged += int64(plan.Rate / 2)
			p.Rate = plan.Rate
		} else {
			failed += int64(plan.Rate / 2)
		}
		p.Counts, p.Failed = sum.Counts, failed
		progress(p)
	}
}

// rehearse runs a drill in a bubble of time.
func (s *slow) rehearse(t *testing.T, text string, o Options, during func(cancel context.CancelFunc)) (j *journal.Journal, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if during != nil {
			go during(cancel)
		}
		s.begun, s.unsteady, o.SteadyWithin = time.Now(), s.wellAfter > 0, 5*time.Second
		r := s.runner()
		r.Breaker, r.Voters, r.Source.Nodes, r.Source.Servers = s, s, s, s
		j, err = r.Run(ctx, parse(t, text), o)
	})
	return j, err
}

func check(t *testing.T, j *journal.Journal, see string) journal.Check {
	t.Helper()
	i := slices.IndexFunc(j.Checks, func(c journal.Check) bool { return c.See == see })
	if i < 0 {
		t.Fatalf("no check %q: %+v", see, j.Checks)
	}
	return j.Checks[i]
}

// What is late fails a timed run and no other; what is wrong, or never comes, fails both.
func TestUntimedIsAboutTimeOnly(t *testing.T) {
	strict := strings.Replace(stopDrill, "debrief", "errors_at_most: 0.01\ndebrief", 1)
	quickly := strings.Replace(stopDrill, "debrief", "recover_within: 10s\ndebrief", 1)
	still := strings.Replace(stopDrill, "recover:\n", "recover:\n  - {see: votes still go on, when: accepted > 0, always: true, from: 20s}\n", 1)
	stops := strings.Replace(stopDrill, "debrief", "stop: failed > 0\ndebrief", 1)
	silentFor := func(d time.Duration) func(*slow) {
		return func(s *slow) { s.flows = func(_, fault time.Duration) bool { return fault == 0 || fault > d } }
	}
	for name, tt := range map[string]struct {
		change         func(*slow)
		drill          string
		timed, untimed journal.Result
		// reason of the run that is not timed.
		reason string
	}{
		"nothing":                 {func(*slow) {}, strict, journal.Passed, journal.Passed, ""},
		"seen late":               {func(s *slow) { s.leaves = 40 * time.Second }, stopDrill, journal.Failed, journal.Passed, ""},
		"seen too late":           {func(s *slow) { s.leaves = 130 * time.Second }, stopDrill, journal.Failed, journal.Failed, "not seen within 2m0s: it leaves the balancer"},
		"never seen":              {func(s *slow) { s.blind = true }, stopDrill, journal.Failed, journal.Failed, "not seen within 2m0s: it leaves the balancer"},
		"back late":               {func(s *slow) { s.back = 4 * time.Minute }, stopDrill, journal.Failed, journal.Passed, ""},
		"back too late":           {func(s *slow) { s.back = 6 * time.Minute }, stopDrill, journal.Failed, journal.Failed, "not seen within 5m0s: it is back"},
		"injected late":           {func(s *slow) { s.inject = 30 * time.Second }, stopDrill, journal.Failed, journal.Passed, ""},
		"seen outside late":       {func(s *slow) { s.hidden = 2 * time.Minute }, stopDrill, journal.Failed, journal.Passed, ""},
		"healed late":             {func(s *slow) { s.mend = 4 * time.Minute }, stopDrill, journal.Failed, journal.Passed, ""},
		"ready again late":        {func(s *slow) { s.readyAfter = 4 * time.Minute }, quickly, journal.Failed, journal.Passed, ""},
		"ready again too late":    {func(s *slow) { s.readyAfter = 6 * time.Minute }, quickly, journal.Failed, journal.Failed, "5m0s after the healing not satisfied: every node is ready"},
		"not looked at long":      {func(*slow) {}, still, journal.Failed, journal.Passed, ""},
		"silent for a while":      {silentFor(30 * time.Second), stopDrill, journal.Failed, journal.Passed, ""},
		"silent for good":         {silentFor(time.Hour), stopDrill, journal.Failed, journal.Failed, "not all the time: votes go on (accepted is 0, rate is 150)"},
		"a few failed":            {silentFor(time.Second), strict, journal.Failed, journal.Passed, ""},
		"lost votes":              {func(s *slow) { s.lost = 3 }, stopDrill, journal.Failed, journal.Failed, "votes lost: 3 votes"},
		"late and lost votes":     {func(s *slow) { s.leaves, s.lost = 40*time.Second, 3 }, stopDrill, journal.Failed, journal.Failed, "votes lost: 3 votes"},
		"not injected":            {func(s *slow) { s.refuse = errors.New("no") }, stopDrill, journal.Aborted, journal.Aborted, "stop redis01 was not injected: no"},
		"does not end":            {func(s *slow) { s.stubborn = errors.New("no") }, stopDrill, journal.Failed, journal.Failed, "did not end: no"},
		"its stop condition":      {silentFor(time.Second), stops, journal.Aborted, journal.Aborted, "its stop condition holds: failed is"},
		"processors are withheld": {func(s *slow) { s.withheld.broken = 0.6 }, stopDrill, journal.Passed, journal.Passed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for untimed, want := range map[bool]journal.Result{false: tt.timed, true: tt.untimed} {
				s := &slow{fake: newFake(t)}
				tt.change(s)
				j, err := s.rehearse(t, tt.drill, Options{Untimed: untimed}, nil)
				if err != nil || j.Result != want || (len(j.Reasons) == 0) != (want == journal.Passed) {
					t.Fatalf("untimed %v: %v: %s %q, want %s", untimed, err, j.Result, j.Reasons, want)
				}
				if untimed && !strings.Contains(strings.Join(j.Reasons, "\n"), tt.reason) {
					t.Errorf("%q, want %q", j.Reasons, tt.reason)
				}
				if j.Untimed != untimed || (len(j.Remarks) == 1) != untimed {
					t.Errorf("untimed %v: the journal says %v, %q", untimed, j.Untimed, j.Remarks)
				}
				if err := j.Validate(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What is late is measured, and the fault is in force until it was seen, though its lease is shorter.
func TestUntimedMeasures(t *testing.T) {
	s := &slow{fake: newFake(t), leaves: 100 * time.Second}
	j, err := s.rehearse(t, strings.Replace(stopDrill, "debrief", "errors_at_most: 0.01\ndebrief", 1), Options{Untimed: true}, nil)
	if err != nil || j.Result != journal.Passed {
		t.Fatalf("%v: %+v", err, j)
	}
	left := check(t, j, "it leaves the balancer")
	if !left.Held || left.AfterMS < 100_000 || left.AfterMS > 101_000 || left.WithinMS != 2_000 || left.AllowedMS != 120_000 {
		t.Errorf("%+v", left)
	}
	if always := check(t, j, "votes go on"); !always.Held || always.AllowedMS != 0 {
		t.Errorf("%+v", always)
	}
	i := slices.IndexFunc(j.Metrics, func(f journal.Metric) bool { return f.Name == "left after" })
	if f := j.Metrics[i]; f.Value != float64(left.AfterMS) || f.Limit == nil || *f.Limit != 2_000 || f.Met() || j.Binds(f) {
		t.Errorf("%+v", f)
	}
	if s.plan.Patience != 20*time.Minute {
		t.Errorf("a vote is tried for %s", s.plan.Patience)
	}
	// Its clock stood still from 2 s on until that was seen at 100 s, and had 13 s left.
	if length := j.Faults[0].EndedMS - j.Faults[0].SeenMS; length < 112_000 || length > 115_000 {
		t.Errorf("it was in force for %d ms", length)
	}
}

// What holds always has to without a break for as long as in a timed run, once the fault is in force.
func TestUntimedAlways(t *testing.T) {
	for name, tt := range map[string]struct {
		inject time.Duration
		// silent are the times without votes, in seconds from the order on.
		silent [][2]float64
		held   bool
		// least is how long after the order it was found to hold, or not to.
		least, most int64
	}{
		"at once":               {0, nil, true, 15_000, 15_500},
		"injected late":         {time.Minute, nil, true, 75_000, 75_500},
		"broken once":           {0, [][2]float64{{5, 10}}, true, 25_000, 29_000},
		"broken again":          {0, [][2]float64{{5, 10}, {20, 30}, {40, 50}}, true, 65_000, 69_000},
		"broken for good":       {0, [][2]float64{{5, 1000}}, false, 120_000, 120_500},
		"broken after 2 min":    {0, [][2]float64{{5, 110}, {121, 130}}, false, 121_000, 123_500},
		"broken while injected": {time.Minute, [][2]float64{{1, 59}}, true, 75_000, 79_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slow{fake: newFake(t), inject: tt.inject}
			s.flows = func(_, fault time.Duration) bool {
				return !slices.ContainsFunc(tt.silent, func(x [2]float64) bool { return fault.Seconds() > x[0] && fault.Seconds() <= x[1] })
			}
			j, err := s.rehearse(t, stopDrill, Options{Untimed: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ended := j.Faults[0].EndedMS - j.Faults[0].InjectedMS
			if c := check(t, j, "votes go on"); c.Held != tt.held || ended < tt.least || ended > tt.most {
				t.Errorf("the fault was ended after %d ms, want %d to %d: %+v", ended, tt.least, tt.most, c)
			} else if c.Held && c.FromMS < j.Faults[0].SeenMS {
				t.Errorf("it held before the fault was in force, at %d ms: %+v", j.Faults[0].SeenMS, c)
			}
			if len(s.broken) > 0 {
				t.Errorf("left broken: %v", s.broken)
			}
		})
	}
}

// A check with a from has to hold from then on for as long as was left of the phase, and an injection waits for what had to be seen before it.
func TestUntimedFollowsTheDrill(t *testing.T) {
	text := strings.Replace(stopDrill, "expect:\n", "  - {fault: stop, container: worker01, at: 5s, for: 4s}\nexpect:\n"+
		"  - {see: the worker stands, when: 'container(\"worker01\") == \"exited\"', within: 2s, after: 2}\n"+
		"  - {see: in the end, when: accepted > 0, always: true, from: 12s}\n", 1)
	s := &slow{fake: newFake(t), leaves: 50 * time.Second}
	j, err := s.rehearse(t, text, Options{Untimed: true}, nil)
	if err != nil || j.Result != journal.Passed {
		t.Fatalf("%v: %s %q", err, j.Result, j.Reasons)
	}
	if got := strings.Join(s.ended, ", "); got != "stop worker01, stop redis01" {
		t.Error(got)
	}
	first, second := j.Faults[0], j.Faults[1]
	if at := second.InjectedMS - first.InjectedMS; at < 52_500 || at > 54_000 { // 2 s, and 50 s until it was seen; 3 s more are left to 5 s
		t.Errorf("the second fault was injected after %d ms", at)
	}
	if length := second.EndedMS - second.SeenMS; length < 4_000 || length > 4_500 {
		t.Errorf("the second fault lasted for %d ms", length)
	}
	if c := check(t, j, "in the end"); c.FromMS-first.InjectedMS < 12_000 {
		t.Errorf("it was looked at from %d ms on: %+v", c.FromMS-first.InjectedMS, c)
	}
}

// A fault that ends before the others is in force until it was seen; one that begins later does so when the first has been in force for as long.
func TestUntimedFaultsAreSeen(t *testing.T) {
	text := strings.Replace(stopDrill, "expect:\n", "  - {fault: stop, container: worker01, at: 5s, for: 4s}\nexpect:\n", 1)
	s := &slow{fake: newFake(t), inject: 10 * time.Second, hidden: 30 * time.Second}
	j, err := s.rehearse(t, text, Options{Untimed: true}, nil)
	if err != nil || j.Result != journal.Passed {
		t.Fatalf("%v: %s %q", err, j.Result, j.Reasons)
	}
	if at := j.Faults[1].InjectedMS - j.Faults[0].SeenMS; at < 5_000 {
		t.Errorf("the second fault was injected %d ms after the first was in force", at)
	}
	if length := j.Faults[1].EndedMS - j.Faults[1].SeenMS; length < 30_000 {
		t.Errorf("it lasted for %d ms", length)
	}
}

// A renewal that is slow still comes before the lease is over.
func TestUntimedRenews(t *testing.T) {
	for _, untimed := range []bool{false, true} {
		s := &slow{fake: newFake(t), renew: 5 * time.Second}
		if _, err := s.rehearse(t, stopDrill, Options{Untimed: untimed}, nil); err != nil || s.ranOut == untimed {
			t.Errorf("untimed %v: %v, the lease ran out: %v", untimed, err, s.ranOut)
		}
	}
}

// What is broken at the very end of the phase is looked for all the same.
func TestUntimedAtTheEnd(t *testing.T) {
	text := strings.Replace(stopDrill, "expect:\n", "  - {fault: kill, container: worker01, at: 15s}\nexpect:\n", 1)
	s := &slow{fake: newFake(t)} // which restarts nothing
	hold := make(chan struct{})
	j, err := s.rehearse(t, text, Options{Untimed: true, Hold: hold}, func(context.CancelFunc) {
		time.Sleep(30 * time.Second)
		close(hold)
	})
	if err != nil || j.Result != journal.Failed || !strings.Contains(j.Reasons[0], "not seen within 2m30s: worker01 was killed") {
		t.Fatalf("%v: %+v", err, j)
	}
	if c := check(t, j, "worker01 was killed"); c.AfterMS < 150_000 {
		t.Errorf("it was looked for for %d ms only: %+v", c.AfterMS, c)
	}
}

func TestLonger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		untimed            bool
		limit, least, want time.Duration
	}{
		{false, 2 * time.Second, 2 * time.Minute, 2 * time.Second},
		{true, 2 * time.Second, 2 * time.Minute, 2 * time.Minute},
		{true, 20 * time.Second, 2 * time.Minute, 200 * time.Second},
		{true, 0, 2 * time.Minute, 2 * time.Minute},
	} {
		r := run{options: Options{Untimed: tt.untimed}}
		if got := r.longer(tt.limit, tt.least); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// Nothing is awaited for longer than a fault may be held up; what had to hold always then did not.
func TestUntimedIsBounded(t *testing.T) {
	t.Parallel()
	when, err := drill.Compile("accepted > 0")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r := &run{options: Options{Untimed: true}, observer: newObserver(now, settings.StageApplication, 1), journal: &journal.Journal{}}
	p := r.expect(drill.Check{See: "votes go on", When: when, Always: true}, phaseFault, now.Add(-time.Hour))
	p.due = now.Add(-time.Hour)
	if !r.awaited(now) {
		t.Error("it is not awaited")
	}
	if r.stood = unholdable + 1; r.awaited(now) {
		t.Error("it is awaited for ever")
	}
	r.closeChecks(phaseFault)
	if c := r.journal.Checks[0]; c.Held || !strings.Contains(c.Saw, "it never held for 1s without a break") {
		t.Errorf("%+v", c)
	}
}

// Before the fault there is more time, too; what is not so then is refused as ever.
func TestUntimedBefore(t *testing.T) {
	flowsFrom := func(d time.Duration) func(load, fault time.Duration) bool {
		return func(load, _ time.Duration) bool { return load > d }
	}
	for name, tt := range map[string]struct {
		change  func(*slow)
		refused string
	}{
		"steady late":       {func(s *slow) { s.wellAfter = 4 * time.Minute }, ""},
		"never steady":      {func(s *slow) { s.wellAfter = 6 * time.Minute }, "the lab is not in its steady state: not satisfied: every node is ready"},
		"flows late":        {func(s *slow) { s.flows = flowsFrom(4 * time.Minute) }, ""},
		"never flows":       {func(s *slow) { s.flows = flowsFrom(time.Hour) }, "not half were accepted"},
		"its host is busy":  {func(s *slow) { s.withheld.always = 0.6 }, ""},
		"no such container": {func(s *slow) { s.Topology.Nodes = s.Topology.Nodes[:1] }, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slow{fake: newFake(t)}
			tt.change(s)
			j, err := s.rehearse(t, stopDrill, Options{Untimed: true}, nil)
			if tt.refused != "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.refused) || len(s.injected) > 0 {
					t.Fatalf("%v, injected %v", err, s.injected)
				}
				return
			}
			if err != nil || j.Result != journal.Passed {
				t.Fatalf("%v: %+v", err, j)
			}
		})
	}
}

// An interrupt heals at once while it waits, and somebody else's end of the fault ends the drill.
func TestUntimedIsAborted(t *testing.T) {
	for name, tt := range map[string]struct {
		during func(*slow, context.CancelFunc)
		reason string
	}{
		"interrupted": {func(_ *slow, cancel context.CancelFunc) { cancel() }, "it was interrupted"},
		"healed": {func(s *slow, _ context.CancelFunc) {
			s.mu.Lock()
			defer s.mu.Unlock()
			clear(s.broken)
		}, "was ended by somebody else"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slow{fake: newFake(t), leaves: 100 * time.Second}
			j, err := s.rehearse(t, stopDrill, Options{Untimed: true}, func(cancel context.CancelFunc) {
				time.Sleep(time.Minute)
				tt.during(s, cancel)
			})
			if err != nil || j.Result != journal.Aborted || !strings.Contains(j.Reasons[0], tt.reason) || len(s.broken) != 0 {
				t.Fatalf("%v: %s %q, left %v", err, j.Result, j.Reasons, s.broken)
			}
			if j.LengthMS > 65_000 {
				t.Errorf("it went on to %d ms", j.LengthMS)
			}
		})
	}
}

// What is held is held, and what the drill wants is looked for all the same.
func TestUntimedHold(t *testing.T) {
	s := &slow{fake: newFake(t), leaves: 100 * time.Second}
	hold := make(chan struct{})
	j, err := s.rehearse(t, stopDrill, Options{Untimed: true, Hold: hold}, func(context.CancelFunc) {
		time.Sleep(time.Minute)
		close(hold)
	})
	if err != nil || j.Result != journal.Passed {
		t.Fatalf("%v: %+v", err, j)
	}
	if length := j.Faults[0].EndedMS - j.Faults[0].SeenMS; length < 100_000 {
		t.Errorf("it lasted for %d ms", length)
	}
}

// Every condition that the catalogue's drills want to hold always depends on how fast the machine is; see evaluateAlways.
func TestUntimedCatalogue(t *testing.T) {
	all, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		for _, c := range d.Expect {
			quick := strings.Contains(c.When.Text, "rate") || strings.HasPrefix(c.When.Text, "server(")
			if c.Always && !quick {
				t.Errorf("%s: is %q broken by slowness alone? If not, a break of it must fail a run that is not timed, too", d.ID, c.When.Text)
			}
		}
	}
}
