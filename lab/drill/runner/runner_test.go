package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/cpusteal"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/host/usage"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
	"github.com/swarmlab/swarmlab/lab/watch"
)

// fake is a lab of two frontends, a worker and the others, whose parts do what they are told. What is broken in it shows at once.
type fake struct {
	*settings.Lab
	mu sync.Mutex
	// broken are the faults in force, by id.
	broken map[string]drill.Injection
	// leases are when they end by themselves.
	leases map[string]time.Time
	// injected and ended are in the order in which they happened.
	injected, ended []string

	// unsteady keeps the lab from being ready.
	unsteady bool
	// refuse keeps faults from being injected, stubborn from ending.
	refuse, stubborn error
	// hang keeps faults from ending for as long as somebody waits for it.
	hang bool
	// blind: nobody notices what is broken, so that the balancer keeps its server.
	blind bool
	// lost votes, in the ledger's eyes.
	lost int64
	// mute: no votes are accepted.
	mute bool
	// withheld is the part of the processors' time that the host withholds, while anything is broken or all the time.
	withheld struct{ broken, always float64 }
	// spent is what the processors did until asked, which is when they were asked last.
	spent cpusteal.Reading
	asked time.Time
}

// processors wants all the time of one.
func (f *fake) processors() (cpusteal.Reading, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	share := f.withheld.always
	if len(f.broken) > 0 {
		share = max(share, f.withheld.broken)
	}
	now := time.Now()
	if !f.asked.IsZero() {
		passed := now.Sub(f.asked).Seconds()
		f.spent.Busy += (1 - share) * passed
		f.spent.Stolen += share * passed
	}
	f.asked = now
	return f.spent, nil
}

func newFake(t *testing.T) *fake {
	t.Helper()
	nodes, err := topology.Load("../../../vagrant/topology.yaml", topology.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".lab"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &fake{
		Lab: &settings.Lab{
			Dir: dir, Settings: settings.Settings{Name: "blue", Provider: settings.ProviderDocker, Stage: settings.StageApplication}, Topology: nodes,
		},
		broken: map[string]drill.Injection{}, leases: map[string]time.Time{},
	}
}

func (f *fake) runner() *Runner {
	return &Runner{
		Lab: f.Lab, Breaker: f, Voters: f, Processors: f.processors, By: "somebody@here",
		Source: watch.Source{Nodes: f, Servers: f, Queues: f, Pages: f},
	}
}

// stopped reports whether a container is; the mutex is held.
func (f *fake) stopped(container string) bool {
	for id, i := range f.broken {
		if time.Now().After(f.leases[id]) {
			delete(f.broken, id)
			continue
		}
		if i.Container == container && i.Fault == "stop" {
			return true
		}
	}
	return false
}

func (f *fake) view() fleet.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := fleet.View{Lab: f.Name}
	for _, n := range f.Topology.Nodes {
		snap := &agentv1.NodeSnapshot{
			Name: n.Name, Ready: !f.unsteady, DesiredStage: rolev1.Stage(settings.StageApplication), Engine: &agentv1.EngineStatus{Up: true},
		}
		container := func(name string) {
			state := "running"
			if f.stopped(name) {
				state, snap.Ready = "exited", false
			}
			snap.Containers = append(snap.Containers, &agentv1.ContainerStatus{Name: name, State: state, Pid: 7})
		}
		if n.Role == topology.RoleFrontend {
			container(fmt.Sprintf("redis%02d", n.Ordinal))
		}
		container(n.Name)
		v.Nodes = append(v.Nodes, fleet.NodeView{Node: n, Snapshot: snap})
	}
	return v
}

// Watch tells of all nodes, again and again.
func (f *fake) Watch(ctx context.Context) <-chan fleet.Update {
	updates := make(chan fleet.Update)
	go func() {
		defer close(updates)
		for {
			view := f.view()
			for _, n := range f.Topology.Nodes {
				select {
				case updates <- fleet.Update{Node: n.Name, View: view}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}()
	return updates
}

func (f *fake) Servers(context.Context) (map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return map[string]bool{"frontend01": f.blind || !f.stopped("redis01"), "frontend02": true}, nil
}

func (f *fake) Queues(context.Context) []datastore.Queue {
	return []datastore.Queue{{Node: "frontend01", Waiting: 1, Left: time.Now().Unix()}, {Node: "frontend02"}}
}

func (f *fake) Statuses(context.Context) (page, results int) { return 200, 200 }

func (f *fake) Renew(_ context.Context, b Broken, l time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.broken[b.ID]; !ok {
		return ErrGone
	}
	f.leases[b.ID] = time.Now().Add(l)
	return nil
}

func (f *fake) Inject(_ context.Context, node string, what drill.Injection, l time.Duration, _ string) (Broken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return Broken{}, f.refuse
	}
	id := fmt.Sprint(len(f.injected))
	f.injected = append(f.injected, what.Fault+" "+what.Target())
	f.broken[id], f.leases[id] = what, time.Now().Add(l)
	return Broken{Node: node, ID: id, What: what.Fault + " " + what.Target(), Evidence: "seen"}, nil
}

func (f *fake) End(ctx context.Context, b Broken) error {
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stubborn != nil {
		return f.stubborn
	}
	f.ended = append(f.ended, b.What)
	delete(f.broken, b.ID)
	return nil
}

func (f *fake) Cast(ctx context.Context, plan load.Plan, progress func(load.Progress)) (load.Summary, string, error) {
	begun := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var sum load.Summary
	for {
		select {
		case <-ctx.Done():
			return sum, "ledger", nil
		case <-plan.Abort:
			return sum, "ledger", nil
		case <-tick.C:
		}
		p := load.Progress{Elapsed: time.Since(begun)}
		if !f.mute {
			sum.Acknowledged += int64(plan.Rate / 2)
			p.Rate, p.P50, p.P99 = plan.Rate, time.Millisecond, 2*time.Millisecond
		}
		p.Counts = sum.Counts
		progress(p)
	}
}

func (f *fake) Judge(context.Context, string, func([]string)) (verify.Verdict, error) {
	v := verify.Verdict{}
	v.Result = checker.Pass
	if f.lost > 0 {
		v.Result, v.Found = checker.Fail, map[checker.Kind]int64{checker.Lost: f.lost}
	}
	return v, nil
}

const stopDrill = `
id: mine
title: A title
section: Redis failures
story: A story.
inject:
  - {fault: stop, container: redis01, for: 15s}
expect:
  - {see: it leaves the balancer, when: 'server("frontend01") == "down"', within: 2s, annotation: ejected, metric: left after}
  - {see: votes go on, when: accepted >= 0.5 * rate, always: true}
recover:
  - {see: it is back, when: 'server("frontend01") == "up"', within: 5s}
debrief: A debrief.
fix: A fix.
`

func parse(t *testing.T, text string) *drill.Drill {
	t.Helper()
	d, err := drill.Parse("mine.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rehearse runs a drill in a bubble of time; during is called beside it.
func rehearse(t *testing.T, f *fake, text string, o Options, during func(cancel context.CancelFunc)) (j *journal.Journal, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if during != nil {
			go during(cancel)
		}
		if o.SteadyWithin == 0 {
			o.SteadyWithin = 5 * time.Second
		}
		j, err = f.runner().Run(ctx, parse(t, text), o)
	})
	return j, err
}

func TestADrillThatPasses(t *testing.T) {
	f := newFake(t)
	j, err := rehearse(t, f, stopDrill, Options{}, nil)
	if err != nil || j.Result != journal.Passed || len(j.Reasons) != 0 {
		t.Fatalf("%v: %+v", err, j)
	}
	if len(j.Checks) != 4 { // the fault itself is looked for as well
		t.Errorf("%d checks: %+v", len(j.Checks), j.Checks)
	}
	for _, c := range j.Checks {
		if !c.Held {
			t.Errorf("%+v", c)
		}
	}
	broken := j.Faults[0]
	if length := broken.EndedMS - broken.SeenMS; length < 15_000 || length > 15_500 || broken.HealedMS < broken.EndedMS || broken.Evidence != "seen" {
		t.Errorf("it lasted for %d ms, though its lease is shorter: %+v", length, broken)
	}
	var phases []string
	for _, p := range j.Phases {
		phases = append(phases, p.Name)
		if p.EndedMS < p.BegunMS {
			t.Errorf("%+v", p)
		}
	}
	if got := strings.Join(phases, ", "); got != "steady state, load, fault, recovery, afterwards, verdict" {
		t.Error(got)
	}
	if len(j.Samples) < 30 || j.Load == nil || j.Verdict == nil || len(j.Annotations) < 3 {
		t.Errorf("%d samples, %v, %v, %+v", len(j.Samples), j.Load, j.Verdict, j.Annotations)
	}
	if kept, err := journal.Read(f.JournalDir(), j.ID); err != nil || kept.Result != journal.Passed {
		t.Errorf("%v: %+v", err, kept)
	}
}

// What is refused has broken nothing, and leaves no journal.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*fake)
		old, new string
		want     string
	}{
		"no processors":     {change: func(f *fake) { f.withheld.always = 0.6 }, want: "kept from its processors: its host withheld 60 %"},
		"not steady":        {change: func(f *fake) { f.unsteady = true }, want: "every node is ready (ready is false)"},
		"no votes":          {change: func(f *fake) { f.mute = true }, want: "not half were accepted"},
		"no such container": {old: "redis01", new: "redis77", want: "no container redis77"},
		"no such name":      {old: `server("frontend01") == "down"`, new: `server("frontend77") == "down"`, want: "no node frontend77"},
		"no such node":      {old: "fault: stop, container: redis01", new: "fault: engine-stop, node: nowhere", want: "no node nowhere"},
		"no such peer":      {old: "fault: stop, container: redis01", new: "fault: partition, node: store, from: [nowhere]", want: "no node nowhere"},
		"stopped already":   {old: "debrief", new: "stop: rate > 1\ndebrief", want: "what is to stop it holds already"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			if tt.change != nil {
				tt.change(f)
			}
			j, err := rehearse(t, f, strings.Replace(stopDrill, tt.old, tt.new, 1), Options{}, nil)
			if !errors.Is(err, ErrRefused) || j != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v", j, err)
			}
			if ids, _ := journal.IDs(f.JournalDir()); len(f.injected) > 0 || len(ids) > 0 {
				t.Errorf("injected %v, journals %v", f.injected, ids)
			}
		})
	}
}

// A drill fails for the reason that there is.
func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fake)
		want   journal.Result
		reason string
	}{
		"not seen":     {func(f *fake) { f.blind = true }, journal.Failed, `not seen within 2s: it leaves the balancer (server("frontend01") is up)`},
		"lost votes":   {func(f *fake) { f.lost = 3 }, journal.Failed, "the ledger's verdict is FAIL"},
		"not injected": {func(f *fake) { f.refuse = errors.New("no") }, journal.Aborted, "stop redis01 was not injected: no"},
		"does not end": {func(f *fake) { f.stubborn = errors.New("no") }, journal.Failed, "stop redis01 on frontend01 did not end: no"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			tt.change(f)
			j, err := rehearse(t, f, stopDrill, Options{}, nil)
			if err != nil || j.Result != tt.want || !strings.Contains(strings.Join(j.Reasons, "\n"), tt.reason) {
				t.Errorf("%v: %s %q", err, j.Result, j.Reasons)
			}
		})
	}
}

// What is late while the host withholds the processors is not held against the lab; what is lost or left is.
func TestDisturbed(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*fake)
		withheld float64
		want     journal.Result
		reasons  []string
	}{
		"all was seen":    {func(*fake) {}, 0.9, journal.Passed, nil},
		"late":            {func(f *fake) { f.blind = true }, 0.4, journal.Undecided, []string{"its host withheld 40 %", "not seen within 2s"}},
		"late by itself":  {func(f *fake) { f.blind = true }, 0.2, journal.Failed, []string{"not seen within 2s"}},
		"late and lost":   {func(f *fake) { f.blind, f.lost = true, 3 }, 0.4, journal.Failed, []string{"not seen within 2s", "votes lost: 3", "verdict is FAIL"}},
		"late and left":   {func(f *fake) { f.blind, f.stubborn = true, errors.New("no") }, 0.4, journal.Failed, []string{"did not end: no", "not seen"}},
		"cannot be begun": {func(f *fake) { f.refuse = errors.New("no") }, 0.4, journal.Aborted, []string{"was not injected: no"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.withheld.broken = tt.withheld
			tt.change(f)
			j, err := rehearse(t, f, stopDrill, Options{}, nil)
			if err != nil || j.Result != tt.want || (len(tt.reasons) == 0) != (len(j.Reasons) == 0) {
				t.Fatalf("%v: %s %q", err, j.Result, j.Reasons)
			}
			for i, want := range tt.reasons {
				if !strings.Contains(j.Reasons[i], want) {
					t.Errorf("%q, want %q", j.Reasons[i], want)
				}
			}
			if len(f.broken) > 0 && f.stubborn == nil {
				t.Errorf("left broken: %v", f.broken)
			}
		})
	}
}

// An interrupt heals at once, whenever it comes.
func TestAborted(t *testing.T) {
	for name, after := range map[string]time.Duration{"while it injects": 3500 * time.Millisecond, "in the fault": 8 * time.Second, "in the recovery": 19 * time.Second} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			text := strings.Replace(stopDrill, `recover:`, "recover:\n  - {see: never, when: 'rate < 0', within: 9s}", 1)
			j, err := rehearse(t, f, text, Options{}, func(cancel context.CancelFunc) {
				time.Sleep(after)
				cancel()
			})
			if err != nil || j.Result != journal.Aborted || len(f.injected) != 1 || len(f.ended) != 1 || len(f.broken) != 0 {
				t.Errorf("%v: %s %q, injected %v, ended %v", err, j.Result, j.Reasons, f.injected, f.ended)
			}
			if took := time.Duration(j.LengthMS)*time.Millisecond - after; took > time.Second {
				t.Errorf("it went on for %s", took)
			}
		})
	}
}

// A healing that takes long is not waited for when nobody wants to: what is broken is not held any longer.
func TestAbandoned(t *testing.T) {
	f := newFake(t)
	f.hang = true
	const interrupted, left = 8 * time.Second, 20 * time.Second
	var j *journal.Journal
	var err error
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		abandon := make(chan struct{})
		go func() {
			time.Sleep(interrupted)
			cancel()
			time.Sleep(left - interrupted)
			close(abandon)
		}()
		j, err = f.runner().Run(ctx, parse(t, stopDrill), Options{SteadyWithin: 5 * time.Second, Abandon: abandon})
	})
	if err != nil || j.Result != journal.Aborted || !strings.Contains(strings.Join(j.Reasons, "; "), "stop redis01 on frontend01 was not waited for") {
		t.Errorf("%v: %s %q", err, j.Result, j.Reasons)
	}
	if took := time.Duration(j.LengthMS) * time.Millisecond; took < left || took > left+time.Second {
		t.Errorf("it ended after %s", took)
	}
	for id, end := range f.leases {
		if held := end.Sub(j.Begun); held > interrupted+lease+renewEvery {
			t.Errorf("fault %s is held until %s after the beginning", id, held)
		}
	}
}

// A lab that is taken down ends the drill, which heals, and takes only then its hands off.
func TestTheLabIsTakenAway(t *testing.T) {
	f := newFake(t)
	synctest.Test(t, func(t *testing.T) {
		var taking sync.WaitGroup
		taking.Go(func() {
			time.Sleep(8 * time.Second)
			users, open, err := usage.Close(t.Context(), f.Lab, "`lab down`", time.Minute, func(string) {})
			if err != nil || len(users) != 1 || !strings.HasPrefix(users[0], "drill mine of somebody@here, process ") {
				t.Errorf("%v, %v", users, err)
				return
			}
			defer open()
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.broken) > 0 {
				t.Errorf("still broken: %v", f.broken)
			}
		})
		j, err := f.runner().Run(t.Context(), parse(t, stopDrill), Options{SteadyWithin: 5 * time.Second})
		taking.Wait()
		if err != nil || j.Result != journal.Aborted || !strings.Contains(j.Reasons[0], "taken down by `lab down`, process ") || len(f.ended) != 1 {
			t.Errorf("%v: %+v", err, j)
		}
	})
}

// A fault that somebody else ends ends the drill: what is seen then says nothing.
func TestHealedBySomebodyElse(t *testing.T) {
	f := newFake(t)
	j, err := rehearse(t, f, stopDrill, Options{}, func(context.CancelFunc) {
		time.Sleep(8 * time.Second)
		f.mu.Lock()
		clear(f.broken)
		f.mu.Unlock()
	})
	if err != nil || j.Result != journal.Aborted || !strings.Contains(j.Reasons[0], "was ended by somebody else") {
		t.Errorf("%v: %s %q", err, j.Result, j.Reasons)
	}
}

// What is held lasts until it is let go.
func TestHold(t *testing.T) {
	f := newFake(t)
	hold := make(chan struct{})
	j, err := rehearse(t, f, stopDrill, Options{Hold: hold}, func(context.CancelFunc) {
		time.Sleep(time.Minute)
		close(hold)
	})
	if err != nil || j.Result != journal.Passed {
		t.Fatalf("%v: %+v", err, j)
	}
	if length := j.Faults[0].EndedMS; length < 60_000 || length > 61_000 {
		t.Errorf("it was ended after %d ms", length)
	}
}

func TestStopCondition(t *testing.T) {
	f := newFake(t)
	text := strings.Replace(stopDrill, "debrief", "stop: elapsed > 4\ndebrief", 1)
	j, err := rehearse(t, f, text, Options{}, nil)
	if err != nil || j.Result != journal.Aborted || !strings.Contains(j.Reasons[0], "elapsed is 4") || len(f.broken) != 0 {
		t.Errorf("%v: %s %q", err, j.Result, j.Reasons)
	}
}

// Two faults one after the other: each ends in its time, and what is expected counts from the one that it names.
func TestTwoFaults(t *testing.T) {
	f := newFake(t)
	text := strings.Replace(stopDrill, "expect:\n", "  - {fault: stop, container: worker01, at: 5s, for: 4s}\nexpect:\n  - {see: the worker stands, when: 'container(\"worker01\") == \"exited\"', within: 2s, after: 2}\n", 1)
	j, err := rehearse(t, f, text, Options{}, nil)
	if err != nil || j.Result != journal.Passed {
		t.Fatalf("%v: %s %q", err, j.Result, j.Reasons)
	}
	if got := strings.Join(f.ended, ", "); got != "stop worker01, stop redis01" {
		t.Error(got)
	}
	if first, second := j.Faults[0], j.Faults[1]; second.InjectedMS-first.InjectedMS < 5000 || second.EndedMS >= first.EndedMS {
		t.Errorf("%+v, %+v", first, second)
	}
}

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drill.lock")
	unlock, err := Lock(path, "first", "somebody")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path, "second", "somebody else"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "drill first of somebody, process") {
		t.Errorf("got %v", err)
	}
	// Its holder gives no sign of life for long: it was stopped.
	old := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	stolen, err := Lock(path, "second", "somebody else")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := Lock(path, "third", "somebody"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "second") {
		t.Errorf("the first one's end freed the second's: %v", err)
	}
	stolen()
	free, err := Lock(path, "third", "somebody")
	if err != nil {
		t.Fatal(err)
	}
	free()
}
