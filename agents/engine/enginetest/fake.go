// Package enginetest has an engine in memory that behaves like Docker where the agent depends on it: names, states,
// restart policies, the order of events, what an overlay needs, and what a shutdown or a crash leaves behind. It does as much as the
// tests of other packages need and no more; package engine's own tests hold it against a real engine.
package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/agents/engine"
)

// Engine is an engine in memory. It starts out running, empty, and in no swarm. It is safe for concurrent use.
type Engine struct {
	// Fail, when set, may refuse an operation: op is the method's name, object what it is about.
	Fail func(op, object string) error
	// Bundle is what Load finds in an archive, by the archive's whole content: references.
	Bundle map[string][]string
	// Registry holds the references that Pull finds.
	Registry []string

	mu         sync.Mutex
	down       bool
	sequence   int
	containers map[string]*engine.Container
	images     map[string]engine.Image
	networks   map[string]engine.Network
	volumes    map[string]map[string]string
	swarm      engine.Swarm
	members    []engine.Member
	events     []engine.Event
	// life is closed when the engine goes down; news whenever there is an event.
	life, news chan struct{}
	calls      map[string]int
}

// New returns a running engine.
func New() *Engine {
	return &Engine{
		containers: map[string]*engine.Container{}, images: map[string]engine.Image{}, volumes: map[string]map[string]string{},
		networks: map[string]engine.Network{"bridge": {ID: "bridge", Name: "bridge"}},
		swarm:    engine.Swarm{State: engine.SwarmInactive},
		life:     make(chan struct{}), news: make(chan struct{}), calls: map[string]int{},
	}
}

// backlog is how many past events an engine remembers.
const backlog = 256

// enter locks the engine for an operation, unless that fails.
func (e *Engine) enter(op, object string) error {
	e.mu.Lock()
	e.calls[op]++
	err := error(nil)
	if e.down {
		err = fmt.Errorf("%s %s: %w", op, object, engine.ErrUnavailable)
	} else if e.Fail != nil {
		err = e.Fail(op, object)
	}
	if err != nil {
		e.mu.Unlock()
	}
	return err
}

// Calls returns how often a method was called.
func (e *Engine) Calls(op string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[op]
}

func (e *Engine) id(kind string) string {
	e.sequence++
	return kind + strconv.Itoa(e.sequence)
}

func (e *Engine) emit(event engine.Event) {
	event.At = time.Now()
	if n := len(e.events); n > 0 && !event.At.After(e.events[n-1].At) {
		event.At = e.events[n-1].At.Add(1) // as in Docker, no two at once
	}
	e.events = append(e.events, event)
	e.events = e.events[max(0, len(e.events)-backlog):]
	close(e.news)
	e.news = make(chan struct{})
}

func (e *Engine) notify(c *engine.Container, action string, more ...func(*engine.Event)) {
	event := engine.Event{Type: "container", Action: action, ID: c.ID, Name: c.Spec.Name}
	for _, m := range more {
		m(&event)
	}
	e.emit(event)
}

func (e *Engine) find(id string) (*engine.Container, error) {
	if c, ok := e.containers[id]; ok {
		return c, nil
	}
	for _, c := range e.containers {
		if c.Spec.Name == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("container %s: %w", id, engine.ErrNotFound)
}

// Info answers like a running engine.
func (e *Engine) Info(context.Context) (engine.Info, error) {
	if err := e.enter("Info", ""); err != nil {
		return engine.Info{}, err
	}
	defer e.mu.Unlock()
	return engine.Info{Version: "fake", Swarm: e.swarm}, nil
}

// Ping fails when the engine is down.
func (e *Engine) Ping(context.Context) error {
	if err := e.enter("Ping", ""); err != nil {
		return err
	}
	e.mu.Unlock()
	return nil
}

// Containers lists all containers.
func (e *Engine) Containers(context.Context) ([]engine.Listed, error) {
	if err := e.enter("Containers", ""); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	var out []engine.Listed
	for _, c := range e.containers {
		out = append(out, engine.Listed{ID: c.ID, Name: c.Spec.Name, State: c.State})
	}
	slices.SortFunc(out, func(a, b engine.Listed) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Container inspects a container.
func (e *Engine) Container(_ context.Context, id string) (engine.Container, error) {
	if err := e.enter("Container", id); err != nil {
		return engine.Container{}, err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return engine.Container{}, err
	}
	out := *c
	out.Endpoints = maps.Clone(c.Endpoints)
	return out, nil
}

// Create makes a container in state "created".
func (e *Engine) Create(_ context.Context, spec engine.Spec) (string, error) {
	if err := e.enter("Create", spec.Name); err != nil {
		return "", err
	}
	defer e.mu.Unlock()
	image, ok := e.images[engine.Reference(spec.Image)]
	if !ok {
		return "", fmt.Errorf("create %s: image %s: %w", spec.Name, spec.Image, engine.ErrNotFound)
	}
	if _, err := e.find(spec.Name); err == nil {
		return "", fmt.Errorf("create %s: the name is taken: %w", spec.Name, engine.ErrConflict)
	}
	if spec.Restart == "" {
		spec.Restart = engine.RestartNo
	}
	c := &engine.Container{
		ID: e.id("container-"), Created: time.Now(), State: engine.StateCreated, ImageID: image.ID, Spec: spec,
		Endpoints: map[string]engine.Endpoint{},
	}
	for _, n := range spec.Networks {
		c.Endpoints[n.Network] = engine.Endpoint{}
	}
	for _, m := range spec.Mounts {
		if m.Volume != "" && e.volumes[m.Volume] == nil {
			e.volumes[m.Volume] = map[string]string{}
		}
	}
	e.containers[c.ID] = c
	e.notify(c, "create")
	return c.ID, nil
}

// Start runs a container; it fails as long as one of its networks is not to be had.
func (e *Engine) Start(_ context.Context, id string) error {
	if err := e.enter("Start", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if c.State == engine.StateRunning {
		return nil
	}
	c.Restarts = 0 // it counts those since the last start from outside
	return e.run(c)
}

func (e *Engine) run(c *engine.Container) error {
	for name := range c.Endpoints {
		endpoint, err := e.attach(name)
		if err != nil {
			c.Error, c.ExitCode = err.Error(), 128
			if c.State != engine.StateCreated {
				c.State = engine.StateExited
			}
			return fmt.Errorf("start %s: %w", c.Spec.Name, err)
		}
		c.Endpoints[name] = endpoint
	}
	e.sequence++
	c.State, c.PID, c.Error, c.ExitCode, c.StartedAt = engine.StateRunning, 1000+e.sequence, "", 0, time.Now()
	e.notify(c, "start")
	return nil
}

// attach allocates an endpoint. An overlay shows on a worker once something is on it, and not before.
func (e *Engine) attach(name string) (engine.Endpoint, error) {
	n, ok := e.networks[name]
	if !ok && e.swarm.State == engine.SwarmActive && !e.swarm.Manager {
		n, ok = engine.Network{ID: name + "-id", Name: name, Overlay: true, Attachable: true}, true
		e.networks[name] = n
	}
	if !ok {
		return engine.Endpoint{}, fmt.Errorf("network %s: %w", name, engine.ErrNotFound)
	}
	if n.Overlay && e.swarm.State != engine.SwarmActive {
		return engine.Endpoint{}, fmt.Errorf("network %s: this node is not in a swarm", name)
	}
	e.sequence++
	return engine.Endpoint{
		NetworkID: n.ID, EndpointID: e.id("ep"), Address: fmt.Sprintf("10.33.%d.%d", e.sequence>>8&255, e.sequence&255),
	}, nil
}

func withExitCode(code int) func(*engine.Event) {
	return func(ev *engine.Event) { ev.ExitCode = strconv.Itoa(code) }
}

func withSignal(signal int) func(*engine.Event) {
	return func(ev *engine.Event) { ev.Signal = strconv.Itoa(signal) }
}

// end makes a running container exit. When the exit was asked for, no restart policy mends it.
func (e *Engine) end(c *engine.Container, code int, asked bool) {
	c.PID, c.ExitCode, c.FinishedAt = 0, code, time.Now()
	for name, endpoint := range c.Endpoints {
		endpoint.Address = ""
		c.Endpoints[name] = endpoint
	}
	again := !asked && (c.Spec.Restart == engine.RestartAlways || c.Spec.Restart == engine.RestartUnlessStopped ||
		c.Spec.Restart == engine.RestartOnFailure && code != 0)
	c.State = engine.StateExited
	e.notify(c, "die", withExitCode(code))
	if again {
		c.Restarts++
		_ = e.run(c) // else Docker gives up
	}
}

const (
	sigkill = 9
	sigterm = 15
)

func (e *Engine) kill(c *engine.Container, signal int) {
	e.notify(c, "kill", withSignal(signal))
	e.end(c, 128+signal, true)
}

// Stop ends a container as `docker stop` does.
func (e *Engine) Stop(_ context.Context, id string) error {
	if err := e.enter("Stop", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if c.State == engine.StateRunning {
		e.kill(c, sigterm)
		e.notify(c, "stop")
	}
	return nil
}

// Kill ends a container as `docker kill` does.
func (e *Engine) Kill(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if c.State != engine.StateRunning {
		return fmt.Errorf("kill %s: it is %s: %w", id, c.State, engine.ErrConflict)
	}
	e.kill(c, sigkill)
	return nil
}

// Crash ends a container's main process from inside, with an exit code.
func (e *Engine) Crash(id string, code int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	e.end(c, code, false)
	return nil
}

// Pause freezes a container.
func (e *Engine) Pause(_ context.Context, id string) error {
	if err := e.enter("Pause", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	c.State = engine.StatePaused
	e.notify(c, "pause")
	return nil
}

// Unpause lets a container go on.
func (e *Engine) Unpause(_ context.Context, id string) error {
	if err := e.enter("Unpause", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	c.State = engine.StateRunning
	e.notify(c, "unpause")
	return nil
}

// Remove removes a container as `docker rm -f -v` does.
func (e *Engine) Remove(_ context.Context, id string) error {
	if err := e.enter("Remove", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if c.State == engine.StateRunning {
		e.kill(c, sigkill)
	}
	delete(e.containers, c.ID)
	e.notify(c, "destroy")
	return nil
}

// Signal reaches a running container's process; KILL ends it, as a crash does.
func (e *Engine) Signal(_ context.Context, id, signal string) error {
	if err := e.enter("Signal", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err == nil && c.State != engine.StateRunning {
		err = fmt.Errorf("signal %s: it is %s: %w", id, c.State, engine.ErrConflict)
	}
	if err == nil && signal == "KILL" {
		e.end(c, 128+sigkill, false)
	}
	return err
}

// Image looks an image up.
func (e *Engine) Image(_ context.Context, ref string) (engine.Image, error) {
	if err := e.enter("Image", ref); err != nil {
		return engine.Image{}, err
	}
	defer e.mu.Unlock()
	image, ok := e.images[engine.Reference(ref)]
	if !ok {
		return engine.Image{}, fmt.Errorf("image %s: %w", ref, engine.ErrNotFound)
	}
	return image, nil
}

// AddImage puts an image into the store.
func (e *Engine) AddImage(ref string, labels map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addImage(ref, labels)
}

func (e *Engine) addImage(ref string, labels map[string]string) {
	e.images[engine.Reference(ref)] = engine.Image{ID: e.id("image-"), Labels: labels}
	e.emit(engine.Event{Type: "image", Action: "tag", Name: ref})
}

// Load reads an archive; see Bundle.
func (e *Engine) Load(_ context.Context, archive io.Reader) error {
	content, err := io.ReadAll(archive)
	if err != nil {
		return err
	}
	if err := e.enter("Load", ""); err != nil {
		return err
	}
	defer e.mu.Unlock()
	for _, ref := range e.Bundle[string(content)] {
		e.addImage(ref, nil)
	}
	return nil
}

// Pull fetches from Registry.
func (e *Engine) Pull(_ context.Context, ref string) error {
	if err := e.enter("Pull", ref); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if !slices.Contains(e.Registry, ref) {
		return fmt.Errorf("pull %s: no registry in reach", ref)
	}
	e.addImage(ref, nil)
	return nil
}

// Build reads the folder and keeps nothing of it but the labels.
func (e *Engine) Build(_ context.Context, ref string, folder io.Reader, labels map[string]string) error {
	content, err := io.ReadAll(folder)
	if err != nil {
		return err
	}
	if !bytes.Contains(content, []byte("Dockerfile")) {
		return errors.New("build " + ref + ": no Dockerfile")
	}
	if err := e.enter("Build", ref); err != nil {
		return err
	}
	defer e.mu.Unlock()
	e.addImage(ref, labels)
	return nil
}

// RemoveImage removes an image that no container uses.
func (e *Engine) RemoveImage(_ context.Context, ref string) error {
	if err := e.enter("RemoveImage", ref); err != nil {
		return err
	}
	defer e.mu.Unlock()
	image, ok := e.images[engine.Reference(ref)]
	if !ok {
		return fmt.Errorf("image %s: %w", ref, engine.ErrNotFound)
	}
	for _, c := range e.containers {
		if c.ImageID == image.ID {
			return fmt.Errorf("image %s: %s uses it: %w", ref, c.Spec.Name, engine.ErrConflict)
		}
	}
	delete(e.images, engine.Reference(ref))
	return nil
}

// Networks lists the networks.
func (e *Engine) Networks(context.Context) ([]engine.Network, error) {
	if err := e.enter("Networks", ""); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.networks)), nil
}

// AddNetwork makes a network manually.
func (e *Engine) AddNetwork(n engine.Network) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks[n.Name] = n
	e.emit(engine.Event{Type: "network", Action: "create", Name: n.Name})
}

// CreateOverlay makes an attachable overlay, on a manager.
func (e *Engine) CreateOverlay(_ context.Context, name, _ string, labels map[string]string) error {
	if err := e.enter("CreateOverlay", name); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if e.swarm.State != engine.SwarmActive || !e.swarm.Manager {
		return fmt.Errorf("create network %s: this node is not a swarm manager", name)
	}
	if _, ok := e.networks[name]; ok {
		return fmt.Errorf("create network %s: it exists: %w", name, engine.ErrConflict)
	}
	e.networks[name] = engine.Network{ID: e.id("network-"), Name: name, Overlay: true, Attachable: true, Labels: labels}
	e.emit(engine.Event{Type: "network", Action: "create", Name: name})
	return nil
}

// RemoveNetwork removes a network that nothing uses.
func (e *Engine) RemoveNetwork(_ context.Context, name string) error {
	if err := e.enter("RemoveNetwork", name); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if _, ok := e.networks[name]; !ok {
		return fmt.Errorf("network %s: %w", name, engine.ErrNotFound)
	}
	delete(e.networks, name)
	e.emit(engine.Event{Type: "network", Action: "remove", Name: name})
	return nil
}

// Connect attaches a container.
func (e *Engine) Connect(_ context.Context, id string, to engine.Attachment) error {
	if err := e.enter("Connect", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	endpoint := engine.Endpoint{}
	if c.State == engine.StateRunning {
		if endpoint, err = e.attach(to.Network); err != nil {
			return err
		}
	}
	c.Endpoints[to.Network] = endpoint
	e.emit(engine.Event{Type: "network", Action: "connect", Name: to.Network, Container: c.ID})
	return nil
}

// Disconnect takes a container off a network.
func (e *Engine) Disconnect(_ context.Context, id, from string) error {
	if err := e.enter("Disconnect", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if _, ok := c.Endpoints[from]; !ok {
		return fmt.Errorf("disconnect %s from %s: %w", id, from, engine.ErrNotFound)
	}
	delete(c.Endpoints, from)
	e.emit(engine.Event{Type: "network", Action: "disconnect", Name: from, Container: c.ID})
	return nil
}

// Detach makes a running container lose its address without a word, as a broken overlay does.
func (e *Engine) Detach(id, from string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	c.Endpoints[from] = engine.Endpoint{}
	return nil
}

// CreateVolume makes a volume.
func (e *Engine) CreateVolume(_ context.Context, name string, labels map[string]string) error {
	if err := e.enter("CreateVolume", name); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if e.volumes[name] == nil {
		e.volumes[name] = maps.Clone(labels)
	}
	return nil
}

// Volumes lists volumes by label.
func (e *Engine) Volumes(_ context.Context, label, value string) ([]string, error) {
	if err := e.enter("Volumes", label); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	var names []string
	for name, labels := range e.volumes {
		if labels[label] == value {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// VolumeFolder names a folder that is not there.
func (e *Engine) VolumeFolder(_ context.Context, name string) (string, error) {
	if err := e.enter("VolumeFolder", name); err != nil {
		return "", err
	}
	defer e.mu.Unlock()
	if e.volumes[name] == nil {
		return "", fmt.Errorf("volume %s: %w", name, engine.ErrNotFound)
	}
	return "/volumes/" + name, nil
}

// RemoveVolume removes a volume that nothing uses.
func (e *Engine) RemoveVolume(_ context.Context, name string) error {
	if err := e.enter("RemoveVolume", name); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if _, ok := e.volumes[name]; !ok {
		return fmt.Errorf("volume %s: %w", name, engine.ErrNotFound)
	}
	for _, c := range e.containers {
		for _, m := range c.Spec.Mounts {
			if m.Volume == name {
				return fmt.Errorf("volume %s: %s uses it: %w", name, c.Spec.Name, engine.ErrConflict)
			}
		}
	}
	delete(e.volumes, name)
	return nil
}

// InitSwarm makes this engine a manager.
func (e *Engine) InitSwarm(_ context.Context, in engine.SwarmInit) error {
	if err := e.enter("InitSwarm", in.Address); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if e.swarm.State != engine.SwarmInactive {
		return fmt.Errorf("init: this node is in a swarm: %w", engine.ErrConflict)
	}
	e.swarm = engine.Swarm{State: engine.SwarmActive, NodeID: e.id("node"), Manager: true, ClusterID: e.id("cluster")}
	e.members = []engine.Member{{ID: e.swarm.NodeID, Hostname: "self", State: "ready", Address: in.Address}}
	return nil
}

// JoinSwarm makes this engine a worker; the token is the cluster's id.
func (e *Engine) JoinSwarm(_ context.Context, in engine.SwarmJoin) error {
	if err := e.enter("JoinSwarm", in.Manager); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if e.swarm.State != engine.SwarmInactive {
		return fmt.Errorf("join: this node is in a swarm: %w", engine.ErrConflict)
	}
	e.swarm = engine.Swarm{State: engine.SwarmActive, NodeID: e.id("node"), ClusterID: in.Token}
	return nil
}

// LeaveSwarm leaves, and takes the containers off its overlays.
func (e *Engine) LeaveSwarm(context.Context) error {
	if err := e.enter("LeaveSwarm", ""); err != nil {
		return err
	}
	defer e.mu.Unlock()
	for name, n := range e.networks {
		if !n.Overlay {
			continue
		}
		for _, c := range e.containers {
			delete(c.Endpoints, name) // it runs on, cut off
		}
		delete(e.networks, name)
	}
	e.swarm, e.members = engine.Swarm{State: engine.SwarmInactive}, nil
	return nil
}

// SetSwarm puts the engine into a swarm manually.
func (e *Engine) SetSwarm(s engine.Swarm, members ...engine.Member) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.swarm, e.members = s, members
	e.emit(engine.Event{Type: "node", Action: "update"})
}

// WorkerToken is the cluster's id.
func (e *Engine) WorkerToken(context.Context) (string, error) {
	if err := e.enter("WorkerToken", ""); err != nil {
		return "", err
	}
	defer e.mu.Unlock()
	return e.swarm.ClusterID, nil
}

// Members lists the swarm.
func (e *Engine) Members(context.Context) ([]engine.Member, error) {
	if err := e.enter("Members", ""); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	return slices.Clone(e.members), nil
}

// RemoveMember strikes a node off.
func (e *Engine) RemoveMember(_ context.Context, id string) error {
	if err := e.enter("RemoveMember", id); err != nil {
		return err
	}
	defer e.mu.Unlock()
	e.members = slices.DeleteFunc(e.members, func(m engine.Member) bool { return m.ID == id })
	return nil
}

// Events replays what is remembered since then and goes on until the engine goes down.
func (e *Engine) Events(ctx context.Context, since time.Time, handle func(engine.Event)) error {
	if err := e.enter("Events", ""); err != nil {
		return err
	}
	life := e.life
	e.mu.Unlock()
	last := since
	for {
		e.mu.Lock()
		news := e.news
		var fresh []engine.Event
		for _, event := range e.events {
			if !event.At.Before(last) {
				fresh = append(fresh, event)
			}
		}
		e.mu.Unlock()
		for _, event := range fresh {
			handle(event)
			last = event.At.Add(1)
		}
		select {
		case <-news:
		case <-life:
			return fmt.Errorf("events: %w", engine.ErrUnavailable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Logs gives two lines.
func (e *Engine) Logs(_ context.Context, id string, _ engine.LogOptions, line func(string, bool) error) error {
	if err := e.enter("Logs", id); err != nil {
		return err
	}
	e.mu.Unlock()
	return errors.Join(line("out of "+id, false), line("err of "+id, true))
}

// Shutdown stops the engine in order: it kills its containers, with the same events as a manual stop, and goes down. While
// told is not nil it is called between the two.
func (e *Engine) Shutdown(told func()) {
	e.mu.Lock()
	for _, c := range e.containers {
		if c.State == engine.StateRunning {
			e.kill(c, sigterm)
		}
	}
	e.mu.Unlock()
	if told != nil {
		told()
	}
	e.Die()
}

// Die ends the engine as a crash or a power loss does.
func (e *Engine) Die() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = true
	close(e.life)
}

// Boot starts the engine again. It has forgotten its events, and as the lab's engines are told it starts no container:
// those that ran when it died have ended.
func (e *Engine) Boot() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down, e.life, e.events = false, make(chan struct{}), nil
	for _, c := range e.containers {
		if c.State == engine.StateRunning || c.State == engine.StatePaused {
			e.end(c, 255, true)
		}
	}
}
