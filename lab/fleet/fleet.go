// Package fleet is the host's side of the agents' API: connections to the agents of all nodes of a lab, a snapshot of
// them all at once, one merged stream of what happens on them, and the calls that change them.
//
// Agents are reached at 127.0.0.1, port base plus octet, so that it is the same for containers and virtual machines on
// any host; the certificate must carry the node's name. A node that does not answer is data, not a failure of the
// fleet: its NodeView holds an *Error that says in plain words what is wrong. The package decides nothing and prints
// nothing.
package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Unit says with which certificate the host speaks to the agents.
type Unit string

// The two kinds of callers that the host can be.
const (
	// Observe may look.
	Observe Unit = pki.UnitObserve
	// Operate may also change things; such calls are written to the agents' audit logs.
	Operate Unit = pki.UnitOperate
)

// Fleet holds a connection to each agent of a lab. Connections are made when they are first used, and again whenever
// they are lost. Safe for concurrent use.
type Fleet struct {
	lab   *settings.Lab
	nodes []*member
}

type member struct {
	node    topology.Node
	address string
	conn    *grpc.ClientConn
	client  agentv1.AgentServiceClient
}

// Connect prepares the connections; it fails only when the lab's certificates are not there or damaged. Close it.
func Connect(lab *settings.Lab, unit Unit) (*Fleet, error) {
	f := &Fleet{lab: lab}
	for _, n := range lab.Topology.Nodes {
		config, err := pki.ClientConfig(lab.Path("pki"), string(unit), n.Name)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		m, err := connect(n, fmt.Sprintf("127.0.0.1:%d", lab.AgentPort(n)), config)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.nodes = append(f.nodes, m)
	}
	return f, nil
}

func connect(n topology.Node, address string, config *tls.Config) (*member, error) {
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: timescale.Scale(3 * time.Second),
		}),
		// A node that vanishes without a word breaks its streams and tunnels.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		// The default would take a proxy of the environment for 127.0.0.1's as well.
		grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to %s's agent: %w", n.Name, err)
	}
	return &member{node: n, address: address, conn: conn, client: agentv1.NewAgentServiceClient(conn)}, nil
}

// Close ends all connections.
func (f *Fleet) Close() error {
	var errs []error
	for _, m := range f.nodes {
		errs = append(errs, m.conn.Close())
	}
	return errors.Join(errs...)
}

func (f *Fleet) member(node string) (*member, error) {
	for _, m := range f.nodes {
		if m.node.Name == node {
			return m, nil
		}
	}
	return nil, fmt.Errorf("the lab has no node %q; its nodes are %v", node, f.lab.Topology.Names())
}

// Snapshot asks all agents at once. Each is given until the deadline of ctx; one that does not answer has an error in
// its view.
func (f *Fleet) Snapshot(ctx context.Context) View {
	view := newView(f.lab)
	var wg sync.WaitGroup
	for i, m := range f.nodes {
		wg.Go(func() {
			view.Nodes[i].Snapshot, view.Nodes[i].Err = m.snapshot(ctx)
		})
	}
	wg.Wait()
	return view
}

func (m *member) snapshot(ctx context.Context) (*agentv1.NodeSnapshot, *Error) {
	response, err := m.client.Snapshot(ctx, &agentv1.SnapshotRequest{})
	if err != nil {
		return nil, m.explain(err)
	}
	return response.GetNode(), nil
}

// each calls do for the named nodes (none: all) at once and joins their errors.
func (f *Fleet) each(ctx context.Context, nodes []string, do func(context.Context, *member) error) error {
	members := f.nodes
	if len(nodes) > 0 {
		members = nil
		for _, name := range nodes {
			m, err := f.member(name)
			if err != nil {
				return err
			}
			members = append(members, m)
		}
	}
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			if err := do(ctx, m); err != nil {
				errs[i] = m.explain(err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// SetStage sets the stage up to which the named nodes (none: all) build themselves up. It does not wait for it.
func (f *Fleet) SetStage(ctx context.Context, stage settings.Stage, nodes ...string) error {
	return f.each(ctx, nodes, func(ctx context.Context, m *member) error {
		_, err := m.client.SetStage(ctx, &agentv1.SetStageRequest{Stage: rolev1.Stage(stage)})
		return err
	})
}

// Healed names a container that was started again, or a fault that is over.
type Healed struct {
	Node      string `json:"node"`
	Container string `json:"container,omitempty"`
	// Fault in words, as package faultkind has them.
	Fault string `json:"fault,omitempty"`
}

// Inject breaks something on a node, and returns once it was seen.
func (f *Fleet) Inject(ctx context.Context, node string, what *agentv1.InjectRequest) (*agentv1.Fault, error) {
	m, err := f.member(node)
	if err != nil {
		return nil, err
	}
	response, err := m.client.Inject(ctx, what)
	if err != nil {
		return nil, m.explain(err)
	}
	return response.GetFault(), nil
}

// Renew lets a fault last for so long from now on.
func (f *Fleet) Renew(ctx context.Context, node, fault string, lease time.Duration) (*agentv1.Fault, error) {
	m, err := f.member(node)
	if err != nil {
		return nil, err
	}
	response, err := m.client.Renew(ctx, &agentv1.RenewRequest{Id: fault, Lease: durationpb.New(lease)})
	if err != nil {
		return nil, m.explain(err)
	}
	return response.GetFault(), nil
}

// End ends faults of a node, and returns when they are over; one that is over already is no error.
func (f *Fleet) End(ctx context.Context, node string, faults ...string) error {
	m, err := f.member(node)
	if err != nil || len(faults) == 0 {
		return err
	}
	if _, err := m.client.Heal(ctx, &agentv1.HealRequest{Faults: faults}); err != nil {
		return m.explain(err)
	}
	return nil
}

// Heal ends all faults and starts what was stopped manually, on all nodes, and returns it in the order of the topology. Nodes that fail do
// not keep the others from being healed.
func (f *Fleet) Heal(ctx context.Context) ([]Healed, error) {
	healed := make([][]Healed, len(f.nodes))
	errs := make([]error, len(f.nodes))
	var wg sync.WaitGroup
	for i, m := range f.nodes {
		wg.Go(func() {
			response, err := m.client.Heal(ctx, &agentv1.HealRequest{})
			if err != nil {
				errs[i] = m.explain(err)
				return
			}
			for _, fault := range response.GetEnded() {
				healed[i] = append(healed[i], Healed{Node: m.node.Name, Container: fault.GetContainer(), Fault: faultkind.TextOf(fault)})
			}
			for _, name := range response.GetHealed() {
				healed[i] = append(healed[i], Healed{Node: m.node.Name, Container: name})
			}
		})
	}
	wg.Wait()
	var all []Healed
	for _, h := range healed {
		all = append(all, h...)
	}
	return all, errors.Join(errs...)
}

// Reset clears the named nodes (none: all), at once, down to the given stage: their containers, volumes and so votes.
func (f *Fleet) Reset(ctx context.Context, stage settings.Stage, nodes ...string) error {
	return f.each(ctx, nodes, func(ctx context.Context, m *member) error {
		_, err := m.client.Reset(ctx, &agentv1.ResetRequest{Stage: rolev1.Stage(stage)})
		return err
	})
}

// Retire empties a node that is about to be removed; progress is called with what its agent says meanwhile.
func (f *Fleet) Retire(ctx context.Context, node string, progress func(text string, queued float64)) error {
	m, err := f.member(node)
	if err != nil {
		return err
	}
	stream, err := m.client.Retire(ctx, &agentv1.RetireRequest{})
	if err != nil {
		return m.explain(err)
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return m.explain(err)
		}
		progress(response.GetProgress(), response.GetVotesQueued())
	}
}

// Forget removes a node that is gone from the swarm and from Consul.
func (f *Fleet) Forget(ctx context.Context, node string) error {
	managers := f.lab.Topology.OfRole(topology.RoleManager)
	if len(managers) == 0 {
		return errors.New("the lab has no manager")
	}
	m, err := f.member(managers[0].Name)
	if err != nil {
		return err
	}
	if _, err := m.client.ForgetNode(ctx, &agentv1.ForgetNodeRequest{Name: node}); err != nil {
		return m.explain(err)
	}
	return nil
}

// LogOptions choose what Logs delivers.
type LogOptions struct {
	// Container whose output is wanted; empty: the agent's own journal.
	Container string
	Follow    bool
	// Tail is the number of lines from the end, at most 10000; 0 is the agent's default.
	Tail uint32
}

// Logs calls line for each line of output until it ends or ctx does.
func (f *Fleet) Logs(ctx context.Context, node string, o LogOptions, line func(text string, stderr bool) error) error {
	m, err := f.member(node)
	if err != nil {
		return err
	}
	stream, err := m.client.Logs(ctx, &agentv1.LogsRequest{Container: o.Container, Follow: o.Follow, Tail: o.Tail})
	if err != nil {
		return m.explain(err)
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return m.explain(err)
		}
		if err := line(response.GetLine(), response.GetStderr()); err != nil {
			return err
		}
	}
}
