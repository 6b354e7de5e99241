package node

import (
	"context"
	"errors"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/role"
)

var (
	planTimeout = timescale.Scale(5 * time.Second)
	// How often the role is asked whether it does its job: while it does not, while somebody watches, otherwise.
	checkSick    = timescale.Scale(time.Second)
	checkWatched = timescale.Scale(2 * time.Second)
	checkIdle    = timescale.Scale(10 * time.Second)
)

// followRole asks the role for its plan whenever a fact may have changed.
func (n *Node) followRole(ctx context.Context) error {
	for {
		n.makePlan(ctx)
		select {
		case <-n.role.Changed():
			if st := n.role.Status(); st.Running {
				n.emit("role", "start", st.Name+" "+st.Version)
			} else if st.Err != nil {
				n.emit("role", "die", st.Err.Error())
			}
			poke(n.check)
		case <-n.discovery.Changed():
		case <-n.replan:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) facts() *rolev1.Facts {
	return &rolev1.Facts{
		Node: n.config.Self, Nodes: n.config.Nodes,
		Lab:       &rolev1.Lab{Name: n.config.Lab, Subnet: n.config.Subnet.String()},
		Instances: n.discovery.Instances(),
	}
}

// makePlan asks for a plan. A role that cannot say leaves the last one in force.
func (n *Node) makePlan(ctx context.Context) {
	if !n.role.Status().Running {
		return
	}
	facts := n.facts()
	once, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	plan, err := n.role.Plan(once, facts)
	if errors.Is(err, role.ErrNotRunning) || ctx.Err() != nil {
		return // its status says why
	}
	next := planned{known: err == nil, plan: plan, facts: facts, err: err}
	if err == nil {
		next.containers, err = n.planner().containers(plan)
		next.err = err
	}
	n.mu.Lock()
	changed := false
	if err != nil {
		if n.plan.err == nil || n.plan.err.Error() != err.Error() {
			n.log.Error("the role's plan cannot be used", "error", err)
			n.plan.err, changed = err, true
		}
	} else {
		changed = !n.plan.known || n.plan.err != nil || !proto.Equal(n.plan.plan, plan) || !sameContainers(n.plan, next)
		n.plan = next
	}
	n.mu.Unlock()
	if !changed {
		return
	}
	if err == nil {
		n.tracker.Harmless(harmless(next.containers))
		n.discovery.Follow(plan.GetFollow())
	}
	n.loop.Trigger()
	poke(n.check)
}

func (n *Node) planner() planner {
	return planner{
		lab: n.config.Lab, role: n.config.Self.GetRole(), renderedRoot: n.files.Root, clock: n.clockFolder(), secrets: n.secrets,
		hash: n.images.Hash,
	}
}

func sameContainers(a, b planned) bool {
	if len(a.containers) != len(b.containers) {
		return false
	}
	for i := range a.containers {
		if a.containers[i].Hash() != b.containers[i].Hash() || a.containers[i].FilesHash() != b.containers[i].FilesHash() {
			return false
		}
	}
	return true
}

// checkRole asks the role over and over whether it does its job.
func (n *Node) checkRole(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.check:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		_, _ = n.checkOnce(ctx) // it is in the snapshot
		timer.Reset(n.checkInterval())
	}
}

func (n *Node) checkInterval() time.Duration {
	n.mu.Lock()
	sick := n.health.err != nil || !n.health.response.GetHealthy()
	busy := n.status.Reached < n.status.Desired.Stage || len(n.status.Pending) > 0
	n.mu.Unlock()
	switch {
	case sick && (n.hub.watched() || busy):
		return checkSick
	case n.hub.watched() || sick:
		return checkWatched
	}
	return checkIdle
}

// checkOnce asks the role and tells of what changed.
func (n *Node) checkOnce(ctx context.Context) (*rolev1.CheckResponse, error) {
	once, cancel := context.WithTimeout(ctx, role.CheckTimeout)
	defer cancel()
	began := time.Now()
	response, err := n.role.Check(once, n.facts(), n.paths.Secrets)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	n.mu.Lock()
	before := n.health
	n.health = health{began: began, at: time.Now(), response: response, err: err}
	if _, counted := response.GetMeasures()[contract.MeasureQueued]; counted {
		n.queues = true
	}
	n.mu.Unlock()
	was, is := before.err == nil && before.response.GetHealthy(), err == nil && response.GetHealthy()
	switch {
	case was != is && is:
		n.emit("role", "healthy", response.GetMessage())
	case was != is || before.at.IsZero() && !is:
		n.emit("role", "unhealthy", reason(response, err))
	case !maps.Equal(before.response.GetMeasures(), response.GetMeasures()):
		n.emit("role", "measured", response.GetMessage())
	case reason(before.response, before.err) != reason(response, err):
		n.emit("role", "checked", reason(response, err))
	}
	return response, err
}

func reason(response *rolev1.CheckResponse, err error) string {
	if err != nil {
		return err.Error()
	}
	return response.GetMessage()
}
