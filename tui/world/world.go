// Package world is what the terminal UI knows of the lab: a value that is folded out of what is seen, so that every page shows the same
// moment, and tests can make any moment they like.
//
// It asks nobody and draws nothing.
package world

import (
	"slices"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/watch"
)

const (
	// maxEvents and maxSamples bound what is remembered.
	maxEvents  = 1000
	maxSamples = 600
)

// Model is the lab at one moment. It is a value: what was handed out does not change.
type Model struct {
	Lab   string
	Stage settings.Stage
	View  fleet.View
	// Silent is since when nodes do not answer.
	Silent map[string]time.Time
	// Servers by frontend, whether the balancer sends it voters; nil when it does not answer.
	Servers map[string]bool
	Queues  []datastore.Queue
	// Voting and Results are the HTTP statuses of the two pages; 0: no answer.
	Voting, Results int
	// Tally is what the results page counts, as of TallyAt; zero: it never told.
	Tally   client.Tally
	TallyAt time.Time
	// PowerFaults are the faults of nodes' power.
	PowerFaults []powerfault.Fault
	// Events, the oldest first.
	Events []Event
	// Samples, one for each second, the oldest first.
	Samples []watch.Rates
	meter   watch.Meter
}

// Event is something that happened on a node.
type Event struct {
	At                             time.Time
	Node, Subject, Action, Message string
}

// New is a lab of which nothing is known yet.
func New(lab *settings.Lab) Model {
	w := Model{Lab: lab.Name, Stage: lab.Stage, Silent: map[string]time.Time{}}
	for _, n := range lab.Topology.Nodes {
		w.View.Nodes = append(w.View.Nodes, fleet.NodeView{Node: n})
	}
	return w
}

// Updated takes in what a node told, or that it is silent.
func (w Model) Updated(u fleet.Update, now time.Time) Model {
	was, _ := w.View.Node(u.Node)
	is, _ := u.View.Node(u.Node)
	w.View = u.View
	silent := map[string]time.Time{}
	for node, since := range w.Silent {
		silent[node] = since
	}
	switch {
	case is.Err == nil:
		delete(silent, u.Node)
	case silent[u.Node].IsZero():
		silent[u.Node] = now
	}
	w.Silent = silent
	switch {
	case u.Event != nil:
		if u.Notable() {
			w = w.happened(Event{u.Event.GetAt().AsTime(), u.Node, u.Event.GetSubject(), u.Event.GetAction(), u.Event.GetMessage()})
		}
	case is.Err != nil && was.Err == nil:
		w = w.happened(Event{now, u.Node, "agent", "unreachable", is.Err.Reason})
	case is.Err == nil && was.Err != nil:
		w = w.happened(Event{now, u.Node, "agent", "reachable", ""})
	}
	return w
}

func (w Model) happened(e Event) Model {
	events := w.Events
	if len(events) >= maxEvents {
		events = events[len(events)-maxEvents+1:]
	}
	w.Events = append(slices.Clip(events), e)
	return w
}

// Counted takes in what the queues tell.
func (w Model) Counted(queues []datastore.Queue, now time.Time) Model {
	w.Queues = queues
	meter, rates, ok := w.meter.Next(queues, now)
	if !ok {
		return w
	}
	w.meter = meter
	samples := w.Samples
	if len(samples) >= maxSamples {
		samples = samples[len(samples)-maxSamples+1:]
	}
	w.Samples = append(slices.Clip(samples), rates)
	return w
}

// Now is how votes were doing last.
func (w Model) Now() watch.Rates {
	if len(w.Samples) == 0 {
		return watch.Unknown()
	}
	return w.Samples[len(w.Samples)-1]
}

// Waiting is the votes that wait at a frontend; -1 when it does not tell.
func (w Model) Waiting(frontend string) int64 {
	for _, q := range w.Queues {
		if q.Node == frontend && q.Err == nil {
			return q.Waiting
		}
	}
	return -1
}

// OfRole returns the nodes of a role.
func (w Model) OfRole(role string) []fleet.NodeView {
	var nodes []fleet.NodeView
	for _, n := range w.View.Nodes {
		if n.Node.Role == role {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Roles in the order in which a vote meets them.
func Roles() []string {
	return []string{topology.RoleInterlock, topology.RoleFrontend, topology.RoleWorker, topology.RoleStore}
}
