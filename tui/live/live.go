// Package live ties the terminal UI to a running lab: it folds what is seen into moments, and does what the pages ask for.
package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/usage"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
	"github.com/swarmlab/swarmlab/lab/watch"
	"github.com/swarmlab/swarmlab/tui/world"
)

const (
	// momentEvery bounds how many moments there are: bursts become one.
	momentEvery = 80 * time.Millisecond
	tallyEvery  = time.Second
	// judgeWithin is how long a verdict waits for votes to be counted.
	judgeWithin = 30 * time.Second
	// steadyWithin is how long a drill waits for the steady state.
	steadyWithin = 15 * time.Second
	// logTail is how many lines are shown of what was before.
	logTail = 200
	// Votes that are cast from the UI.
	connections = 64
	change      = 0.2
	patience    = time.Minute
)

// Backend is a running lab.
type Backend struct {
	Lab         *settings.Lab
	Fleet       *fleet.Fleet
	PowerFaults *powerfault.PowerFaults
	Runner      *runner.Runner
	App         *client.Client
	// Untimed: how long things take in drills is not judged.
	Untimed bool

	mu     sync.Mutex
	voting context.CancelFunc
	// drilling is the drill under way; nil: none is. closed: none begins any more.
	drilling *drilling
	closed   bool
}

// drilling is a drill under way.
type drilling struct {
	id    string
	abort context.CancelCauseFunc
	// abandon is closed when nobody waits for the healing any more, over when the drill has ended.
	abandon, over chan struct{}
}

// errClosed aborts a drill.
var errClosed = errors.New("the terminal UI was closed")

// Feed streams moments until ctx ends; then it is closed.
func (l *Backend) Feed(ctx context.Context, source watch.Source) <-chan world.Model {
	f := &folder{world: world.New(l.Lab), news: make(chan struct{}, 1)}
	out := make(chan world.Model)
	var all sync.WaitGroup
	all.Go(func() { source.Run(ctx, f) })
	all.Go(func() {
		watch.PowerFaults(ctx, l.PowerFaults, f.powerFaults)
	})
	all.Go(func() {
		tick := time.NewTicker(tallyEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			once, cancel := context.WithTimeout(ctx, tallyEvery)
			tally, err := l.App.Tally(once)
			cancel()
			if err == nil {
				f.change(func(w world.Model) world.Model { w.Tally, w.TallyAt = tally, time.Now(); return w })
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	go func() {
		defer close(out)
		defer all.Wait()
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.news:
			}
			select {
			case <-ctx.Done():
				return
			case out <- f.now():
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(momentEvery):
			}
		}
	}()
	return out
}

// folder makes one world of all that is seen. What is as it was is no news: drawing costs more than looking.
type folder struct {
	mu    sync.Mutex
	world world.Model
	news  chan struct{}
}

var _ watch.Observer = (*folder)(nil)

func (f *folder) change(how func(world.Model) world.Model) {
	f.mu.Lock()
	f.world = how(f.world)
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *folder) now() world.Model {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.world
}

// Node implements watch.Observer.
func (f *folder) Node(u fleet.Update) {
	f.change(func(w world.Model) world.Model { return w.Updated(u, time.Now()) })
}

// Servers implements watch.Observer.
func (f *folder) Servers(servers map[string]bool) {
	if is := f.now().Servers; maps.Equal(is, servers) && (is == nil) == (servers == nil) {
		return
	}
	f.change(func(w world.Model) world.Model { w.Servers = servers; return w })
}

// Queues implements watch.Observer.
func (f *folder) Queues(queues []datastore.Queue) {
	f.change(func(w world.Model) world.Model { return w.Counted(queues, time.Now()) })
}

// Pages implements watch.Observer.
func (f *folder) Pages(voting, results int) {
	if is := f.now(); is.Voting == voting && is.Results == results {
		return
	}
	f.change(func(w world.Model) world.Model { w.Voting, w.Results = voting, results; return w })
}

func (f *folder) powerFaults(faults []powerfault.Fault) {
	if slices.Equal(f.now().PowerFaults, faults) {
		return
	}
	f.change(func(w world.Model) world.Model { w.PowerFaults = faults; return w })
}

// Break breaks a container or a node, as a lease.
func (l *Backend) Break(ctx context.Context, kind, node, container string, peers []string, lease time.Duration) error {
	if slices.Contains(powerfault.Kinds(), powerfault.Kind(kind)) {
		_, err := l.PowerFaults.Inject(ctx, powerfault.Kind(kind), node, lease, l.Runner.By)
		return err
	}
	_, err := l.Fleet.Inject(ctx, node, &agentv1.InjectRequest{
		Kind: kind, Container: container, Peers: peers, Lease: durationpb.New(lease), Holder: l.Runner.By,
	})
	return err
}

// Heal ends all faults; power comes first, since a dead node's agent can heal nothing.
func (l *Backend) Heal(ctx context.Context) error {
	_, power := l.PowerFaults.Heal(ctx)
	_, nodes := l.Fleet.Heal(ctx)
	return errors.Join(power, nodes)
}

// Logs streams a container's output, or the agent's journal.
func (l *Backend) Logs(ctx context.Context, node, container string, line func(text string)) error {
	return l.Fleet.Logs(ctx, node, fleet.LogOptions{Container: container, Follow: true, Tail: logTail}, func(text string, _ bool) error {
		line(text)
		return nil
	})
}

// Drill runs a drill, and leaves its page beside its journal.
func (l *Backend) Drill(ctx context.Context, d *drill.Drill, tell func(runner.Update)) (*journal.Journal, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run := &drilling{id: d.ID, abort: cancel, abandon: make(chan struct{}), over: make(chan struct{})}
	l.mu.Lock()
	if l.closed || l.drilling != nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("%w: another one runs, or the terminal UI was closed", runner.ErrRefused)
	}
	l.drilling = run
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.drilling = nil
		l.mu.Unlock()
		close(run.over)
	}()
	j, err := l.Runner.Run(ctx, d, runner.Options{SteadyWithin: steadyWithin, Untimed: l.Untimed, Tell: tell, Abandon: run.abandon})
	if j != nil {
		_, wrote := report.Write(l.Lab.JournalDir(), j)
		err = errors.Join(err, wrote)
	}
	return j, err
}

// EndDrill aborts the drill under way, and lets none begin any more. over is closed when it has healed and its journal is written; abandon has it not
// wait for the healing. A nil over says that there is no drill to wait for.
func (l *Backend) EndDrill() (id string, over <-chan struct{}, abandon func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	run := l.drilling
	if run == nil {
		return "", nil, nil
	}
	run.abort(errClosed)
	return run.id, run.over, sync.OnceFunc(func() { close(run.abandon) })
}

// Judge holds all ledgers of the lab against what it counted.
func (l *Backend) Judge(ctx context.Context) (verify.Verdict, error) {
	c, err := datastore.Open(l.Lab, l.Fleet)
	if err != nil {
		return verify.Verdict{}, err
	}
	defer c.Close() //nolint:errcheck // only read
	v := verify.Verifier{Lab: l.Lab, Datastore: c}
	return v.Settled(ctx, verify.Options{Timeout: judgeWithin}, func([]string) {})
}

// Vote casts votes in the background, at a rate, in place of those that are cast; 0 ends it. Each load keeps its ledger.
func (l *Backend) Vote(rate float64) error {
	l.EndVotes()
	if rate == 0 {
		return nil
	}
	plan := load.Plan{
		URL: l.Lab.VotingURL(), Rate: rate, Change: change, Concurrency: connections, Patience: patience, Seed: uint64(rand.Uint32()),
	}
	if err := plan.Validate(); err != nil {
		return fmt.Errorf("cast votes: %w", err)
	}
	using, end, err := usage.Begin(context.Background(), l.Lab, "votes of `lab tui`")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(using)
	l.mu.Lock()
	l.voting = cancel
	l.mu.Unlock()
	abort := make(chan struct{})
	plan.Abort = abort
	go func() {
		<-using.Done()
		close(abort) // it was ended, or nobody is there to answer
	}()
	go func() {
		defer end()
		// What went wrong with votes is in the ledger, which lab verify judges.
		_, _, _ = l.Runner.Voters.Cast(ctx, plan, nil)
	}()
	return nil
}

// EndVotes ends the casting of votes.
func (l *Backend) EndVotes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.voting != nil {
		l.voting()
		l.voting = nil
	}
}
