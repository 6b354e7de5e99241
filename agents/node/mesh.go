package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/mesh"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

const (
	meshInterval = 2 * time.Second
	// meshWindow is how long after its endpoint was made a container is probed, at most. Later it is not the coming back of a
	// node that cuts it off, and making the endpoint anew would not help.
	meshWindow = 90 * time.Second
	// meshSettle is the age at which an endpoint, here or at a peer, should be known everywhere.
	meshSettle = 1500 * time.Millisecond
	// meshStrikes is how many probes in a row must fail before the endpoint counts as stale, meshRepairs how often it is then
	// made anew before the agent gives up.
	meshStrikes = 3
	meshRepairs = 3
	peerTimeout = 1500 * time.Millisecond
)

// prober looks from inside a container's network namespace; see [mesh.Probe].
type prober func(ctx context.Context, pid int, targets []mesh.Target) ([]mesh.Finding, error)

// meshWatch probes what the node's containers reach over the lab's network after they came onto it, until they reach all of their peers
// once. In a lab at rest it does nothing. It is safe for concurrent use.
type meshWatch struct {
	probe prober
	peers func(ctx context.Context) []*agentv1.NodeSnapshot
	now   func() time.Time
	tell  func(container, action, message string)

	mu    sync.Mutex
	known map[string]*endpointWatch // by container name
}

// endpointWatch is what is known of one endpoint of a container.
type endpointWatch struct {
	container, endpoint string
	since               time.Time
	done                bool
	strikes             int
	evidence            string
	// repairs counts over the endpoints of one run of the container.
	repairs int
}

// stale returns the evidence against the present endpoints of containers, by container name.
func (w *meshWatch) stale() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]string{}
	for name, k := range w.known {
		if k.evidence != "" {
			out[name] = k.evidence
		}
	}
	return out
}

// observed takes note of the containers' endpoints.
func (w *meshWatch) observed(desired reconcile.Desired, containers map[string]engine.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := map[string]bool{}
	for i := range desired.Containers {
		name := desired.Containers[i].Spec.Name
		c, ok := containers[name]
		endpoint := c.Endpoints[LabNetwork]
		if !ok || c.State != engine.StateRunning || endpoint.Address == "" {
			continue
		}
		there[name] = true
		k := w.known[name]
		run := c.ID + c.StartedAt.String()
		if k != nil && k.container == run && k.endpoint == endpoint.EndpointID {
			continue
		}
		repairs := 0
		if k != nil && k.container == run {
			repairs = k.repairs
		}
		w.known[name] = &endpointWatch{container: run, endpoint: endpoint.EndpointID, since: w.now(), repairs: repairs}
	}
	for name := range w.known {
		if !there[name] {
			delete(w.known, name)
		}
	}
}

// due returns the containers that are to be probed now.
func (w *meshWatch) due() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name, k := range w.known {
		age := w.now().Sub(k.since)
		if !k.done && age >= meshSettle && age < meshWindow {
			names = append(names, name)
		}
	}
	return names
}

// round probes what is due, with the processes of the containers by name, and reports whether the evidence changed.
func (w *meshWatch) round(ctx context.Context, pids map[string]int) bool {
	due := w.due()
	if len(due) == 0 {
		return false
	}
	targets := targets(w.peers(ctx), w.now())
	changed := false
	for _, name := range due {
		if pids[name] == 0 || len(targets) == 0 {
			continue
		}
		findings, err := w.probe(ctx, pids[name], targets)
		if err != nil {
			continue // it ended meanwhile, most likely; if not, the next round tells
		}
		changed = w.judge(name, findings) || changed
	}
	return changed
}

// judge draws the conclusion from a probe.
func (w *meshWatch) judge(name string, findings []mesh.Finding) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.known[name]
	if k == nil {
		return false
	}
	for _, f := range findings {
		if f.Err == nil {
			continue
		}
		k.strikes++
		if k.strikes < meshStrikes || k.evidence != "" {
			return false
		}
		evidence := fmt.Sprintf("it does not reach %s: %v", f.Target, f.Err)
		if k.repairs >= meshRepairs {
			k.done = true
			w.tell(name, "cut-off", evidence+fmt.Sprintf("; %d new endpoints did not help", k.repairs))
			return false
		}
		k.evidence = evidence
		k.repairs++
		w.tell(name, "stale", evidence)
		return true
	}
	k.done, k.strikes, k.evidence = true, 0, ""
	w.tell(name, "reaches-peers", fmt.Sprintf("%d containers of other nodes answer", len(findings)))
	return false
}

// targets are the containers of other nodes that should be reached by now.
func targets(peers []*agentv1.NodeSnapshot, now time.Time) []mesh.Target {
	var out []mesh.Target
	for _, p := range peers {
		for _, c := range p.GetContainers() {
			address, err := netip.ParseAddr(c.GetNetworks()[LabNetwork])
			if err != nil || !address.Is4() || c.GetState() != string(engine.StateRunning) ||
				now.Sub(c.GetSince().AsTime()) < meshSettle {
				continue
			}
			out = append(out, mesh.Target{Name: c.GetName(), Node: p.GetName(), Address: address})
		}
	}
	return out
}

// watchMesh probes until the context ends.
func (n *Node) watchMesh(ctx context.Context) error {
	ticker := time.NewTicker(meshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		n.mu.Lock()
		st := n.status
		n.mu.Unlock()
		pids := map[string]int{}
		for name, c := range st.Observed.Containers {
			pids[name] = c.PID
		}
		if n.mesh.round(ctx, pids) {
			n.loop.Trigger()
		}
	}
}

// peers asks the other nodes' agents how they do; those that do not answer are left out.
func (n *Node) peers(ctx context.Context) []*agentv1.NodeSnapshot {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	var out []*agentv1.NodeSnapshot
	var group errgroup.Group
	for _, peer := range n.config.Nodes {
		if peer == n.config.Self {
			continue
		}
		group.Go(func() error {
			if s, err := n.askPeer(ctx, peer); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, s)
			}
			return nil
		})
	}
	_ = group.Wait()
	return out
}

// askPeer gets the snapshot of another node.
func (n *Node) askPeer(ctx context.Context, peer *rolev1.Node) (*agentv1.NodeSnapshot, error) {
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(peer.GetAddress(), agentPort),
		grpc.WithTransportCredentials(credentials.NewTLS(n.identity.Client(peer.GetName()))))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", peer.GetName(), err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := agentv1.NewAgentServiceClient(conn).Snapshot(ctx, &agentv1.SnapshotRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", peer.GetName(), err)
	}
	return answer.GetNode(), nil
}
