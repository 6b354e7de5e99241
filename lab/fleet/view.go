package fleet

import (
	"strings"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// View is the lab as its agents see it, one moment.
type View struct {
	Lab string
	At  time.Time
	// Nodes in the order of the topology.
	Nodes []NodeView
}

// NodeView is one node: either a snapshot or what keeps it from being had.
type NodeView struct {
	Node     topology.Node
	Snapshot *agentv1.NodeSnapshot
	Err      *Error
}

func newView(lab *settings.Lab) View {
	view := View{Lab: lab.Name, At: time.Now(), Nodes: make([]NodeView, len(lab.Topology.Nodes))}
	for i, n := range lab.Topology.Nodes {
		view.Nodes[i].Node = n
	}
	return view
}

// clone copies the list of nodes, so that a view that was handed out does not change.
func (v View) clone() View {
	v.At = time.Now()
	v.Nodes = append([]NodeView(nil), v.Nodes...)
	return v
}

// Node returns the view of one node.
func (v View) Node(name string) (NodeView, bool) {
	for _, n := range v.Nodes {
		if n.Node.Name == name {
			return n, true
		}
	}
	return NodeView{}, false
}

// Silent are the nodes, of those that count, whose agents gave no answer in time: it cannot be told how they are. An agent that is not there is
// another thing, and known.
func (v View) Silent(counts func(node string) bool) []string {
	var nodes []string
	for _, n := range v.Nodes {
		if n.Err != nil && n.Err.Problem == ProblemHanging && counts(n.Node.Name) {
			nodes = append(nodes, n.Node.Name)
		}
	}
	return nodes
}

// Ready says whether the node is all that it should be at the given stage. A manually-stopped container does not count
// against it: that is somebody's will.
func (n NodeView) Ready(stage settings.Stage) bool {
	return n.Snapshot != nil && n.Snapshot.GetReady() &&
		settings.Stage(n.Snapshot.GetDesiredStage()) == stage
}

// Ready says whether every node is.
func (v View) Ready(stage settings.Stage) bool {
	for _, n := range v.Nodes {
		if !n.Ready(stage) {
			return false
		}
	}
	return len(v.Nodes) > 0
}

// Reachable returns the number of nodes that answered.
func (v View) Reachable() int {
	n := 0
	for _, node := range v.Nodes {
		if node.Snapshot != nil {
			n++
		}
	}
	return n
}

// Stage returns the stage that all reachable nodes are to build up to; mixed is true when they differ.
func (v View) Stage() (stage settings.Stage, mixed bool) {
	for _, n := range v.Nodes {
		if n.Snapshot == nil {
			continue
		}
		s := settings.Stage(n.Snapshot.GetDesiredStage())
		if stage != settings.StageUnspecified && s != stage {
			mixed = true
		}
		stage = max(stage, s)
	}
	return stage, mixed
}

// Incidents returns how often each queue came back without votes that it had acknowledged, as the store has it on record; empty if none did.
func (v View) Incidents() map[string]int {
	found := map[string]int{}
	for _, n := range v.Nodes {
		for name, value := range n.Snapshot.GetRole().GetMeasures() {
			if queue, ok := strings.CutPrefix(name, contract.MeasureIncidents); ok && value > 0 {
				found[queue] += int(value)
			}
		}
	}
	return found
}

// Measure returns what a node's role measured in its last check.
func Measure(n NodeView, name string) (value float64, ok bool) {
	value, ok = n.Snapshot.GetRole().GetMeasures()[name]
	return value, ok
}

// Votes are the numbers of votes along their path. Known says for each whether all nodes that count it answered.
type Votes struct {
	Captured, Queued, Counted, DeadLettered                     float64
	CapturedKnown, QueuedKnown, CountedKnown, DeadLetteredKnown bool
}

// Votes sums what the frontends captured and hold, and what the store counted.
func (v View) Votes() Votes {
	var votes Votes
	votes.Captured, votes.CapturedKnown = v.sum(topology.RoleFrontend, contract.MeasureCaptured)
	votes.Queued, votes.QueuedKnown = v.sum(topology.RoleFrontend, contract.MeasureQueued)
	votes.DeadLettered, votes.DeadLetteredKnown = v.sum(topology.RoleFrontend, contract.MeasureDeadLettered)
	votes.Counted, votes.CountedKnown = v.sum(topology.RoleStore, contract.MeasureCounted)
	return votes
}

func (v View) sum(role, measure string) (total float64, known bool) {
	nodes, answers := 0, 0
	for _, n := range v.Nodes {
		if n.Node.Role != role {
			continue
		}
		nodes++
		if value, ok := Measure(n, measure); ok {
			answers++
			total += value
		}
	}
	return total, nodes > 0 && answers == nodes
}
