// Package node is the agent of one node: it wires the engine, the node's role, discovery and the reconcile loop
// together, keeps what must survive the agent, and answers for the node to package server.
//
// # Stages
//
// The desired stage is the one that was set last (kept in the state directory), at first the one in agent.yaml. The
// agent builds up to it and never beyond. Lowering it removes nothing: what lies above is left running and no longer
// looked after, as a learner would leave it; Reset is what takes down.
//
// # What survives
//
// Containers never depend on the agent: it may be killed, restarted or replaced at any time. It remembers over its own end
// the stage, which containers were stopped manually, which it stopped itself, and up to when it followed the engine's events.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/clock"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/discovery"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/fault"
	"github.com/swarmlab/swarmlab/agents/image"
	"github.com/swarmlab/swarmlab/agents/manualstop"
	"github.com/swarmlab/swarmlab/agents/overlayprobe"
	"github.com/swarmlab/swarmlab/agents/reconcile"
	"github.com/swarmlab/swarmlab/agents/rejoin"
	"github.com/swarmlab/swarmlab/agents/render"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/server"
)

const (
	// networkBits is the prefix length of each network out of the swarm's pool.
	networkBits = 24
	// heartbeat of the swarm's members.
	heartbeat = 5 * time.Second
	// auditLimit is the size, in bytes, at which the audit log is rotated.
	auditLimit = 1 << 20
)

// Paths are the places on a node.
type Paths struct {
	// State is the agent's own directory.
	State   string
	PKI     string
	Secrets string
	// Bundle and App hold image archives and build folders.
	Bundle string
	App    string
	// ProvisionHash is the file that says what was installed.
	ProvisionHash string
}

// DefaultPaths are those that provisioning makes.
func DefaultPaths() Paths {
	return Paths{
		State: "/var/lib/swarmlab", PKI: "/etc/swarmlab/pki", Secrets: "/etc/swarmlab/secrets",
		Bundle: "/opt/swarmlab/bundle", App: "/opt/swarmlab/app", ProvisionHash: "/etc/swarmlab/provision-hash",
	}
}

// Engine is the node's Docker engine; see [engine.Engine].
type Engine interface {
	reconcile.Inspector
	reconcile.Containers
	reconcile.Networks
	reconcile.Swarm
	image.Store
	engineEvents
	engineAdmin
	fault.Engine
}

type engineEvents interface {
	Events(ctx context.Context, since time.Time, handle func(engine.Event)) error
	Ping(ctx context.Context) error
	Logs(ctx context.Context, id string, options engine.LogOptions, line func(text string, stderr bool) error) error
}

type engineAdmin interface {
	WorkerToken(ctx context.Context) (string, error)
	RemoveNetwork(ctx context.Context, name string) error
	RemoveImage(ctx context.Context, ref string) error
	Volumes(ctx context.Context, label, value string) ([]string, error)
	RemoveVolume(ctx context.Context, name string) error
}

// Role is the node's role behind its plugin; see [role.Supervisor].
type Role interface {
	Plan(ctx context.Context, facts *rolev1.Facts) (*rolev1.PlanResponse, error)
	Check(ctx context.Context, facts *rolev1.Facts, secretsDir string) (*rolev1.CheckResponse, error)
	Status() role.Status
	Changed() <-chan struct{}
}

// Discovery tells other nodes what this one offers, and this one what the others do; see [discovery.Client].
type Discovery interface {
	Offer(services []*rolev1.Service)
	Follow(names []string)
	Instances() []*rolev1.Instance
	Status() discovery.Status
	Changed() <-chan struct{}
	Forget(ctx context.Context, node string) ([]string, error)
	Run(ctx context.Context) error
}

// Host is the node's operating system.
type Host interface {
	// Engine tells how the engine's unit does.
	Engine(ctx context.Context) (EngineUnit, error)
	// Ready tells the service manager that the agent is up.
	Ready()
	// Alive tells the service manager that the agent makes progress.
	Alive()
	// MTU of the interface with an address, in bytes.
	MTU(address string) (int, error)
	// Clock tells what keeps the node's clock. It takes a second at most.
	Clock(ctx context.Context) ClockKeeper
	fault.Units
	// Journal calls line for each line of the agent's own log.
	Journal(ctx context.Context, follow bool, tail int, line func(text string) error) error
}

// EngineUnit is the engine in the words of the service manager.
type EngineUnit struct {
	// State is the unit's, or "stopping" when the whole system is.
	State string
	// Running: it is neither starting nor stopping nor down.
	Running bool
	// Since is when it had started.
	Since time.Time
}

// ClockKeeper is what keeps a node's clock.
type ClockKeeper struct {
	Source agentv1.ClockSource
	// Tracking is chrony's word, unless Err says why there is none.
	Tracking clock.Tracking
	Err      error
}

// Node is the agent of one node. Make one with New.
type Node struct {
	config    Config
	paths     Paths
	engine    Engine
	role      Role
	discovery Discovery
	host      Host
	identity  server.Identity
	log       *slog.Logger
	version   string
	started   time.Time

	images   *image.Source
	secrets  render.Secrets
	files    reconcile.Files
	observer *reconcile.Observer
	loop     *reconcile.Loop
	tracker  *manualstop.Tracker
	state    *state
	hub      *hub
	link     *managerClient
	mesh     *overlayMonitor
	clock    *clockWatch
	faults   *fault.Keeper

	replan chan struct{}
	check  chan struct{}

	// judgeTimeout bounds the questions about a container that was killed.
	judgeTimeout time.Duration

	mu     sync.Mutex
	plan   planned
	status reconcile.Status
	health health
	// runs is when the running containers changed last: what the role said before is void.
	runs time.Time
	// changed is closed and replaced whenever status changes.
	changed chan struct{}
	// engineLife ends with the present life of the engine, by endLife; nil while there is none, for the reason engineError.
	engineLife  context.Context
	endLife     context.CancelFunc
	engineError string
	// impossible are the kinds of faults that this node cannot do, and what it lacks.
	impossible map[string]string
	// withdrawn: the node offers nothing, whatever runs, since it is being retired.
	withdrawn bool
	// queues: the role once told how much waits on the node, so that silence about it means nothing good.
	queues bool
	// busy is the reason why Reset or Retire holds the node; empty when neither does.
	busy string
}

// planned is the last plan that made sense.
type planned struct {
	known      bool
	plan       *rolev1.PlanResponse
	containers []reconcile.Container
	facts      *rolev1.Facts
	// err is why there is no newer one.
	err error
}

// health is the result of the role's last check.
type health struct {
	began, at time.Time
	response  *rolev1.CheckResponse
	err       error
}

// Deps are what a Node is made of.
type Deps struct {
	Config    Config
	Paths     Paths
	Engine    Engine
	Role      Role
	Discovery Discovery
	Host      Host
	Identity  server.Identity
	// Means of faults. Without a Clock the node has its host's, and containers go by an offset to it.
	Means   fault.OS
	Log     *slog.Logger
	Version string
}

// New makes a node's agent; Run starts it.
func New(p Deps) (*Node, error) {
	st, err := openState(filepath.Join(p.Paths.State, "state.json"))
	if err != nil {
		return nil, err
	}
	n := &Node{
		config: p.Config, paths: p.Paths, engine: p.Engine, role: p.Role, discovery: p.Discovery, host: p.Host,
		identity: p.Identity, log: p.Log, version: p.Version, started: time.Now(),
		images:  image.New(p.Engine, p.Paths.Bundle, p.Paths.App),
		secrets: render.Secrets{Dir: p.Paths.Secrets, Node: p.Config.Self.GetName()},
		files:   reconcile.Files{Root: filepath.Join(p.Paths.State, "rendered")},
		tracker: manualstop.New(st.get().Hands),
		state:   st,
		hub:     newHub(),
		replan:  make(chan struct{}, 1),
		check:   make(chan struct{}, 1),
		changed: make(chan struct{}),

		judgeTimeout: judgeTimeout,
	}
	n.loop = &reconcile.Loop{
		Desired: n.desired, Observe: n.observe, Faults: n.held, Apply: n.apply, Publish: n.publish, Done: n.done,
		Resync: func() {
			n.observer.Forget()
			poke(n.replan)
		},
		Log: p.Log,
	}
	n.observer = reconcile.NewObserver(p.Engine, n.loop.Trigger)
	n.mesh = &overlayMonitor{
		self:  p.Config.Self.GetName(),
		probe: overlayprobe.Probe, peers: n.peers, now: time.Now, known: map[string]*endpointWatch{},
		notify: func(container, action, message string) {
			n.log.Info("overlay", "container", container, "finding", action, "detail", message)
			n.emit(container, action, message)
		},
	}
	n.clock = &clockWatch{
		nodes: p.Config.Nodes, reference: p.Config.Manager() == p.Config.Self, keeper: p.Host.Clock, now: clock.Now,
		refresh: n.hub.refresh,
		notify:  func(action, message string) { n.emit("clock", action, message) },
	}
	if manager := p.Config.Manager(); manager != p.Config.Self {
		n.link = newManagerClient(manager, p.Config.Self, p.Log, n.loop.Hurry)
	}
	if n.faults, err = n.newFaults(p.Means); err != nil {
		return nil, err
	}
	return n, nil
}

// NewDiscovery returns the client of the lab's Consul, which runs on the manager's node. Only there lies the secret with which it makes the
// nodes' token.
func NewDiscovery(config Config, paths Paths, log *slog.Logger) (*discovery.Client, error) {
	_, port, err := net.SplitHostPort(config.Listen)
	if err != nil {
		return nil, fmt.Errorf("the agent's own port: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("the agent's own port: %w", err)
	}
	secrets := render.Secrets{Dir: paths.Secrets, Node: config.Self.GetName()}
	c := discovery.Config{
		Lab: config.Lab, Node: config.Self.GetName(), Address: config.Self.GetAddress(), AgentPort: number,
		Consul:    net.JoinHostPort(config.Manager().GetAddress(), strconv.Itoa(contract.ConsulPort)),
		Token:     func() (string, error) { return secrets.Read(contract.NodeToken) },
		StateFile: filepath.Join(paths.State, "services.json"), Logger: log,
	}
	if config.Manager() == config.Self {
		c.Management = func() (string, error) { return secrets.Read(contract.ManagementToken) }
	}
	return discovery.New(c), nil
}

// Run is the agent's life, until the context ends. Ending it disturbs no container.
func (n *Node) Run(ctx context.Context) error {
	audit, err := server.OpenAudit(filepath.Join(n.paths.State, "audit.log"), auditLimit)
	if err != nil {
		return err
	}
	defer func() { _ = audit.Close() }()
	listener, err := listen(ctx, n.config.Listen)
	if err != nil {
		return err
	}
	conn, err := dialManager(n.config.Manager(), n.identity)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { _ = conn.Close() }()
	manager := agentv1.NewAgentServiceClient(conn)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return server.Serve(ctx, listener, server.Config{
			TLS: n.identity.Server(), Viewer: n, Operator: n, Inviter: n, Dialer: n, Audit: audit, Log: n.log,
		})
	})
	group.Go(func() error { return n.loop.Run(ctx) })
	group.Go(func() error { return n.followEngine(ctx) })
	group.Go(func() error { return n.followRole(ctx) })
	group.Go(func() error { return n.checkRole(ctx) })
	group.Go(func() error { return n.discovery.Run(ctx) })
	group.Go(func() error { return n.beat(ctx) })
	group.Go(func() error { return n.monitorOverlay(ctx) })
	group.Go(func() error { return n.faults.Run(ctx) })
	group.Go(func() error {
		n.noteImpossible(ctx)
		return nil
	})
	group.Go(func() error { return n.clock.run(ctx, manager) })
	if n.link != nil {
		group.Go(func() error { return n.link.run(ctx, manager) })
	}
	n.host.Ready()
	n.log.Info("agent started", "lab", n.config.Lab, "node", n.config.Self.GetName(), "role", n.config.Self.GetRole(),
		"version", n.version, "stage", StageName(n.stage()))
	n.emit("agent", "start", "the agent "+n.version+" started")
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	n.observer.Wait()
	return errors.Join(err, n.state.flush())
}

// stage is the desired one.
func (n *Node) stage() rolev1.Stage {
	if stage, err := ParseStage(n.state.get().Stage); err == nil {
		return stage
	}
	return n.config.Stage
}

func (n *Node) desired() reconcile.Desired {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := reconcile.Desired{
		Lab: n.config.Lab, Stage: n.stage(), Planned: n.plan.known, Networks: []string{contract.Network}, Containers: n.plan.containers,
		Membership: membership(n.plan.plan),
	}
	switch {
	case n.busy != "":
		d.Hold = n.busy
	case n.state.get().Retired:
		d.Hold = "this node was retired; setting a stage brings it back"
	case !n.plan.known && n.plan.err != nil:
		d.Hold = "the plan of role " + n.config.Self.GetRole() + " is not known: " + n.plan.err.Error()
	case !n.plan.known:
		d.Hold = "the plan of role " + n.config.Self.GetRole() + " is not known yet"
	}
	if n.link != nil {
		d.Cluster = n.link.cluster()
	}
	return d
}

// held names the desired containers that a fault holds.
func (n *Node) held(desired reconcile.Desired) map[string]string {
	faults := map[string]string{}
	for i := range desired.Containers {
		if held := n.faults.Held(desired.Containers[i].Spec.Name); held != "" {
			faults[desired.Containers[i].Spec.Name] = held
		}
	}
	return faults
}

// observe looks at the engine and adds what the engine does not know.
//
//nolint:contextcheck // an observation may use the engine as long as the engine lives
func (n *Node) observe(_ context.Context, desired reconcile.Desired) reconcile.Observed {
	life, why := n.engineNow()
	if life == nil {
		return reconcile.Observed{EngineError: why}
	}
	observed := n.observer.Observe(life, desired)
	if life.Err() != nil {
		return reconcile.Observed{EngineError: "it went away"}
	}
	if observed.EngineError != "" {
		return observed
	}
	if n.tracker.Observed(observed.Containers) {
		n.saveManualStops()
	}
	now := time.Now()
	for _, c := range observed.Containers {
		if !reconcile.Runs(c) {
			if stop := n.tracker.Stop(c, now); stop != reconcile.StopOwn {
				observed.Stops[c.ID] = stop
			}
		}
	}
	for i := range desired.Containers {
		c := &desired.Containers[i]
		if c.FilesHash() != "" {
			observed.Written[c.Spec.Name] = n.files.Written(c)
			observed.Loaded[c.Spec.Name] = n.files.Loaded(c.Spec.Name, observed.Containers[c.Spec.Name].ID)
		}
	}
	n.mesh.observed(desired, observed.Containers)
	observed.Stale = n.mesh.stale()
	if n.link != nil {
		n.link.observed(observed.Swarm, desired.Planned && desired.Membership == reconcile.MembershipNone)
	}
	return observed
}

func (n *Node) apply(ctx context.Context, step reconcile.Step, attempt int) error {
	if n.link != nil && joinsOverlay(step) {
		if err := n.link.probe(ctx); err != nil {
			return err
		}
	}
	actions, err := n.actions()
	if err != nil {
		return err
	}
	// One that was injected since the step was decided on.
	if step.Container != nil {
		if held := n.faults.Held(step.Container.Spec.Name); held != "" {
			return errors.New(held)
		}
	}
	return actions.Apply(ctx, step, attempt)
}

func joinsOverlay(step reconcile.Step) bool {
	switch step.Kind {
	case reconcile.AttachContainer:
		return step.Network == contract.Network
	case reconcile.StartContainer:
		return step.Container != nil && slices.ContainsFunc(step.Container.Spec.Networks,
			func(a engine.Attachment) bool { return a.Network == contract.Network })
	}
	return false
}

func (n *Node) actions() (*reconcile.Actions, error) {
	mtu, err := n.host.MTU(n.config.Self.GetAddress())
	if err != nil {
		return nil, err
	}
	actions := &reconcile.Actions{
		Containers: n.engine, Networks: n.engine, Swarm: n.engine, Images: n.images, Files: n.files,
		Stopper: stopper{n},
		Init:    n.swarmInit(),
		MTU:     overlayMTU(mtu),
		Labels:  map[string]string{reconcile.LabelLab: n.config.Lab, reconcile.LabelRole: n.config.Self.GetRole()},
	}
	if n.link != nil {
		actions.Invitation = n.link
	}
	return actions, nil
}

// overlayMTU is what an overlay over an interface with the given MTU must be told: nothing where it is an ordinary
// one, since Docker's own default fits that; else what is left after VXLAN's 50 bytes.
func overlayMTU(mtu int) string {
	const ethernet, vxlan = 1500, 50
	if mtu <= vxlan || mtu >= ethernet {
		return ""
	}
	return strconv.Itoa(mtu - vxlan)
}

// swarmInit chooses a pool for the swarm's networks that does not clash with the lab's own subnet.
func (n *Node) swarmInit() engine.SwarmInit {
	in := engine.SwarmInit{Address: n.config.Self.GetAddress(), PrefixLen: networkBits, Heartbeat: timescale.Scale(heartbeat)}
	for _, pool := range addressPools() {
		in.AddressPool = pool.String()
		if !n.config.Subnet.Overlaps(pool) {
			break
		}
	}
	return in
}

// addressPools are what the swarm's networks may be taken from, best first. They lie apart, so that one of them suits any subnet
// smaller than the private range itself.
func addressPools() []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 33, 0, 0}), 16),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 133, 0, 0}), 16),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 30, 0, 0}), 16),
	}
}

// stopper adapts the tracker, which must be on disk before the stop.
type stopper struct{ n *Node }

func (s stopper) Own(id string) error {
	s.n.tracker.Own(id)
	return s.n.state.update(func(r *record) { r.Hands = s.n.tracker.Record() })
}

func (n *Node) saveManualStops() {
	if err := n.state.update(func(r *record) { r.Hands = n.tracker.Record() }); err != nil {
		n.log.Error("state", "error", err)
	}
}

// publish receives the loop's status.
func (n *Node) publish(s reconcile.Status) {
	n.mu.Lock()
	before := n.status
	n.status = s
	close(n.changed)
	n.changed = make(chan struct{})
	plan, withdrawn := n.plan, n.withdrawn
	same := sameRunning(before.Observed.Containers, s.Observed.Containers)
	if !same {
		n.runs = time.Now()
	}
	n.mu.Unlock()
	n.notify(before, s)
	n.offer(plan, withdrawn, s)
	if !same {
		poke(n.check)
	}
}

// offer tells discovery what this node offers. As long as that is not known, for want of a plan or of an engine that
// answers, what stands in the catalogue stays: the balancer's own checks are quicker than it anyway.
func (n *Node) offer(plan planned, withdrawn bool, s reconcile.Status) {
	switch {
	case withdrawn || n.state.get().Retired:
		n.discovery.Offer(nil)
	case plan.known && s.Desired.Planned && s.Observed.EngineError == "":
		n.discovery.Offer(offered(plan.plan.GetServices(), s))
	}
}

// offered are the services whose containers run. One that is paused, or is not what the plan says, is up for nobody.
func offered(services []*rolev1.Service, s reconcile.Status) []*rolev1.Service {
	var up []*rolev1.Service
	for _, service := range services {
		for i := range s.Desired.Containers {
			c := &s.Desired.Containers[i]
			have, ok := s.Observed.Containers[c.Spec.Name]
			if ok && c.Spec.Name == service.GetContainer() && have.State == engine.StateRunning &&
				len(reconcile.Own(s.Desired.Lab, c, have).Differences) == 0 {
				up = append(up, service)
			}
		}
	}
	return up
}

// notify emits the events that follow from a change of status.
func (n *Node) notify(before, now reconcile.Status) {
	if before.Observed.EngineError != now.Observed.EngineError || before.Observed.EngineVersion == "" {
		switch {
		case now.Observed.EngineError != "" && before.Observed.EngineError == "":
			n.emit("engine", "down", now.Observed.EngineError)
		case now.Observed.EngineError == "" && (before.Observed.EngineError != "" || before.Observed.EngineVersion == ""):
			n.emit("engine", "up", "Docker "+now.Observed.EngineVersion)
		}
	}
	if a, b := before.Observed.Swarm, now.Observed.Swarm; now.Observed.EngineError == "" && a.State != b.State {
		n.emit("swarm", string(b.State), b.Error)
	}
	if before.Reached != now.Reached && now.Reached != rolev1.Stage_STAGE_UNSPECIFIED {
		n.emit("agent", "reached-stage", StageName(now.Reached))
	}
	if pendingText(before.Pending) != pendingText(now.Pending) && len(now.Pending) > 0 {
		n.emit("agent", "pending", now.Pending[0].Step.String()+": "+now.Pending[0].Reason)
	} else if len(before.Pending) > 0 && len(now.Pending) == 0 {
		n.emit("agent", "settled", "nothing left to do")
	}
}

func pendingText(pending []reconcile.Pending) string {
	text := ""
	for _, p := range pending {
		text += p.Step.String() + "\x00" + p.Reason + "\x00"
	}
	return text
}

func sameRunning(a, b map[string]engine.Container) bool {
	return maps.EqualFunc(a, b, func(x, y engine.Container) bool { return x.ID == y.ID && x.State == y.State && x.PID == y.PID })
}

// done is told of each step that was tried.
func (n *Node) done(o reconcile.Outcome) {
	n.observer.Touched(o.Step)
	if o.Err != nil {
		n.emit(subject(o.Step), "failed", o.Step.String()+": "+o.Err.Error())
		return
	}
	if action := pastTense(o.Step.Kind); action != "" {
		n.emit(subject(o.Step), action, o.Step.String()+", since "+o.Step.Why)
	}
}

func subject(s reconcile.Step) string {
	switch s.Kind {
	case reconcile.InitSwarm, reconcile.JoinSwarm, reconcile.LeaveSwarm, reconcile.CreateNetwork,
		reconcile.ForgetMember:
		return "swarm"
	case reconcile.ProvideImage, reconcile.BuildImage:
		return "engine"
	}
	return s.Subject
}

// pastTense is the word for a step that was done; empty for those of which the engine's own events tell.
func pastTense(kind reconcile.Kind) string {
	switch kind {
	case reconcile.InitSwarm:
		return "founded"
	case reconcile.JoinSwarm:
		return "joined"
	case reconcile.LeaveSwarm:
		return "left"
	case reconcile.ForgetMember:
		return "forgot"
	case reconcile.CreateNetwork:
		return "network-created"
	case reconcile.ProvideImage:
		return "image-provided"
	case reconcile.BuildImage:
		return "image-built"
	case reconcile.CreateContainer:
		return "created"
	case reconcile.ReplaceContainer:
		return "replaced"
	case reconcile.ReloadContainer:
		return "reloaded"
	case reconcile.AttachContainer:
		return "attached"
	}
	return ""
}

func (n *Node) emit(subject, action, message string) {
	n.hub.emit(&agentv1.Event{
		At: timestamppb.Now(), Node: n.config.Self.GetName(), Subject: subject, Action: action, Message: message,
	})
}

// beat keeps the signs of life: the engine's, for the sake of its next start (package rejoin), and the agent's own.
func (n *Node) beat(ctx context.Context) error {
	ticker := time.NewTicker(rejoin.BeatInterval)
	defer ticker.Stop()
	complained := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		n.host.Alive()
		if err := n.state.flush(); err != nil && !complained {
			n.log.Error("state", "error", err)
			complained = true
		} else if err == nil {
			complained = false
		}
		once, cancel := context.WithTimeout(ctx, rejoin.BeatInterval)
		err := n.engine.Ping(once)
		late := errors.Is(once.Err(), context.DeadlineExceeded)
		cancel()
		if err != nil {
			unit, err := n.host.Engine(ctx)
			if err == nil && !unit.Running {
				n.leaveEngine()
			}
			if !late || err != nil || !unit.Running {
				continue
			}
			// It is only slow to answer, and gossips all the same.
		}
		if !n.inSwarm() {
			continue // then it gossips with nobody, and may come back as soon as it likes
		}
		if err := rejoin.Beat(n.paths.State); err != nil && !complained {
			n.log.Error("sign of life", "error", err)
			complained = true
		}
	}
}

func (n *Node) inSwarm() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status.Observed.Swarm.State != engine.SwarmInactive
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
