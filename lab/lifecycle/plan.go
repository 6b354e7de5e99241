package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/power"
)

// work is what has to be done to the machines.
type work struct {
	// up: to be created or started.
	up []string
	// provision: running, but with another content than now, or with an agent that does not answer.
	provision []string
	// created of up: nodes that did not exist.
	created []string
}

func (w work) String() string {
	var parts []string
	add := func(verb string, nodes []string) {
		if len(nodes) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", verb, strings.Join(nodes, " ")))
		}
	}
	started := slices.DeleteFunc(slices.Clone(w.up), func(n string) bool { return slices.Contains(w.created, n) })
	add("created", w.created)
	add("started", started)
	add("provisioned", w.provision)
	if len(parts) == 0 {
		return "all there"
	}
	return strings.Join(parts, ", ")
}

// plan compares what there is with what there should be. hashes are those of the content that each node should have.
func plan(view fleet.View, states map[string]power.State, hashes map[string]string) work {
	var w work
	for _, n := range view.Nodes {
		name := n.Node.Name
		switch states[name] {
		case power.StateAbsent, power.StateKept:
			w.created = append(w.created, name)
			w.up = append(w.up, name)
		case power.StateOff, power.StatePaused:
			w.up = append(w.up, name)
		case power.StateRunning:
			if n.Snapshot == nil || n.Snapshot.GetAgent().GetProvisionHash() != hashes[name] {
				w.provision = append(w.provision, name)
			}
		}
	}
	return w
}

// settled says whether the agents themselves vouch for everything, so that the machines need not be looked at: each
// answers, has today's content and is ready at its stage.
func settled(view fleet.View, hashes map[string]string) bool {
	for _, n := range view.Nodes {
		if n.Snapshot == nil || !n.Snapshot.GetReady() || n.Snapshot.GetAgent().GetProvisionHash() != hashes[n.Node.Name] {
			return false
		}
	}
	return len(view.Nodes) > 0
}
