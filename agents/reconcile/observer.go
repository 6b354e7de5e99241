package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
)

// Inspector is what an Observer asks of an engine.
type Inspector interface {
	Info(ctx context.Context) (engine.Info, error)
	Containers(ctx context.Context) ([]engine.Listed, error)
	// Container returns engine.ErrNotFound for one that is gone, and may take as long as an operation that holds it.
	Container(ctx context.Context, id string) (engine.Container, error)
	// Image returns engine.ErrNotFound for one that the engine lacks.
	Image(ctx context.Context, ref string) (engine.Image, error)
	Networks(ctx context.Context) ([]engine.Network, error)
	// Members is only asked of a swarm manager.
	Members(ctx context.Context) ([]engine.Member, error)
}

// How long a look at the engine may take. A container that is held by an operation answers late: the look goes on
// with what was known of it, and another follows when the answer has come.
var (
	lookTimeout = timescale.Scale(10 * time.Second)
	patience    = timescale.Scale(400 * time.Millisecond)
	busyTimeout = timescale.Scale(90 * time.Second)
)

// Observer looks at an engine and remembers what it saw, so that a look costs the engine only what events say has
// changed. It is safe for concurrent use, except that looks exclude each other.
type Observer struct {
	engine Inspector
	// late is called when an answer came after its look.
	late func()
	// SettleTime is how long after the swarm became active nothing may join an overlay. The gossip between the engines has
	// not reached every peer before: a join would then exchange networks with a peer that does not know this node yet, and
	// wait 30 s for its answer.
	SettleTime time.Duration

	looking sync.Mutex
	mu      sync.Mutex
	// stale marks the parts that must be asked for again.
	staleInfo, staleList, staleNetworks bool
	info                                engine.Info
	members                             []engine.Member
	activeSince                         time.Time
	list                                []engine.Listed
	networks                            map[string]engine.Network
	images                              map[string]imageSeen
	containers                          map[string]*containerSeen
	asking                              sync.WaitGroup
}

type imageSeen struct {
	image engine.Image
	there bool
}

type containerSeen struct {
	known     bool
	container engine.Container
	// wanted counts the times it was marked as changed, seen the count that the known state covers.
	wanted, seen int
	asking       bool
	done         chan struct{}
}

// NewObserver returns an observer; late is called when a part of a look was answered after it.
func NewObserver(inspector Inspector, late func()) *Observer {
	o := &Observer{engine: inspector, late: late, SettleTime: settleTime}
	o.Forget()
	return o
}

// Forget makes the next look ask for everything.
func (o *Observer) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.staleInfo, o.staleList, o.staleNetworks = true, true, true
	o.images = map[string]imageSeen{}
	if o.containers == nil {
		o.containers = map[string]*containerSeen{}
	}
	for _, seen := range o.containers {
		seen.wanted++
	}
}

// Lost is Forget for an engine that went away: the next answers come from another life of it.
func (o *Observer) Lost() {
	o.Forget()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.activeSince = time.Time{}
}

// ForgetSwarm makes the next look ask for the swarm and the networks, of whose changes a worker's engine tells nothing.
func (o *Observer) ForgetSwarm() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.staleInfo, o.staleNetworks = true, true
}

// Touched makes the next look ask for what a step may have changed: its effect is there before the engine's event.
func (o *Observer) Touched(step Step) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch step.Kind {
	case InitSwarm, JoinSwarm, LeaveSwarm, ForgetMember:
		o.staleInfo, o.staleNetworks, o.staleList = true, true, true
	case CreateNetwork, AwaitNetwork:
		o.staleInfo, o.staleNetworks = true, true
	case ProvideImage, BuildImage:
		o.images = map[string]imageSeen{}
	default:
		o.staleList, o.staleNetworks = true, true
		if seen := o.containers[step.ID]; seen != nil {
			seen.wanted++
		}
	}
}

// Notice takes note of an engine's event and reports whether it may change what a look sees.
func (o *Observer) Notice(event engine.Event) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	mark := func(id string) {
		if seen := o.containers[id]; seen != nil {
			seen.wanted++
		}
	}
	switch event.Type {
	case "container":
		switch event.Action {
		case "create", "start", "restart", "die", "stop", "kill", "pause", "unpause", "destroy", "rename", "update", "oom":
			o.staleList = true
			mark(event.ID)
			if event.Action == "die" {
				// Leaving a swarm has no event of its own, but it ends what was attached.
				o.staleInfo = true
			}
			return true
		}
		return false
	case "network":
		o.staleNetworks = true
		if event.Action == "create" || event.Action == "destroy" || event.Action == "remove" {
			o.staleInfo = true
		}
		mark(event.Container)
		return true
	case "image":
		o.images = map[string]imageSeen{}
		return true
	case "node":
		o.staleInfo = true
		return true
	case "daemon":
		o.staleInfo, o.staleList, o.staleNetworks = true, true, true
		return true
	}
	return false
}

// Observe looks at the engine. Its context also bounds the questions that outlast the look.
func (o *Observer) Observe(ctx context.Context, desired Desired) Observed {
	o.looking.Lock()
	defer o.looking.Unlock()
	out := Observed{
		Networks: map[string]engine.Network{}, Images: map[string]engine.Image{},
		Containers: map[string]engine.Container{}, Busy: map[string]bool{},
		Written: map[string]string{}, Loaded: map[string]string{}, Stops: map[string]Stop{}, Stale: map[string]string{},
	}
	if err := o.refresh(ctx, desired); err != nil {
		out.EngineError = err.Error()
		o.Lost()
		return out
	}
	o.inspect(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	out.EngineVersion, out.Swarm = o.info.Version, o.info.Swarm
	out.Members = o.members
	o.settle(&out, time.Now())
	if desired.Membership != MembershipNone && o.info.Swarm.State != engine.SwarmActive {
		o.staleInfo = true // no event tells when a join is through
	}
	for name, n := range o.networks {
		out.Networks[name] = n
	}
	for ref, seen := range o.images {
		if seen.there {
			out.Images[ref] = seen.image
		}
	}
	for _, entry := range o.list {
		seen := o.containers[entry.ID]
		switch {
		case seen != nil && seen.known:
			out.Containers[seen.container.Spec.Name] = seen.container
		case seen != nil:
			out.Containers[entry.Name] = engine.Container{ID: entry.ID, State: entry.State, Spec: engine.Spec{Name: entry.Name}}
			out.Busy[entry.Name] = true
		}
	}
	return out
}

// settleTime is the default of SettleTime.
var settleTime = timescale.Scale(time.Second)

// settle tells whether the swarm of this life of the engine has been active for long enough.
func (o *Observer) settle(out *Observed, now time.Time) {
	if out.Swarm.State != engine.SwarmActive {
		o.activeSince = time.Time{}
		return
	}
	if o.activeSince.IsZero() {
		o.activeSince = now
	}
	if now.Sub(o.activeSince) < o.SettleTime {
		out.Settling = "this node has only just come (back) into the swarm: its peers are getting to know it"
	}
}

// Wait returns when no question to the engine is open any more; the context of the looks must have ended.
func (o *Observer) Wait() { o.asking.Wait() }

// refresh asks for everything but the single containers.
func (o *Observer) refresh(ctx context.Context, desired Desired) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	o.mu.Lock()
	info, list, networks := o.staleInfo, o.staleList, o.staleNetworks
	// Cleared before asking: what changes from now on marks them again.
	o.staleInfo, o.staleList, o.staleNetworks = false, false, false
	o.mu.Unlock()
	if info {
		got, err := o.engine.Info(ctx)
		if err != nil {
			return err
		}
		var members []engine.Member
		if got.Swarm.State == engine.SwarmActive && got.Swarm.Manager {
			// A manager that has just come back knows its members only once it leads again; the rest does not wait.
			if members, err = o.engine.Members(ctx); err != nil {
				members = nil
			}
		}
		o.mu.Lock()
		o.info, o.members = got, members
		if got.Swarm.Manager && members == nil {
			o.staleInfo = true
		}
		o.mu.Unlock()
	}
	if networks {
		got, err := o.engine.Networks(ctx)
		if err != nil {
			return err
		}
		byName := make(map[string]engine.Network, len(got))
		for _, n := range got {
			byName[n.Name] = n
		}
		o.mu.Lock()
		o.networks = byName
		o.mu.Unlock()
	}
	if list {
		got, err := o.engine.Containers(ctx)
		if err != nil {
			return err
		}
		o.mu.Lock()
		o.listed(got)
		o.mu.Unlock()
	}
	for i := range desired.Containers {
		if err := o.lookUp(ctx, desired.Containers[i].Spec.Image); err != nil {
			return err
		}
	}
	return nil
}

func (o *Observer) listed(list []engine.Listed) {
	o.list = list
	there := make(map[string]bool, len(list))
	for _, entry := range list {
		there[entry.ID] = true
		seen := o.containers[entry.ID]
		if seen == nil {
			seen = &containerSeen{wanted: 1}
			o.containers[entry.ID] = seen
		}
		if seen.known && (seen.container.State != entry.State || seen.container.Spec.Name != entry.Name) && !seen.asking {
			seen.wanted++ // an event was missed
		}
	}
	for id := range o.containers {
		if !there[id] {
			delete(o.containers, id)
		}
	}
}

func (o *Observer) lookUp(ctx context.Context, ref string) error {
	o.mu.Lock()
	_, known := o.images[ref]
	images := o.images
	o.mu.Unlock()
	if known {
		return nil
	}
	image, err := o.engine.Image(ctx, ref)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	// Into the map of before: an event that came meanwhile has replaced it.
	images[ref] = imageSeen{image: image, there: err == nil}
	return nil
}

// inspect asks for every container that changed, all at once, and waits for the answers a while.
func (o *Observer) inspect(ctx context.Context) {
	var open []chan struct{}
	o.mu.Lock()
	for id, seen := range o.containers {
		if seen.seen == seen.wanted {
			continue
		}
		if !seen.asking {
			seen.asking, seen.done = true, make(chan struct{})
			o.asking.Add(1)
			go o.ask(ctx, id, seen, seen.wanted, seen.done)
		}
		open = append(open, seen.done)
	}
	o.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, done := range open {
		select {
		case <-done:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (o *Observer) ask(ctx context.Context, id string, seen *containerSeen, covers int, done chan struct{}) {
	defer o.asking.Done()
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	container, err := o.engine.Container(ctx, id)
	o.mu.Lock()
	seen.asking = false
	switch {
	case err == nil:
		seen.known, seen.container, seen.seen = true, container, covers
	case errors.Is(err, engine.ErrNotFound):
		delete(o.containers, id)
		o.staleList = true
	default:
		// It stays marked; the next look asks again.
	}
	o.mu.Unlock()
	close(done)
	if time.Since(started) >= patience && ctx.Err() == nil {
		o.late()
	}
}
