package node

import (
	"context"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/discovery"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
	"github.com/swarmlab/swarmlab/agents/role"
)

// Snapshot returns the node as the agent sees it now.
func (n *Node) Snapshot() *agentv1.NodeSnapshot {
	n.hub.looked()
	n.mu.Lock()
	st, plan, health, runs, impossible := n.status, n.plan, n.health, n.runs, n.impossible
	n.mu.Unlock()
	if time.Since(health.at) > checkWatched {
		poke(n.check) // for the next one
	}
	roleStatus := n.role.Status()
	snapshot := &agentv1.NodeSnapshot{
		Lab: n.config.Lab, Name: n.config.Self.GetName(), Identity: n.config.Self, TakenAt: timestamppb.Now(),
		Agent: &agentv1.AgentStatus{
			Version: n.version, StartedAt: timestamppb.New(n.started),
			ProvisionHash: readLine(n.paths.ProvisionHash),
			ResidentBytes: resident("self") + resident(strconv.Itoa(roleStatus.PID)),
			BootId:        readLine("/proc/sys/kernel/random/boot_id"),
		},
		Engine: &agentv1.EngineStatus{
			Up:      st.Observed.EngineError == "" && st.Observed.EngineVersion != "",
			Version: st.Observed.EngineVersion, Error: st.Observed.EngineError,
		},
		Swarm:        swarmStatus(st.Observed),
		DesiredStage: n.stage(),
		ReachedStage: st.Reached,
		Containers:   containers(st),
		Role:         roleSummary(roleStatus, plan, health),
		Discovery:    discoveryStatus(n.discovery.Status()),
		Pending:      pendings(st.Pending, time.Now()),
		Clock:        n.clock.status(),
		Faults:       faultStatuses(n.faults.List()),

		ImpossibleFaults: impossible,
	}
	snapshot.Ready = ready(snapshot, plan, health.began.After(runs))
	return snapshot
}

// ready judges a snapshot as the protocol defines it. The role and its services count once all of the plan's containers
// belong to the desired stage: below, it cannot do its job. fresh: the role was checked since the containers changed.
func ready(s *agentv1.NodeSnapshot, plan planned, fresh bool) bool {
	if !s.GetEngine().GetUp() || !plan.known || s.GetReachedStage() < s.GetDesiredStage() {
		return false
	}
	complete := true
	for i := range plan.containers {
		complete = complete && plan.containers[i].Stage <= s.GetDesiredStage()
	}
	if !complete {
		return true
	}
	for _, service := range plan.plan.GetServices() {
		id := s.GetName() + "/" + service.GetName()
		if !slices.Contains(s.GetDiscovery().GetRegistered(), id) {
			return false
		}
	}
	return fresh && s.GetRole().GetRunning() && s.GetRole().GetHealthy()
}

func swarmStatus(o reconcile.Observed) *agentv1.SwarmStatus {
	s := &agentv1.SwarmStatus{
		LocalState: string(o.Swarm.State), NodeId: o.Swarm.NodeID, Manager: o.Swarm.Manager, Error: o.Swarm.Error,
	}
	for _, m := range o.Members {
		s.Members = append(s.Members, &agentv1.SwarmMember{Id: m.ID, Hostname: m.Hostname, State: m.State, Address: m.Address})
	}
	for _, name := range slices.Sorted(maps.Keys(o.Networks)) {
		if o.Networks[name].Overlay {
			s.Networks = append(s.Networks, name)
		}
	}
	return s
}

// containers lists the plan's containers first, in its order, then all others by name.
func containers(st reconcile.Status) []*agentv1.ContainerStatus {
	var out []*agentv1.ContainerStatus
	planned := map[string]bool{}
	for i := range st.Desired.Containers {
		c := &st.Desired.Containers[i]
		name := c.Spec.Name
		planned[name] = true
		have, ok := st.Observed.Containers[name]
		if st.Observed.EngineError != "" {
			out = append(out, &agentv1.ContainerStatus{Name: name, Image: c.Spec.Image, Error: "the engine does not answer"})
			continue
		}
		if !ok {
			out = append(out, &agentv1.ContainerStatus{
				Name: name, Image: c.Spec.Image, Ownership: agentv1.Ownership_OWNERSHIP_MISSING,
			})
			continue
		}
		shown := containerStatus(have, st.Observed)
		if st.Observed.Busy[name] {
			// The engine tells nothing of it now, so nothing is known to differ.
			shown.Ownership, shown.Image = agentv1.Ownership_OWNERSHIP_MANAGED, c.Spec.Image
			out = append(out, shown)
			continue
		}
		owner := reconcile.Own(st.Desired.Lab, c, have)
		switch {
		case owner.Managed:
			shown.Ownership = agentv1.Ownership_OWNERSHIP_MANAGED
		case len(owner.Differences) > 0:
			shown.Ownership, shown.Differences = agentv1.Ownership_OWNERSHIP_DIFFERENT, owner.Differences
		default:
			shown.Ownership = agentv1.Ownership_OWNERSHIP_ADOPTED
		}
		out = append(out, shown)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Observed.Containers)) {
		if !planned[name] {
			shown := containerStatus(st.Observed.Containers[name], st.Observed)
			shown.Ownership = agentv1.Ownership_OWNERSHIP_FOREIGN
			out = append(out, shown)
		}
	}
	return out
}

func containerStatus(c engine.Container, o reconcile.Observed) *agentv1.ContainerStatus {
	out := &agentv1.ContainerStatus{
		Name: c.Spec.Name, Id: c.ID, Image: c.Spec.Image, State: string(c.State),
		ManuallyStopped: !reconcile.Runs(c) && o.Stops[c.ID] == reconcile.StopManual,
		ExitCode:        int32(c.ExitCode), Restarts: int64(c.Restarts), Pid: int64(c.PID), Error: c.Error,
		Networks: map[string]string{},
	}
	for name, endpoint := range c.Endpoints {
		out.Networks[name] = endpoint.Address
	}
	for _, p := range c.Spec.Ports {
		out.Ports = append(out.Ports, &rolev1.PublishedPort{
			HostAddress: p.HostAddress, HostPort: uint32(p.HostPort), ContainerPort: uint32(p.ContainerPort),
		})
	}
	since := c.Created
	switch {
	case reconcile.Runs(c):
		since = c.StartedAt
	case !c.FinishedAt.IsZero():
		since = c.FinishedAt
	}
	if !since.IsZero() {
		out.Since = timestamppb.New(since)
	}
	return out
}

func roleSummary(st role.Status, plan planned, health health) *agentv1.RoleStatus {
	out := &agentv1.RoleStatus{
		Name: st.Name, Version: st.Version, Running: st.Running, Pid: int64(st.PID), Respawns: st.Respawns,
		Checked: !health.at.IsZero(), Healthy: health.err == nil && health.response.GetHealthy(),
		Message: reason(health.response, health.err), Measures: health.response.GetMeasures(),
	}
	if !health.at.IsZero() {
		out.CheckedAt = timestamppb.New(health.at)
	}
	switch {
	case st.Err != nil:
		out.Error = st.Err.Error()
	case plan.err != nil:
		out.Error = plan.err.Error()
	}
	return out
}

func discoveryStatus(st discovery.Status) *agentv1.DiscoveryStatus {
	out := &agentv1.DiscoveryStatus{Reachable: st.Reachable, Error: errorText(st.Err), Registered: st.Registered}
	if !st.Since.IsZero() {
		out.Since = timestamppb.New(st.Since)
	}
	return out
}

func pendings(pending []reconcile.Pending, now time.Time) []*agentv1.Pending {
	var out []*agentv1.Pending
	for _, p := range pending {
		shown := &agentv1.Pending{
			Step: p.Step.String(), Reason: p.Reason, Attempts: int32(min(p.Attempts, 1<<30)), Since: timestamppb.New(p.Since),
		}
		if !p.RetryAt.IsZero() {
			shown.RetryIn = durationpb.New(max(0, p.RetryAt.Sub(now)))
		}
		out = append(out, shown)
	}
	return out
}

// Watch sends a snapshot, then every change.
func (n *Node) Watch(ctx context.Context, send func(*agentv1.WatchResponse) error) error {
	return n.hub.watch(ctx, n.Snapshot, send)
}

// Logs sends lines of a container's output, or of the agent's journal.
func (n *Node) Logs(ctx context.Context, container string, follow bool, tail int, send func(line string, stderr bool) error) error {
	if container == "" {
		return n.host.Journal(ctx, follow, tail, func(text string) error { return send(text, false) })
	}
	n.mu.Lock()
	have, ok := n.status.Observed.Containers[container]
	n.mu.Unlock()
	if !ok {
		return status.Errorf(codes.NotFound, "there is no container %s on %s", container, n.config.Self.GetName())
	}
	return n.engine.Logs(ctx, have.ID, engine.LogOptions{Tail: tail, Follow: follow}, send)
}

// resident is the resident memory of a process, in bytes; 0 when it is gone.
func resident(pid string) uint64 {
	fields := strings.Fields(readLine("/proc/" + pid + "/statm"))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

func readLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}
