package lifecycle

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Forsaken implements Witness.
func (s System) Forsaken(ctx context.Context, lab *settings.Lab) error {
	made, err := s.left(ctx, lab)
	switch {
	case err != nil || made == nil:
		return err
	case lab.Keyless():
		return forsaken(made.Name)
	case sameLab(*made, lab.Settings):
		return nil // it is taken up again
	}
	return unset(lab, *made)
}

// Left implements Witness.
func (s System) Left(ctx context.Context, lab *settings.Lab) error {
	made, err := s.left(ctx, lab)
	switch {
	case err != nil || made == nil:
		return err
	case lab.Keyless():
		return forsaken(made.Name)
	}
	return unset(lab, *made)
}

// left returns the settings that a lab was made with whose settings were deleted, as far as its machines tell, and for the rest those that hold now;
// nil when there is no such lab, or when that could not be told.
func (s System) left(ctx context.Context, lab *settings.Lab) (*settings.Settings, error) {
	if lab.Saved != nil {
		return nil, nil
	}
	records, err := power.Records(lab)
	if err != nil {
		return nil, err
	}
	own, _, err := s.survey(ctx, lab)
	if err != nil {
		own = holdings{} // without an engine there is nothing to see
	}
	made, found := lab.Settings, false
	for _, r := range records {
		if r.Provider != settings.ProviderDocker {
			made.Provider, found = r.Provider, true
		}
	}
	marks := own.nodes()
	if len(marks) == 0 {
		if !found {
			return nil, nil
		}
		return &made, nil
	}
	made.Provider = settings.ProviderDocker
	for _, m := range marks {
		if made.Name = m[owner.LabelLab]; made.Name != lab.Name {
			break
		}
	}
	own.tell(lab, &made)
	return &made, nil
}

// nodes are the labels of all that belongs to one node.
func (h holdings) nodes() []map[string]string {
	var marks []map[string]string
	for _, c := range h.containers {
		marks = append(marks, c.Labels)
	}
	for _, v := range h.volumes {
		marks = append(marks, v.Labels)
	}
	return marks
}

// tell finds out what the lab of that name was made with.
func (h holdings) tell(lab *settings.Lab, made *settings.Settings) {
	for _, n := range h.networks {
		if n.Labels[owner.LabelLab] != made.Name {
			continue
		}
		for _, subnet := range n.Subnets {
			_ = made.Subnet.UnmarshalText([]byte(subnet)) // another kind of network is none of the lab's
		}
	}
	for _, c := range h.containers {
		// The manager publishes nothing but its agent.
		n, ok := lab.Topology.Node(c.Labels[docker.LabelNode])
		if !ok || n.Role != topology.RoleManager || c.Labels[owner.LabelLab] != made.Name || len(c.HostPorts) != 1 {
			continue
		}
		if port, err := strconv.Atoi(c.HostPorts[0]); err == nil {
			made.PortBase += port - lab.AgentPort(n)
		}
	}
	// Nodes that are missing are made anew; one that is not asked for would be lost from sight.
	made.Frontends = max(made.Frontends, h.count(lab, topology.RoleFrontend, made.Name))
	made.Workers = max(made.Workers, h.count(lab, topology.RoleWorker, made.Name))
}

// count returns how many nodes of a role, which are numbered, there are.
func (h holdings) count(lab *settings.Lab, role, name string) int {
	of := lab.Topology.OfRole(role)
	if len(of) == 0 {
		return 0
	}
	nodes := map[string]bool{}
	stem := strings.TrimRight(of[0].Name, "0123456789")
	for _, m := range h.nodes() {
		number, ok := strings.CutPrefix(m[docker.LabelNode], stem)
		if _, err := strconv.Atoi(number); ok && err == nil && m[owner.LabelLab] == name {
			nodes[number] = true
		}
	}
	return len(nodes)
}

// unset says that the settings of a lab of this clone were deleted, which was made with those, and what to do.
func unset(lab *settings.Lab, made settings.Settings) error {
	var words []string
	now := lab.Environ()
	for i, word := range made.Environ() {
		if word != now[i] {
			words = append(words, word)
		}
	}
	up := strings.Join(append(words, "make up"), " ")
	return fmt.Errorf("the lab %s of this clone is there, but %s, which held its settings, was deleted: `%s` finds it again "+
		"(if it was made with a LAB_STAGE, set that, too); `make down` removes it, with the votes on it", made.Name, lab.Relative(lab.SettingsFile()), up)
}

// forsaken says what has become of a lab of this clone, and what to do.
func forsaken(name string) error {
	return fmt.Errorf("the lab %s of this clone is there, but .lab, which held its keys, settings and ledgers, was deleted: %s", name, makeAnew)
}

// makeAnew is what is left to do where nothing has the keys to the nodes.
const makeAnew = "nothing can be done with its nodes any more. `make down` removes them, with the votes on them; then `make up` makes new ones"
