package runner

import (
	"cmp"
	"fmt"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// Unable says why a lab cannot run a drill: its nodes are of the wrong kind, or one of them lacks something for a fault. It is empty where the lab
// can, and where the nodes in question did not answer.
func Unable(d *drill.Drill, provider string, view fleet.View) string {
	if d.Machines && provider == settings.ProviderDocker {
		return "it needs virtual machines; the nodes of this lab are containers"
	}
	p := state{view: view}
	homes := p.homes()
	for _, i := range d.Inject {
		node := cmp.Or(i.Node, homes[i.Container])
		n, _ := view.Node(node)
		if lacks := n.Snapshot.GetImpossibleFaults()[i.Fault]; lacks != "" {
			return fmt.Sprintf("%s cannot do %s: %s", node, i.Fault, lacks)
		}
	}
	return ""
}
