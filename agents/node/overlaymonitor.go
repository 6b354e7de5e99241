package node

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/overlayprobe"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

const (
	// meshStrikes is how many probes in a row must fail before the endpoint counts as stale, meshRepairs how often it is then
	// made anew before the agent gives up.
	meshStrikes = 3
	meshRepairs = 3
)

var (
	meshInterval = timescale.Scale(2 * time.Second)
	// meshWindow is how long after its endpoint was made a container is probed, at most. Later it is not the coming back of a
	// node that cuts it off, and making the endpoint anew would not help.
	meshWindow = timescale.Scale(90 * time.Second)
	// meshSettle is the age at which an endpoint, here or at a peer, should be known everywhere.
	meshSettle = timescale.Scale(1500 * time.Millisecond)
	// addressInterval is how often the addresses of a lab at rest are compared, probes or not.
	addressInterval = timescale.Scale(30 * time.Second)
	// peerTimeout is for answers that a probe waits for, addressTimeout for those that may come from a starved node.
	peerTimeout    = timescale.Scale(1500 * time.Millisecond)
	addressTimeout = timescale.Scale(5 * time.Second)
)

// prober looks from inside a container's network namespace; see [overlayprobe.Probe].
type prober func(ctx context.Context, pid int, targets []overlayprobe.Target) ([]overlayprobe.Finding, error)

// overlayMonitor probes what the node's containers reach over the lab's network after they came onto it, until they reach all of their peers
// once. In a lab at rest it only looks, now and then, whether the addresses are still everyone's own: swarm's allocator was seen to
// give one address to containers of three nodes, after attachments that had failed halfway, and no probe of a healthy pair tells.
// It is safe for concurrent use.
type overlayMonitor struct {
	self   string // the node's name
	probe  prober
	peers  func(ctx context.Context) []*agentv1.NodeSnapshot
	now    func() time.Time
	notify func(container, action, message string)

	mu       sync.Mutex
	known    map[string]*endpointWatch // by container name
	compared time.Time                 // when addresses were last compared
}

// endpointWatch is what is known of one endpoint of a container.
type endpointWatch struct {
	container, endpoint string
	address             string
	started             time.Time // of the container
	since               time.Time // of the endpoint
	done                bool      // nothing more to probe
	cutOff              bool      // given up
	strikes             int
	// evidence is against the connection, and a later probe may refute it; shared is against the address, for good.
	evidence, shared string
	// repairs counts over the endpoints of one run of the container.
	repairs int
}

// stale returns the evidence against the present endpoints of containers, by container name.
func (w *overlayMonitor) stale() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]string{}
	for name, k := range w.known {
		if evidence := cmp.Or(k.shared, k.evidence); evidence != "" {
			out[name] = evidence
		}
	}
	return out
}

// observed takes note of the containers' endpoints.
func (w *overlayMonitor) observed(desired reconcile.Desired, containers map[string]engine.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := map[string]bool{}
	for i := range desired.Containers {
		name := desired.Containers[i].Spec.Name
		c, ok := containers[name]
		endpoint := c.Endpoints[contract.Network]
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
		w.known[name] = &endpointWatch{
			container: run, endpoint: endpoint.EndpointID, address: endpoint.Address, started: c.StartedAt, since: w.now(), repairs: repairs,
		}
	}
	for name := range w.known {
		if !there[name] {
			delete(w.known, name)
		}
	}
}

// due returns the containers that are to be probed now.
func (w *overlayMonitor) due() []string {
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

// round compares addresses and probes what is due, with the processes of the containers by name, and reports whether the evidence
// changed.
func (w *overlayMonitor) round(ctx context.Context, pids map[string]int) bool {
	due, timeout := w.due(), peerTimeout
	if len(due) == 0 {
		if !w.comparesNow() {
			return false
		}
		timeout = addressTimeout
	}
	asking, cancel := context.WithTimeout(ctx, timeout)
	peers := w.peers(asking)
	cancel()
	changed := w.compare(peers)
	targets := targets(peers, w.now())
	for _, name := range due {
		if pids[name] == 0 || len(targets) == 0 {
			continue
		}
		findings, err := w.probe(ctx, pids[name], targets)
		if err != nil {
			continue // it ended meanwhile, most likely; if not, the next round tells
		}
		changed = w.classify(name, findings) || changed
	}
	return changed
}

// comparesNow reports whether the addresses are due for a comparison.
func (w *overlayMonitor) comparesNow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.known) > 0 && w.now().Sub(w.compared) >= addressInterval
}

// compare looks for other containers with the addresses of this node's. Of two, the one that started later gives way: its agent makes its
// endpoint anew, which has the allocator choose again, and the other's agent comes to the opposite conclusion. It reports whether the
// evidence changed.
func (w *overlayMonitor) compare(peers []*agentv1.NodeSnapshot) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.compared = w.now()
	claims := map[string][]claim{} // by address
	for name, k := range w.known {
		claims[k.address] = append(claims[k.address], claim{node: w.self, container: name, started: k.started})
	}
	for _, p := range peers {
		for _, c := range p.GetContainers() {
			if address := c.GetNetworks()[contract.Network]; address != "" && c.GetState() == string(engine.StateRunning) {
				claims[address] = append(claims[address],
					claim{node: p.GetName(), container: c.GetName(), started: c.GetSince().AsTime()})
			}
		}
	}
	changed := false
	for name, k := range w.known {
		first := slices.MinFunc(claims[k.address], claim.compare)
		if first.node == w.self && first.container == name {
			continue
		}
		changed = w.accuse(name, k, &k.shared,
			fmt.Sprintf("its address %s is also that of %s on %s", k.address, first.container, first.node)) || changed
	}
	return changed
}

// claim is a running container's to an address.
type claim struct {
	node, container string
	started         time.Time
}

// compare orders claims, the strongest first; every node's agent comes to the same order.
func (c claim) compare(other claim) int {
	return cmp.Or(c.started.Compare(other.started), cmp.Compare(c.node, other.node), cmp.Compare(c.container, other.container))
}

// evaluate draws the conclusion from a probe.
func (w *overlayMonitor) classify(name string, findings []overlayprobe.Finding) bool {
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
		if k.strikes < meshStrikes {
			return false
		}
		return w.accuse(name, k, &k.evidence, fmt.Sprintf("it does not reach %s: %v", f.Target, f.Err))
	}
	k.done, k.strikes, k.evidence = true, 0, ""
	w.notify(name, "reaches-peers", fmt.Sprintf("%d containers of other nodes answer", len(findings)))
	return false
}

// accuse writes the evidence against an endpoint and reports whether it did: once is enough, and it gives up when making the endpoint
// anew was tried often enough.
func (w *overlayMonitor) accuse(name string, k *endpointWatch, where *string, evidence string) bool {
	if k.evidence != "" || k.shared != "" || k.cutOff {
		return false
	}
	if k.repairs >= meshRepairs {
		k.done, k.cutOff = true, true
		w.notify(name, "cut-off", evidence+fmt.Sprintf("; %d new endpoints did not help", k.repairs))
		return false
	}
	*where = evidence
	k.repairs++
	w.notify(name, "stale", evidence)
	return true
}

// targets are the containers of other nodes that should be reached by now.
func targets(peers []*agentv1.NodeSnapshot, now time.Time) []overlayprobe.Target {
	var out []overlayprobe.Target
	for _, p := range peers {
		for _, c := range p.GetContainers() {
			address, err := netip.ParseAddr(c.GetNetworks()[contract.Network])
			if err != nil || !address.Is4() || c.GetState() != string(engine.StateRunning) ||
				now.Sub(c.GetSince().AsTime()) < meshSettle {
				continue
			}
			out = append(out, overlayprobe.Target{Name: c.GetName(), Node: p.GetName(), Address: address})
		}
	}
	return out
}

// monitorOverlay probes until the context ends.
func (n *Node) monitorOverlay(ctx context.Context) error {
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

// peers asks the other nodes' agents how they do; those that do not answer within the context's time are left out.
func (n *Node) peers(ctx context.Context) []*agentv1.NodeSnapshot {
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
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(peer.GetAddress(), strconv.Itoa(contract.AgentPort)),
		grpc.WithTransportCredentials(credentials.NewTLS(n.identity.Client(peer.GetName()))),
		grpc.WithNoProxy()) // of the environment: a peer is a node of the same lab
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
