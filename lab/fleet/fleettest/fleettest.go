// Package fleettest runs agents that are none: they speak the real protocol over real TLS with a lab's own certificates,
// at the ports where the lab expects its agents, and say what a test told them to. A test double of the voting app
// stands at the lab's two web ports. For tests of everything on the host that talks to a lab.
package fleettest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/api/tunnel"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Topology is the content of vagrant/topology.yaml in the clones that New makes: the kit's own nodes.
const Topology = `subnet: 192.168.33.0/24
nodes:
  - {name: manager,   role: manager,   octet: 11,  memory: 512, cpus: 1}
  - {name: interlock, role: interlock, octet: 12,  memory: 384, cpus: 1}
  - {name: frontend,  role: frontend,  octet: 20,  memory: 512, cpus: 1, count: 2}
  - {name: worker,    role: worker,    octet: 200, memory: 512, cpus: 1, count: 1}
  - {name: store,     role: store,     octet: 250, memory: 768, cpus: 1}
`

// Lab is a clone in a temporary folder, with an agent for each node.
type Lab struct {
	*settings.Lab
	Agents map[string]*Agent
}

// New makes a clone with certificates and secrets, as if a lab had been brought up in it, and starts its agents.
func New(t testing.TB) *Lab {
	t.Helper()
	return NewOf(t, Topology)
}

// NewOf makes a lab of another topology.
func NewOf(t testing.TB, text string) *Lab {
	t.Helper()
	clone := cloneOf(t, text)
	lab := &Lab{Lab: clone, Agents: map[string]*Agent{}}
	for _, n := range clone.Topology.Nodes {
		agent, err := StartAgent(clone, n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(agent.Stop)
		lab.Agents[n.Name] = agent
	}
	return lab
}

// Clone makes a clone with certificates, secrets and saved settings, at a range of ports that is free.
func Clone(t testing.TB) *settings.Lab {
	t.Helper()
	return cloneOf(t, Topology)
}

func cloneOf(t testing.TB, text string) *settings.Lab {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "vagrant"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vagrant", "topology.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	base, release, err := claimPorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	lab, err := settings.Open(dir, func(name string) string {
		return map[string]string{settings.EnvPortBase: strconv.Itoa(base)}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Save(); err != nil {
		t.Fatal(err)
	}
	if err := pki.Prepare(lab, time.Now(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	return lab
}

// claimOffset is a port that no lab uses. Who listens there has the range: agents come and go in a test, and other tests
// run beside it.
const claimOffset = 899

// claimPorts returns a port base whose ports nobody listens at, below the range from which systems give ports to clients,
// and keeps other tests away from it until release.
func claimPorts(ctx context.Context) (base int, release func(), err error) {
	listen := func(port int) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
search:
	for range 200 {
		base := 20000 + rand.IntN(110)*100 //nolint:gosec // a port, not a secret
		claim, err := listen(base + claimOffset)
		if err != nil {
			continue
		}
		for _, o := range []int{11, 12, 20, 21, 22, 23, 200, 201, 250, 880, 881} {
			l, err := listen(base + o)
			if err != nil {
				_ = claim.Close() // taken by another program
				continue search
			}
			if err := l.Close(); err != nil {
				return 0, nil, err
			}
		}
		return base, func() { _ = claim.Close() }, nil
	}
	return 0, nil, errors.New("no range of free ports found on 127.0.0.1")
}

// Agent is a node agent that does nothing but answer.
type Agent struct {
	agentv1.UnimplementedAgentServiceServer
	Hooks

	server  *grpc.Server
	serving sync.WaitGroup

	mu       sync.Mutex
	snapshot *agentv1.NodeSnapshot
	changes  []*agentv1.Event
	changed  chan struct{}
	calls    []string
}

// Hooks are what an agent does when it is called. Set them before, or through Agent.Hook.
type Hooks struct {
	// OnSnapshot is called before a snapshot is given, with the context of the call: it may wait for that to end, as an agent
	// that hangs.
	OnSnapshot func(context.Context) error
	// OnReset, OnRetire and so on are called for the call of their name; nil: the call succeeds.
	OnReset    func(settings.Stage) error
	OnSetStage func(settings.Stage) error
	OnForget   func(node string) error
	OnRetire   func() error
	OnHeal     func() []string
	OnInject   func() error
	// Keeps: a lower stage leaves what stands above it.
	Keeps bool
	// Retiring are the queue lengths that Retire reports one after the other.
	Retiring []float64
	// Ports are where tunnels lead, by container and port: "redis01:6379" → "127.0.0.1:40001".
	Ports map[string]string
	// Lines are what Logs sends, by container; "" is the agent's own journal.
	Lines map[string][]string
}

// Hook changes the hooks while the agent may be called.
func (a *Agent) Hook(change func(*Hooks)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.Hooks)
}

func (a *Agent) hooks() Hooks {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Hooks
}

// StartAgent starts an agent for a node of lab, ready at the lab's stage.
func StartAgent(lab *settings.Lab, n topology.Node) (*Agent, error) {
	dir := lab.NodeDir(n.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", "node.crt"), filepath.Join(dir, "pki", "node.key"))
	if err != nil {
		return nil, fmt.Errorf("load the node's certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "pki", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("load the lab's authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lab.AgentPort(n)))
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for node %s: %w", n.Name, err)
	}
	a := &Agent{changed: make(chan struct{}), snapshot: Snapshot(lab, n)}
	a.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})), grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true})) // as the real one
	agentv1.RegisterAgentServiceServer(a.server, a)
	a.serving.Go(func() {
		// Serve ends when Stop is called; there is nobody to tell of another end but the test's own calls, which fail.
		_ = a.server.Serve(listener)
	})
	return a, nil
}

// Stop ends the agent, as if its node were switched off; its port is free afterwards.
func (a *Agent) Stop() {
	a.server.Stop()
	a.serving.Wait()
}

// Update changes the agent's snapshot and sends it, with an event, to those who watch.
func (a *Agent) Update(event *agentv1.Event, change func(*agentv1.NodeSnapshot)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.snapshot)
	a.snapshot.TakenAt = timestamppb.Now()
	a.changes = append(a.changes, event)
	close(a.changed)
	a.changed = make(chan struct{})
}

// Calls returns the calls that changed something, in order: "SetStage cluster", "Reset application", "Retire", …
func (a *Agent) Calls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.calls...)
}

func (a *Agent) note(call string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call)
}

func (a *Agent) now() (*agentv1.NodeSnapshot, []*agentv1.Event, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	snapshot, _ := proto.Clone(a.snapshot).(*agentv1.NodeSnapshot)
	return snapshot, a.changes, a.changed
}

// Snapshot implements agentv1.AgentServiceServer.
func (a *Agent) Snapshot(ctx context.Context, _ *agentv1.SnapshotRequest) (*agentv1.SnapshotResponse, error) {
	if hook := a.hooks().OnSnapshot; hook != nil {
		if err := hook(ctx); err != nil {
			return nil, err
		}
	}
	snapshot, _, _ := a.now()
	return &agentv1.SnapshotResponse{Node: snapshot}, nil
}

// Watch implements agentv1.AgentServiceServer.
func (a *Agent) Watch(_ *agentv1.WatchRequest, stream grpc.ServerStreamingServer[agentv1.WatchResponse]) error {
	snapshot, changes, changed := a.now()
	if err := stream.Send(&agentv1.WatchResponse{Node: snapshot}); err != nil {
		return err
	}
	for seen := len(changes); ; {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-changed:
		}
		snapshot, changes, changed = a.now()
		for ; seen < len(changes); seen++ {
			if err := stream.Send(&agentv1.WatchResponse{Event: changes[seen], Node: snapshot}); err != nil {
				return err
			}
		}
	}
}

// SetStage implements agentv1.AgentServiceServer.
func (a *Agent) SetStage(_ context.Context, r *agentv1.SetStageRequest) (*agentv1.SetStageResponse, error) {
	stage := settings.Stage(r.GetStage())
	a.note("SetStage " + stage.String())
	if hook := a.hooks().OnSetStage; hook != nil {
		if err := hook(stage); err != nil {
			return nil, err
		}
	}
	keeps := a.hooks().Keeps
	a.Update(nil, func(s *agentv1.NodeSnapshot) {
		s.DesiredStage = r.GetStage()
		if !keeps {
			s.ReachedStage = r.GetStage()
		}
	})
	return &agentv1.SetStageResponse{}, nil
}

// Logs implements agentv1.AgentServiceServer.
func (a *Agent) Logs(r *agentv1.LogsRequest, stream grpc.ServerStreamingServer[agentv1.LogsResponse]) error {
	lines, ok := a.hooks().Lines[r.GetContainer()]
	if !ok {
		return status.Errorf(codes.NotFound, "no container %q on this node", r.GetContainer())
	}
	if n := int(r.GetTail()); n > 0 && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	for _, line := range lines {
		if err := stream.Send(&agentv1.LogsResponse{Line: line}); err != nil {
			return err
		}
	}
	return nil
}

// Forward implements agentv1.AgentServiceServer.
func (a *Agent) Forward(stream tunnel.Stream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	to := fmt.Sprintf("%s:%d", first.GetTo().GetContainer(), first.GetTo().GetPort())
	a.note("Forward " + to)
	address, ok := a.hooks().Ports[to]
	if !ok {
		return status.Errorf(codes.FailedPrecondition, "no tunnel leads to %s", to)
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialTCP(stream.Context(), "tcp", netip.AddrPort{}, target)
	if err != nil {
		return status.Error(codes.Aborted, err.Error())
	}
	return tunnel.Serve(stream.Context(), stream, conn)
}

// Inject implements agentv1.AgentServiceServer. The fault is in force until Heal.
func (a *Agent) Inject(_ context.Context, r *agentv1.InjectRequest) (*agentv1.InjectResponse, error) {
	words := append([]string{"Inject", r.GetKind(), r.GetContainer(), r.GetLease().AsDuration().String()}, r.GetPeers()...)
	if how := faultkind.StrengthOf(r); how != (faultkind.Strength{}) {
		words = append(words, faultkind.Text(faultkind.Kind(r.GetKind()), "", nil, how))
	}
	a.note(strings.Join(words, " "))
	if hook := a.hooks().OnInject; hook != nil {
		if err := hook(); err != nil {
			return nil, err
		}
	}
	f := &agentv1.Fault{
		Id: fmt.Sprintf("%08x", rand.Uint32()), Kind: r.GetKind(), Container: r.GetContainer(), Peers: r.GetPeers(), Holder: r.GetHolder(),
		InjectedAt: timestamppb.Now(), Left: r.GetLease(), Evidence: "the test says so", Ending: strings.HasSuffix(r.GetKind(), "kill"),
		Delay: r.GetDelay(), Jitter: r.GetJitter(), Loss: r.GetLoss(), Rate: r.GetRate(), Skew: r.GetSkew(),
	}
	a.Update(nil, func(s *agentv1.NodeSnapshot) { s.Faults = append(s.Faults, f) })
	return &agentv1.InjectResponse{Fault: f}, nil
}

// Heal implements agentv1.AgentServiceServer.
func (a *Agent) Heal(context.Context, *agentv1.HealRequest) (*agentv1.HealResponse, error) {
	a.note("Heal")
	var healed []string
	if hook := a.hooks().OnHeal; hook != nil {
		healed = hook()
	}
	out := &agentv1.HealResponse{Healed: healed}
	a.Update(nil, func(s *agentv1.NodeSnapshot) { out.Ended, s.Faults = s.GetFaults(), nil })
	return out, nil
}

// Reset implements agentv1.AgentServiceServer.
func (a *Agent) Reset(_ context.Context, r *agentv1.ResetRequest) (*agentv1.ResetResponse, error) {
	stage := settings.Stage(r.GetStage())
	a.note("Reset " + stage.String())
	if hook := a.hooks().OnReset; hook != nil {
		if err := hook(stage); err != nil {
			return nil, err
		}
	}
	a.Update(nil, func(s *agentv1.NodeSnapshot) { s.DesiredStage, s.ReachedStage = r.GetStage(), r.GetStage() })
	return &agentv1.ResetResponse{}, nil
}

// Retire implements agentv1.AgentServiceServer.
func (a *Agent) Retire(_ *agentv1.RetireRequest, stream grpc.ServerStreamingServer[agentv1.RetireResponse]) error {
	a.note("Retire")
	if hook := a.hooks().OnRetire; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	for _, queued := range a.hooks().Retiring {
		if err := stream.Send(&agentv1.RetireResponse{Progress: "the queue drains", VotesQueued: queued}); err != nil {
			return err
		}
	}
	return nil
}

// ForgetNode implements agentv1.AgentServiceServer.
func (a *Agent) ForgetNode(_ context.Context, r *agentv1.ForgetNodeRequest) (*agentv1.ForgetNodeResponse, error) {
	a.note("ForgetNode " + r.GetName())
	if hook := a.hooks().OnForget; hook != nil {
		if err := hook(r.GetName()); err != nil {
			return nil, err
		}
	}
	return &agentv1.ForgetNodeResponse{}, nil
}

// Snapshot is what the agent of a node says that is ready at the lab's stage.
func Snapshot(lab *settings.Lab, n topology.Node) *agentv1.NodeSnapshot {
	stage := rolev1.Stage(lab.Stage)
	s := &agentv1.NodeSnapshot{
		Lab:          lab.Name,
		Name:         n.Name,
		Identity:     &rolev1.Node{Name: n.Name, Role: n.Role, Address: n.Address.String(), Ordinal: uint32(n.Ordinal)}, //nolint:gosec // 1…99
		TakenAt:      timestamppb.Now(),
		Agent:        &agentv1.AgentStatus{Version: "test", ProvisionHash: "0123456789abcdef"},
		Engine:       &agentv1.EngineStatus{Up: true, Version: "26.1.5"},
		Swarm:        &agentv1.SwarmStatus{LocalState: "active", Manager: n.Role == topology.RoleManager},
		DesiredStage: stage, ReachedStage: stage,
		Role: &agentv1.RoleStatus{Name: n.Role, Running: true, Checked: true, Healthy: true},
		Clock: &agentv1.ClockStatus{
			Offset: durationpb.New(300 * time.Microsecond), Bound: durationpb.New(450 * time.Microsecond),
			MeasuredAt: timestamppb.Now(), Source: agentv1.ClockSource_CLOCK_SOURCE_HOST,
		},
		Ready: true,
	}
	names := map[string][]string{
		topology.RoleManager:   {"consul"},
		topology.RoleInterlock: {"interlock"},
		topology.RoleFrontend:  {fmt.Sprintf("redis%02d", n.Ordinal), fmt.Sprintf("frontend%02d", n.Ordinal)},
		topology.RoleWorker:    {fmt.Sprintf("worker%02d", n.Ordinal)},
		topology.RoleStore:     {"pg", "results-app"},
	}
	for _, name := range names[n.Role] {
		s.Containers = append(s.Containers, &agentv1.ContainerStatus{
			Name: name, Image: name + ":test", State: "running", Ownership: agentv1.Ownership_OWNERSHIP_MANAGED,
			Since: timestamppb.New(time.Now().Add(-3 * time.Minute)),
		})
	}
	switch n.Role {
	case topology.RoleManager:
		s.Clock.Reference, s.Clock.Offset, s.Clock.Bound = true, durationpb.New(0), durationpb.New(0)
	case topology.RoleFrontend:
		s.Role.Measures = map[string]float64{"votes_captured": 10, "votes_queued": 1, "votes_dead_lettered": 0}
	case topology.RoleStore:
		s.Role.Measures = map[string]float64{"votes_counted": 18, "a": 11, "b": 7}
	case topology.RoleInterlock:
		s.Swarm.LocalState = "inactive"
		s.Role.Measures = map[string]float64{"servers_up": 2, "servers_total": 2}
	}
	return s
}
