package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/manualstop"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

const (
	// drainInterval is how often a retiring node looks whether something still waits on it.
	drainInterval = 500 * time.Millisecond
	// removeInterval is how often the removal of a network is tried that other nodes still hold.
	removeInterval = 300 * time.Millisecond
	planInterval   = 100 * time.Millisecond
)

var (
	// resetTimeout bounds a reset whose caller sets no deadline.
	resetTimeout = timescale.Scale(2 * time.Minute)
	// planPatience bounds the wait for a role's first plan, for which is looked every planInterval.
	planPatience = timescale.Scale(10 * time.Second)
)

// SetStage sets the desired stage. It also brings a retired node back.
func (n *Node) SetStage(_ context.Context, stage rolev1.Stage) error {
	err := n.state.update(func(r *record) { r.Stage, r.Retired = StageName(stage), false })
	if err != nil {
		return err
	}
	n.emit("agent", "stage", "the desired stage is "+StageName(stage))
	n.loop.Hurry()
	poke(n.check)
	return nil
}

// Heal ends faults: those with the given ids, or, without any, all, and then starts the plan's containers that were stopped or paused manually.
func (n *Node) Heal(ctx context.Context, faults []string) (*agentv1.HealResponse, error) {
	out := &agentv1.HealResponse{}
	var errFaults, errHands error
	out.Ended, errFaults = n.endFaults(ctx, faults...)
	if len(faults) == 0 {
		out.Healed, errHands = n.healManualStops(ctx)
	}
	return out, errors.Join(errFaults, errHands)
}

// awaitPlan returns what is the node's to do. An agent that has just been started, as on a node that got its power back, learns that in a moment.
func (n *Node) awaitPlan(ctx context.Context) (planned, error) {
	ctx, cancel := context.WithTimeout(ctx, planPatience)
	defer cancel()
	for {
		n.mu.Lock()
		plan := n.plan
		n.mu.Unlock()
		if plan.known {
			return plan, nil
		}
		select {
		case <-ctx.Done():
			return plan, status.Errorf(codes.Unavailable, "%s does not know yet what is its to heal: %s", n.config.Self.GetName(),
				errorText(n.role.Status().Err))
		case <-time.After(planInterval):
		}
	}
}

// healManualStops starts what was stopped or paused manually.
func (n *Node) healManualStops(ctx context.Context) ([]string, error) {
	plan, err := n.awaitPlan(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := n.classified(ctx, plan)
	if err != nil {
		return nil, err
	}
	planned := map[string]bool{}
	var healed []string
	var errs []error
	for i := range plan.containers {
		name := plan.containers[i].Spec.Name
		planned[name] = true
		if have := containers[name]; have.State == engine.StatePaused {
			if err := n.engine.Unpause(ctx, have.ID); err != nil {
				errs = append(errs, err)
				continue
			}
			healed = append(healed, name)
		}
	}
	healed = append(healed, n.tracker.Heal(func(name string) bool { return planned[name] })...)
	slices.Sort(healed)
	n.saveManualStops()
	n.loop.Hurry()
	if len(healed) > 0 {
		n.emit("agent", "healed", strings.Join(healed, ", "))
	}
	return healed, errors.Join(errs...)
}

// classified returns the plan's containers as they are now, once it is known of each that ended who ended it: to heal right after a stop must
// not overtake what the engine tells of that stop. None, while the engine is away.
func (n *Node) classified(ctx context.Context, plan planned) (map[string]engine.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, n.judgeTimeout)
	defer cancel()
	for {
		if life, _ := n.engineNow(); life == nil {
			return nil, nil
		}
		containers := map[string]engine.Container{}
		open := ""
		for i := range plan.containers {
			name := plan.containers[i].Spec.Name
			c, err := n.engine.Container(ctx, name)
			switch {
			case errors.Is(err, engine.ErrNotFound):
				continue
			case err != nil:
				return nil, status.Errorf(codes.Unavailable, "%s: %v", n.config.Self.GetName(), err)
			}
			containers[name] = c
			if !reconcile.Runs(c) && n.tracker.Stop(c, time.Now()) == reconcile.StopOpen {
				open = name
			}
		}
		if open == "" {
			return containers, nil
		}
		select {
		case <-time.After(judgeInterval):
		case <-ctx.Done():
			return nil, status.Errorf(codes.Unavailable, "%s: cannot tell yet who stopped %s; try again", n.config.Self.GetName(), open)
		}
	}
}

// occupy keeps the loop from doing anything while one operation has the node to itself.
func (n *Node) occupy(ctx context.Context, why string) (release func(), err error) {
	n.mu.Lock()
	if n.busy != "" {
		defer n.mu.Unlock()
		return nil, status.Errorf(codes.FailedPrecondition, "%s: %s", n.config.Self.GetName(), n.busy)
	}
	n.busy = why
	n.mu.Unlock()
	free := func() {
		n.mu.Lock()
		n.busy = ""
		n.mu.Unlock()
	}
	resume, err := n.loop.Hold(ctx)
	if err != nil {
		free()
		return nil, err
	}
	return sync.OnceFunc(func() {
		free()
		n.observer.Forget()
		resume()
	}), nil
}

// Reset takes the node down to a stage: all containers, the lab's volumes, and what lies above the stage.
func (n *Node) Reset(ctx context.Context, stage rolev1.Stage) (*agentv1.ResetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	if _, err := n.endFaults(ctx); err != nil {
		return nil, err
	}
	release, err := n.occupy(ctx, "it is being reset")
	if err != nil {
		return nil, err
	}
	defer release()
	out := &agentv1.ResetResponse{}
	if out.RemovedContainers, err = n.removeContainers(ctx); err != nil {
		return nil, err
	}
	if out.RemovedVolumes, err = n.removeVolumes(ctx); err != nil {
		return nil, err
	}
	if err := n.files.Remove(); err != nil {
		return nil, err
	}
	if err := n.takeDown(ctx, stage); err != nil {
		return nil, err
	}
	n.tracker.Heal(func(string) bool { return true })
	err = n.state.update(func(r *record) {
		r.Stage, r.Retired, r.Hands = StageName(stage), false, manualstop.Record{}
	})
	if err != nil {
		return nil, err
	}
	n.emit("agent", "reset", "the node is clean; the desired stage is "+StageName(stage))
	return out, nil
}

func (n *Node) removeContainers(ctx context.Context) ([]string, error) {
	list, err := n.engine.Containers(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, c := range list {
		n.tracker.Own(c.ID)
		names = append(names, c.Name)
		group.Go(func() error {
			if err := n.engine.Remove(ctx, c.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
			return nil
		})
	}
	slices.Sort(names)
	return names, group.Wait()
}

// removeVolumes removes the volumes that the agent made, and those of the plan that a hand may have made.
func (n *Node) removeVolumes(ctx context.Context) ([]string, error) {
	names, err := n.engine.Volumes(ctx, reconcile.LabelLab, n.config.Lab)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	for i := range n.plan.containers {
		for _, m := range n.plan.containers[i].Spec.Mounts {
			if m.Volume != "" {
				names = append(names, m.Volume)
			}
		}
	}
	n.mu.Unlock()
	slices.Sort(names)
	var removed []string
	for _, name := range slices.Compact(names) {
		switch err := n.engine.RemoveVolume(ctx, name); {
		case err == nil:
			removed = append(removed, name)
		case !errors.Is(err, engine.ErrNotFound):
			return removed, err
		}
	}
	return removed, nil
}

// takeDown removes what belongs to the stages above.
func (n *Node) takeDown(ctx context.Context, stage rolev1.Stage) error {
	n.mu.Lock()
	plan := n.plan
	n.mu.Unlock()
	if stage < rolev1.Stage_STAGE_IMAGES {
		for i := range plan.containers {
			if c := &plan.containers[i]; c.Build != "" {
				if err := n.engine.RemoveImage(ctx, c.Spec.Image); err != nil && !errors.Is(err, engine.ErrNotFound) {
					return err
				}
			}
		}
	}
	manager := membership(plan.plan) == reconcile.MembershipManager
	if stage == rolev1.Stage_STAGE_CLUSTER && manager {
		if err := n.removeNetwork(ctx); err != nil {
			return err
		}
	}
	if stage < rolev1.Stage_STAGE_CLUSTER {
		info, err := n.engine.Info(ctx)
		if err != nil {
			return err
		}
		if info.Swarm.State != engine.SwarmInactive {
			return n.engine.LeaveSwarm(ctx)
		}
	}
	return nil
}

// removeNetwork removes the lab's network. As long as another node has a container on it the swarm refuses.
func (n *Node) removeNetwork(ctx context.Context) error {
	for {
		err := n.engine.RemoveNetwork(ctx, contract.Network)
		if err == nil || errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		select {
		case <-time.After(removeInterval):
		case <-ctx.Done():
			return fmt.Errorf("%w; another node still has a container on it", err)
		}
	}
}

// Retire takes the node out of service: first what offers services to others and so gets new work, then, once nothing
// waits on the node, the rest. Without an end (the caller went away, say) the node goes back to work.
func (n *Node) Retire(ctx context.Context, progress func(text string, queued float64) error) (err error) {
	release, err := n.occupy(ctx, "it is being retired")
	if err != nil {
		return err
	}
	defer release()
	n.mu.Lock()
	st, services := n.status, n.plan.plan.GetServices()
	n.mu.Unlock()
	if st.Observed.EngineError != "" {
		return status.Errorf(codes.Unavailable, "the engine of %s: %s", n.config.Self.GetName(), st.Observed.EngineError)
	}
	front := func(name string) bool {
		return slices.ContainsFunc(services, func(s *rolev1.Service) bool { return s.GetContainer() == name })
	}
	// Deregistered first: the balancer stops sending before the container stops listening.
	n.withdraw(true)
	defer n.withdraw(false)
	if err := n.deregistered(ctx, progress); err != nil {
		return err
	}
	if err := n.stopAll(ctx, st, progress, front); err != nil {
		return err
	}
	if err := n.drained(ctx, progress); err != nil {
		return err
	}
	if err := n.stopAll(ctx, st, progress, func(name string) bool { return !front(name) }); err != nil {
		return err
	}
	if err := n.state.update(func(r *record) { r.Retired, r.Hands = true, n.tracker.Record() }); err != nil {
		return err
	}
	if st.Observed.Swarm.State != engine.SwarmInactive && membership(n.planNow()) != reconcile.MembershipNone {
		if err := progress("leaves the swarm", 0); err != nil {
			return err
		}
		if err := n.engine.LeaveSwarm(ctx); err != nil {
			return err
		}
	}
	n.emit("agent", "retired", "nothing waits on this node any more")
	return progress("retired", 0)
}

func (n *Node) withdraw(withdrawn bool) {
	n.mu.Lock()
	n.withdrawn = withdrawn
	n.mu.Unlock()
	if withdrawn {
		n.discovery.Offer(nil)
	}
	n.loop.Trigger()
}

// deregisterTimeout is how long a retiring node waits for discovery to have taken note. A balancer that never hears of
// it finds out by its own checks.
var deregisterTimeout = timescale.Scale(10 * time.Second)

func (n *Node) deregistered(ctx context.Context, progress func(string, float64) error) error {
	if err := progress("withdraws its services", 0); err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, s := range n.planNow().GetServices() {
		ids[n.serviceID(s)] = true
	}
	deadline := time.NewTimer(deregisterTimeout)
	defer deadline.Stop()
	for slices.ContainsFunc(n.discovery.Status().Registered, func(id string) bool { return ids[id] }) {
		select {
		case <-time.After(drainInterval / 5):
		case <-deadline.C:
			return progress("goes on although discovery does not answer: "+errorText(n.discovery.Status().Err), 0)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// serviceID is the id under which discovery registers a service of this node.
func (n *Node) serviceID(s *rolev1.Service) string {
	return n.config.Self.GetName() + "/" + s.GetName()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (n *Node) planNow() *rolev1.PlanResponse {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.plan.plan
}

// stopAll stops the running containers of the plan that are picked, in reverse start order.
func (n *Node) stopAll(ctx context.Context, st reconcile.Status, progress func(string, float64) error, pick func(name string) bool) error {
	for _, c := range slices.Backward(st.Desired.Containers) {
		have, ok := st.Observed.Containers[c.Spec.Name]
		if !ok || !reconcile.Runs(have) || !pick(c.Spec.Name) {
			continue
		}
		if err := progress("stops "+c.Spec.Name, 0); err != nil {
			return err
		}
		if err := (stopper{n}).Own(have.ID); err != nil {
			return err
		}
		if err := n.engine.Stop(ctx, have.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
	}
	return nil
}

// drained waits until the role counts nothing that waits on this node. A role without such a measure has nothing that
// could.
func (n *Node) drained(ctx context.Context, progress func(string, float64) error) error {
	for {
		response, err := n.checkOnce(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		queued, counted := response.GetMeasures()[contract.MeasureQueued]
		if err == nil && (!counted && n.countsNothing() || counted && queued == 0) {
			return nil
		}
		text := "waits until its queue is empty"
		if err != nil || !counted {
			text = "waits until its role can tell what is queued: " + reason(response, err)
		}
		if err := progress(text, queued); err != nil {
			return err
		}
		select {
		case <-time.After(drainInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// countsNothing reports whether the role never told how much is queued.
func (n *Node) countsNothing() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.queues
}

// ForgetNode removes a node that is gone from the swarm and from Consul.
func (n *Node) ForgetNode(ctx context.Context, name string) error {
	n.mu.Lock()
	st := n.status
	n.mu.Unlock()
	if st.Desired.Membership != reconcile.MembershipManager {
		return n.notManager("forget nodes")
	}
	if st.Observed.EngineError != "" {
		return status.Errorf(codes.Unavailable, "the engine of %s: %s", n.config.Self.GetName(), st.Observed.EngineError)
	}
	if name == n.config.Self.GetName() {
		return status.Errorf(codes.InvalidArgument, "%s is the manager itself", name)
	}
	if st.Observed.Swarm.State == engine.SwarmActive {
		members, err := n.engine.Members(ctx)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.Hostname != name {
				continue
			}
			if m.State == memberReady {
				switch alive, err := n.lives(ctx, m); {
				case err != nil:
					return status.Errorf(codes.Unavailable, "could not tell whether %s is alive, so it is not removed from the swarm: %v", name, err)
				case alive:
					return status.Errorf(codes.FailedPrecondition, "%s is alive in the swarm; retire it first", name)
				}
			}
			if err := n.engine.RemoveMember(ctx, m.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
		}
	}
	if _, err := n.discovery.Forget(ctx, name); err != nil {
		return err
	}
	n.observer.ForgetSwarm()
	n.loop.Trigger()
	n.emit("swarm", "forgot", name)
	return nil
}

// memberReady is the state of a swarm node that its manager hears of, or did until a quarter of a minute ago.
const memberReady = "ready"

// lifeTimeout is more than the 3 s after which a network says that nobody has an address.
var lifeTimeout = timescale.Scale(10 * time.Second)

// lives asks a node whether it still is the member that the swarm has in its list. One that left is listed as ready for
// a while; of one that is gone the network says so. The error is that of a node that does not answer: it may be alive.
func (n *Node) lives(ctx context.Context, m engine.Member) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	s, err := n.askPeer(ctx, &rolev1.Node{Name: m.Hostname, Address: m.Address})
	if ctx.Err() != nil {
		return false, fmt.Errorf("%s does not answer: %w", m.Address, ctx.Err())
	}
	return err == nil && s.GetSwarm().GetNodeId() == m.ID && s.GetSwarm().GetLocalState() != string(engine.SwarmInactive), nil
}

func (n *Node) notManager(what string) error {
	return status.Errorf(codes.FailedPrecondition, "%s is not the manager and cannot %s; ask %s",
		n.config.Self.GetName(), what, n.config.Manager().GetName())
}

// JoinInfo waits until the swarm exists and returns what a node needs to join it.
func (n *Node) JoinInfo(ctx context.Context) (*agentv1.JoinInfoResponse, error) {
	for {
		n.mu.Lock()
		st, changed := n.status, n.changed
		n.mu.Unlock()
		have := st.Observed.Swarm
		switch {
		case st.Desired.Planned && st.Desired.Membership != reconcile.MembershipManager:
			return nil, n.notManager("say how to join")
		case st.Desired.Planned && st.Desired.Stage < rolev1.Stage_STAGE_CLUSTER && have.State == engine.SwarmInactive:
			return nil, status.Errorf(codes.FailedPrecondition, "there is no swarm, and at stage %s none is founded",
				StageName(st.Desired.Stage))
		case st.Observed.EngineError == "" && have.State == engine.SwarmActive && have.Manager:
			token, err := n.engine.WorkerToken(ctx)
			if err != nil {
				return nil, err
			}
			network, ready := st.Observed.Networks[contract.Network]
			ready = ready && network.Overlay && network.Attachable
			out := &agentv1.JoinInfoResponse{
				WorkerToken: token, ManagerAddress: net.JoinHostPort(n.config.Self.GetAddress(), strconv.Itoa(contract.SwarmPort)), ClusterId: have.ClusterID,
				NetworkReady: ready,
			}
			if ready {
				out.NetworkId = network.ID
			}
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, status.Errorf(codes.DeadlineExceeded, "%s has no swarm yet", n.config.Self.GetName())
		}
	}
}
