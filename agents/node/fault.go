package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/fault"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

const (
	faultDir = "faults"
	// consul is the one container whose data others make anew: the agents register again what it has forgotten.
	consul = contract.ConsulContainer
	// clockDir has the file that sets the clock of containers which go by it; see ClockOffset in the roles' protocol.
	clockDir = "clock"
	// maxHolder bounds what is kept of who injected a fault.
	maxHolder = 64
)

// healTimeout bounds a Heal. A container that ended meanwhile has to start.
var healTimeout = timescale.Scale(time.Minute)

// engineUnits are those to stop, in this order, for the engine to stay down: the socket would start it again.
func engineUnits() []string { return []string{"docker.socket", "docker.service"} }

// newFaults opens the node's faults.
func (n *Node) newFaults(means fault.OS) (*fault.Keeper, error) {
	// Containers mount it before there is anything in it.
	if err := os.MkdirAll(n.clockFolder(), 0o755); err != nil {
		return nil, fmt.Errorf("the folder of the clock's offset: %w", err)
	}
	if means.Clock == nil {
		means.Clock = fault.OffsetClock{Folder: n.clockFolder(), URL: n.clockURL, Patience: means.Patience}
	}
	return fault.Open(filepath.Join(n.paths.State, faultDir), fault.Deps{
		OS: means, Engine: n.engine, Network: contract.Network, EngineUnits: engineUnits(), AgentPort: contract.AgentPort,
		Own: stopper{n}.Own, Wanted: n.wanted, Renewable: func(container string) bool { return container == consul },
	}, n.log, func(f fault.Fault, action, message string) {
		n.emit(faultSubject(f), "fault-"+action, f.Spec.String()+": "+message)
		n.loop.Hurry()
	})
}

// noteImpossible finds out, once, which faults this node cannot do: its kernel does not change.
func (n *Node) noteImpossible(ctx context.Context) {
	kinds := n.faults.Impossible(ctx)
	n.mu.Lock()
	n.impossible = kinds
	n.mu.Unlock()
	n.hub.refresh()
}

// Reap ends the faults that a dead agent left in force, as far as that goes without one; see [fault.Keeper.Reap].
func Reap(ctx context.Context, paths Paths, engine fault.Engine, means fault.OS, log *slog.Logger) (abandoned, all int, err error) {
	if means.Clock == nil {
		means.Clock = fault.OffsetClock{Folder: filepath.Join(paths.State, clockDir), URL: func() string { return "" }}
	}
	k, err := fault.Open(filepath.Join(paths.State, faultDir), fault.Deps{
		OS: means, Engine: engine, Network: contract.Network, EngineUnits: engineUnits(),
	}, log, func(fault.Fault, string, string) {})
	if err != nil {
		return 0, 0, err
	}
	return k.Reap(ctx)
}

func (n *Node) clockFolder() string { return filepath.Join(n.paths.State, clockDir) }

// clockURL is where a container tells its time that goes by the offset of the node's clock; empty: none does now.
func (n *Node) clockURL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.plan.plan.GetContainers() {
		have := n.status.Observed.Containers[c.GetName()]
		if have.State != engine.StateRunning {
			continue
		}
		for _, m := range c.GetMounts() {
			if m.GetClockOffset() != nil && slices.ContainsFunc(have.Spec.Mounts, func(h engine.Mount) bool { return h.Source == n.clockFolder() }) {
				return m.GetClockOffset().GetUrl()
			}
		}
	}
	return ""
}

func faultSubject(f fault.Fault) string {
	switch {
	case f.Spec.Container != "":
		return f.Spec.Container
	case f.Spec.Kind == faultkind.Partition:
		return "agent"
	case f.Spec.Kind == faultkind.Skew:
		return "clock"
	}
	return "engine"
}

// wanted reports whether the loop would bring a container of the plan back.
func (n *Node) wanted(name string) bool {
	d := n.desired()
	if d.Hold != "" {
		return false
	}
	i := slices.IndexFunc(d.Containers, func(c reconcile.Container) bool { return c.Spec.Name == name })
	if i < 0 || d.Containers[i].Stage > d.Stage {
		return false
	}
	for _, stopped := range n.tracker.Record().Stopped {
		if stopped.Name == name {
			return false
		}
	}
	return true
}

// Inject breaks something; see the protocol.
func (n *Node) Inject(ctx context.Context, in *agentv1.InjectRequest) (*agentv1.Fault, error) {
	spec := fault.Spec{Kind: faultkind.Kind(in.GetKind()), Container: in.GetContainer(), Strength: faultkind.StrengthOf(in)}
	for _, name := range in.GetPeers() {
		peer, err := n.peer(name)
		if err != nil {
			return nil, err
		}
		spec.Peers = append(spec.Peers, peer)
	}
	holder := []rune(in.GetHolder())
	if len(holder) == 0 || len(holder) > maxHolder || slices.ContainsFunc(holder, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return nil, status.Errorf(codes.InvalidArgument, "who breaks it? Give 1 to %d characters that can be shown", maxHolder)
	}
	if spec.Kind.OfContainer() && spec.Container != "" && !n.plans(spec.Container) {
		return nil, status.Errorf(codes.InvalidArgument, "%s is no container of %s", spec.Container, n.config.Self.GetName())
	}
	f, err := n.faults.Inject(ctx, spec, in.GetLease().AsDuration(), in.GetHolder())
	if err != nil {
		return nil, faultError(err)
	}
	return faultStatus(f), nil
}

// peer finds another node of the lab.
func (n *Node) peer(name string) (fault.Peer, error) {
	if name == n.config.Self.GetName() {
		return fault.Peer{}, status.Errorf(codes.InvalidArgument, "%s cannot be cut off from itself", name)
	}
	for _, node := range n.config.Nodes {
		if node.GetName() == name {
			address, err := netip.ParseAddr(node.GetAddress())
			if err != nil {
				return fault.Peer{}, fmt.Errorf("the address of %s: %w", name, err)
			}
			return fault.Peer{Name: name, Address: address}, nil
		}
	}
	return fault.Peer{}, status.Errorf(codes.InvalidArgument, "the lab has no node %s", name)
}

func (n *Node) plans(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.plan.containers, func(c reconcile.Container) bool { return c.Spec.Name == name })
}

// Renew renews a fault's lease.
func (n *Node) Renew(_ context.Context, id string, lease time.Duration) (*agentv1.Fault, error) {
	f, err := n.faults.Renew(id, lease)
	if err != nil {
		return nil, faultError(err)
	}
	return faultStatus(f), nil
}

// faultError gives an error its code.
func faultError(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, fault.ErrInvalid):
		code = codes.InvalidArgument
	case errors.Is(err, fault.ErrRefused):
		code = codes.FailedPrecondition
	case errors.Is(err, fault.ErrUnknown):
		code = codes.NotFound
	}
	return status.Error(code, err.Error())
}

// endFaults ends faults, all or those with the given ids, and waits until they are over.
func (n *Node) endFaults(ctx context.Context, ids ...string) ([]*agentv1.Fault, error) {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	over, err := n.faults.Heal(ctx, ids...)
	return faultStatuses(over), err
}

func faultStatuses(faults []fault.Fault) []*agentv1.Fault {
	var out []*agentv1.Fault
	for _, f := range faults {
		out = append(out, faultStatus(f))
	}
	return out
}

func faultStatus(f fault.Fault) *agentv1.Fault {
	out := &agentv1.Fault{
		Id: f.ID, Kind: string(f.Spec.Kind), Container: f.Spec.Container, Holder: f.Holder, InjectedAt: timestamppb.New(f.Injected),
		Left: durationpb.New(f.Left), Ending: f.Phase == fault.Ending, Evidence: f.Evidence,
		Delay: length(f.Spec.Delay), Jitter: length(f.Spec.Jitter), Loss: f.Spec.Loss, Rate: f.Spec.Rate, Skew: length(f.Spec.Skew),
	}
	for _, p := range f.Spec.Peers {
		out.Peers = append(out.Peers, p.Name)
	}
	if f.Trouble != nil {
		out.Trouble = f.Trouble.Error()
	}
	return out
}

// length is nil for none.
func length(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
