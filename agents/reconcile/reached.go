package reconcile

import (
	"slices"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
)

// Reached returns the highest stage whose every requirement, and those of the stages below, is met, whatever the
// desired stage: what a learner did manually counts. It is unspecified while the engine does not answer.
func Reached(desired Desired, observed Observed) rolev1.Stage {
	if observed.EngineError != "" {
		return rolev1.Stage_STAGE_UNSPECIFIED
	}
	d := differ{desired: desired, observed: observed}
	reached := rolev1.Stage_STAGE_INFRASTRUCTURE
	if !desired.Planned || !d.ran(reached) {
		return reached
	}
	for _, stage := range []struct {
		stage rolev1.Stage
		met   func() bool
	}{
		{rolev1.Stage_STAGE_CLUSTER, func() bool { return d.joined() == "" }},
		{rolev1.Stage_STAGE_NETWORK, d.networked},
		{rolev1.Stage_STAGE_IMAGES, d.imaged},
		{rolev1.Stage_STAGE_APPLICATION, func() bool { return true }},
	} {
		if !stage.met() || !d.ran(stage.stage) {
			break
		}
		reached = stage.stage
	}
	return reached
}

// ran reports whether every container of the stages up to this one runs and is attached.
func (d *differ) ran(upTo rolev1.Stage) bool {
	for i := range d.desired.Containers {
		c := &d.desired.Containers[i]
		if c.Stage > upTo {
			continue
		}
		have, ok := d.observed.Containers[c.Spec.Name]
		if !ok || have.State != engine.StateRunning {
			return false
		}
		if owner := Own(d.desired.Lab, c, have); owner.Outdated || len(owner.Differences) > 0 {
			return false
		}
		for _, n := range c.Spec.Networks {
			if d.detached(n.Network, have) != "" {
				return false
			}
		}
	}
	return true
}

func (d *differ) networked() bool {
	for _, name := range d.wantedNetworks() {
		have, ok := d.observed.Networks[name]
		if ok && have.Overlay && have.Attachable {
			continue
		}
		if ok || d.desired.Membership == MembershipManager ||
			slices.Contains(d.desired.Networks, name) && d.desired.Cluster.NetworkIDs[name] == "" {
			return false
		}
	}
	return true
}

func (d *differ) imaged() bool {
	for i := range d.desired.Containers {
		if !d.hasImage(&d.desired.Containers[i]) {
			return false
		}
	}
	return true
}
