package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/votes/load"
)

// run is one drill under way. All but the observer belongs to the goroutine of Run.
type run struct {
	*Runner
	drill    *drill.Drill
	options  Options
	begun    time.Time
	observer *observer
	journal  *journal.Journal
	// homes are the nodes of the containers that there were in the steady state.
	homes  map[string]string
	steady []drill.Check
	checks []*pending
	faults []*held
	// news come from the goroutines that break and mend: what they have to say is done by the run's own.
	news chan func()
	// votes is the load, once it has begun.
	votes      *casting
	cpuSamples cpuSamples
	phase      string
	// stood is for how long the drill's clock stood still until it was looked at last, at ticked.
	stood  time.Duration
	ticked time.Time
	// left says how much of the phase is left.
	left func(now time.Time) time.Duration
	// aborted is why the drill ends before its time; wrong and late are what else speaks against it.
	aborted   string
	wrong     []string
	late      []string
	undecided []string
}

// casting is the load of a run.
type casting struct {
	stop    context.CancelFunc
	abandon chan struct{}
	done    chan struct{}
	// These hold once done is closed.
	summary load.Summary
	ledger  string
	err     error
}

// end stops the casting of votes and waits for those on their way, or gives them up.
func (c *casting) end(abandon bool) {
	if abandon {
		close(c.abandon)
	}
	c.stop()
	<-c.done
}

func (r *run) all(ctx context.Context) (*journal.Journal, error) {
	r.news = make(chan func(), 16)
	if err := r.awaitSteady(ctx); err != nil {
		return nil, err
	}
	r.cast(ctx)
	if err := r.awaitFlow(ctx); err != nil {
		r.votes.end(true)
		return nil, err
	}
	written := r.save()
	r.breakThings(ctx)
	r.recover(ctx)
	if r.aborted == "" {
		r.begin(phaseAfter)
		r.wait(ctx, r.drill.Load.After)
	}
	r.votes.end(r.aborted != "")
	r.assess(ctx)
	return r.journal, errors.Join(written, r.save())
}

// begin begins a phase.
func (r *run) begin(phase string) {
	now := r.observer.at(time.Now())
	r.endPhase(now)
	r.phase = phase
	r.left = func(time.Time) time.Duration { return 0 }
	r.journal.Phases = append(r.journal.Phases, journal.Phase{Name: phase, BegunMS: now})
	r.emit(Plain, "")
}

func (r *run) endPhase(now int64) {
	if n := len(r.journal.Phases); n > 0 && r.journal.Phases[n-1].EndedMS == 0 {
		r.journal.Phases[n-1].EndedMS = now
	}
}

// emit tells how it goes.
func (r *run) emit(tone Tone, format string, args ...any) {
	now := time.Now()
	s := r.env(now, now)
	r.options.Tell(Update{
		At: now.Sub(r.begun), Phase: r.phase, Left: r.left(now), Accepted: s.Accepted, Failed: s.Failed, Queued: s.Queued, Counted: s.Counted,
		Broken: r.phase == phaseFault,
		Line:   fmt.Sprintf(format, args...), Tone: tone,
	})
}

// env is what conditions see now, with times from a moment on.
func (r *run) env(now, from time.Time) drill.Env {
	p := r.observer.now()
	return p.env(r.homes, now, now.Sub(from))
}

func (r *run) save() error {
	r.observer.write(r.journal)
	return journal.Write(r.Lab.JournalDir(), r.journal)
}

// loop takes in what happens until the condition is true, and reports whether it became true before ctx ended or the drill was aborted.
func (r *run) loop(ctx context.Context, until func(now time.Time) bool) bool {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	told := time.Time{}
	for {
		now := time.Now()
		r.steal(now)
		r.look(now)
		if until(now) {
			return true
		}
		if now.Sub(told) >= 5*tickEvery {
			told = now
			r.emit(Plain, "")
		}
		select {
		case <-ctx.Done():
			return false
		case what := <-r.news:
			what()
		case <-r.observer.news:
		case <-tick.C:
		}
	}
}

// wait lets time pass.
func (r *run) wait(ctx context.Context, length time.Duration) {
	end := time.Now().Add(length)
	r.left = func(now time.Time) time.Duration { return max(end.Sub(now), 0) }
	if !r.loop(ctx, func(now time.Time) bool { return r.aborted != "" || !now.Before(end) }) {
		r.abort(ctx)
	}
}

// abort notes why ctx ended.
func (r *run) abort(ctx context.Context) {
	if r.aborted != "" {
		return
	}
	r.aborted = whyEnded(ctx)
	r.emit(Warning, "aborted: %s", r.aborted)
}

// whyEnded says why ctx ended.
func whyEnded(ctx context.Context) string {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	return "it was interrupted"
}

// awaitSteady refuses a drill on a lab that does not get into its steady state, or that lacks what the drill names.
func (r *run) awaitSteady(ctx context.Context) error {
	var err error
	if r.steady, err = drill.Steady(); err != nil {
		return err
	}
	r.steady = append(r.steady, r.drill.Steady...)
	if why := Unable(r.drill, r.Lab.Provider, fleet.View{}); why != "" {
		return refused("%s", why)
	}
	r.begin(phaseSteady)
	end := time.Now().Add(r.longer(r.options.SteadyWithin, backAtLeast))
	r.left = func(now time.Time) time.Duration { return max(end.Sub(now), 0) }
	var missing []string
	r.loop(ctx, func(now time.Time) bool {
		missing, err = r.unsteady(now)
		return err != nil || len(missing) == 0 || now.After(end)
	})
	switch {
	case err != nil:
		return refused("%w", err)
	case ctx.Err() != nil:
		return refused("%s, before anything was broken", whyEnded(ctx))
	case len(missing) > 0:
		return refused("the lab is not in its steady state: %s; `lab status` shows more", strings.Join(missing, "; "))
	}
	r.observer.settle()
	if err := r.checkTargets(); err != nil {
		return err
	}
	r.emit(Good, "the lab is in its steady state")
	return nil
}

// unsteady tells what is missing for the steady state.
func (r *run) unsteady(now time.Time) ([]string, error) {
	p := r.observer.now()
	for _, n := range r.Lab.Topology.Nodes {
		if !p.heard[n.Name] {
			return []string{"nothing was heard of " + n.Name + " yet"}, nil
		}
	}
	if p.servers == nil && p.voting == 0 {
		return []string{"the balancer does not answer"}, nil
	}
	r.homes = p.homes()
	return r.missing(now)
}

// missing tells what conditions of the steady state do not hold.
func (r *run) missing(now time.Time) ([]string, error) {
	env := r.env(now, now)
	var missing []string
	for _, c := range r.steady {
		holds, err := c.When.Holds(env)
		if err != nil {
			return nil, err
		}
		if !holds {
			missing = append(missing, fmt.Sprintf("not satisfied: %s (%s)", c.See, c.When.Saw(env)))
		}
	}
	return missing, nil
}

// checkTargets makes sure that all that the drill names is there.
func (r *run) checkTargets() error {
	now := time.Now()
	env := r.env(now, now)
	if why := Unable(r.drill, r.Lab.Provider, r.observer.now().view); why != "" {
		return refused("%s", why)
	}
	var errs []error
	for _, err := range absent(r.drill, r.Lab.Topology, r.homes, env) {
		errs = append(errs, refused("%w", err))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, c := range slices.Concat(r.drill.Expect, r.drill.Recover) {
		if _, err := c.When.Holds(env); err != nil {
			errs = append(errs, refused("%w", err))
		}
	}
	if r.drill.Stop.Set() {
		switch stop, err := r.drill.Stop.Holds(env); {
		case err != nil:
			errs = append(errs, refused("%w", err))
		case stop:
			errs = append(errs, refused("%w", r.drill.Stop.Mistake("what is to stop it holds already: %s", r.drill.Stop.Text)))
		}
	}
	return errors.Join(errs...)
}

// Check finds what a drill names and a lab does not have, before anything is done. view is what is known of the lab's nodes: a container that is on
// none of them is missed only where all of them tell.
func Check(d *drill.Drill, nodes *topology.Topology, view fleet.View) error {
	for _, n := range nodes.Nodes {
		if _, ok := view.Node(n.Name); !ok {
			view.Nodes = append(view.Nodes, fleet.NodeView{Node: n})
		}
	}
	p := state{view: view}
	homes := p.homes()
	for _, n := range view.Nodes {
		if n.Snapshot == nil {
			homes = nil
		}
	}
	env := p.env(homes, time.Time{}, 0)
	if homes == nil {
		env.Container = func(string) (string, error) { return away, nil }
		untold := func(string) (bool, error) { return false, nil }
		env.Restarted, env.Died, env.Connected = untold, untold, untold
	}
	return errors.Join(absent(d, nodes, homes, env)...)
}

// absent finds what a drill names and is not there. homes are the nodes of all containers; nil: nobody knows which there are.
func absent(d *drill.Drill, nodes *topology.Topology, homes map[string]string, env drill.Env) []error {
	var errs []error
	for _, i := range d.Inject {
		names := i.Peers
		switch {
		case i.Container == "":
			names = append([]string{i.Node}, names...)
		case homes != nil && homes[i.Container] == "":
			errs = append(errs, i.Mistake("%w", drill.NoSuchError{What: "container " + i.Container}))
		}
		for _, name := range names {
			if _, ok := nodes.Node(name); !ok {
				errs = append(errs, i.Mistake("%w", drill.NoSuchError{What: "node " + name}))
			}
		}
	}
	for _, c := range slices.Concat(d.Steady, d.Expect, d.Recover) {
		if err := c.When.Check(env); err != nil {
			errs = append(errs, err)
		}
	}
	if d.Stop.Set() {
		if err := d.Stop.Check(env); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// cast begins the load. It ends when it is told to, not with ctx: votes that are on their way come to their end.
func (r *run) cast(ctx context.Context) {
	r.begin(phaseLoad)
	voting, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &casting{stop: stop, abandon: make(chan struct{}), done: make(chan struct{})}
	plan := load.Plan{
		URL: r.Lab.VotingURL(), Change: r.drill.Load.Change, Rate: r.drill.Load.Rate, Concurrency: connections, Patience: r.longer(patience, 0),
		Seed: uint64(r.begun.UnixNano()) & math.MaxUint32, Abort: c.abandon,
	}
	r.votes = c
	go func() {
		defer close(c.done)
		c.summary, c.ledger, c.err = r.Voters.Cast(voting, plan, r.observer.reported)
	}()
}

// awaitFlow refuses a drill whose votes do not flow, or whose machine cannot do what it wants.
func (r *run) awaitFlow(ctx context.Context) error {
	begun := time.Now()
	r.left = func(now time.Time) time.Duration { return max(begun.Add(r.drill.Load.Before).Sub(now), 0) }
	flows, calm, ended := false, false, false
	through := r.loop(ctx, func(now time.Time) bool {
		select {
		case <-r.votes.done:
			ended = true
		default:
		}
		s := r.env(now, begun)
		flows = s.Accepted >= r.drill.Load.Rate/2
		passed, limit := now.Sub(begun), r.drill.Load.Before+r.longer(flowWithin, backAtLeast)
		if calm = r.options.Untimed || r.cpuSamples.share() < Disturbed; !calm {
			limit += calmWithin
		}
		return ended || passed >= r.drill.Load.Before && (flows && calm || passed >= limit)
	})
	switch {
	case !through:
		return refused("%s, before anything was broken", whyEnded(ctx))
	case ended:
		return refused("no votes can be cast: %w", cmp.Or(r.votes.err, errors.New("the load ended by itself")))
	case !calm:
		return refused("this machine is kept from its processors: %s", withheld(r.cpuSamples.share()))
	case !flows:
		return refused("of %.0f votes per second that were cast, not half were accepted", r.drill.Load.Rate)
	}
	s := r.env(time.Now(), begun)
	r.emit(Good, "votes flow: %.0f a second", s.Accepted)
	return nil
}
