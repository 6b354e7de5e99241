package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
)

// Diff returns the steps that lead from the observed towards the desired state, waiting ones included. A state that is
// as desired gives none that can be done. What lies above the desired stage is not touched, nor is anything removed
// because a stage was lowered.
func Diff(desired Desired, observed Observed) []Step {
	if observed.EngineError != "" {
		return []Step{{Kind: ReachEngine, Subject: "the engine", Waits: observed.EngineError}}
	}
	if desired.Hold != "" {
		return []Step{{Kind: Hold, Subject: "everything", Waits: desired.Hold}}
	}
	d := differ{desired: desired, observed: observed}
	if desired.Stage >= rolev1.Stage_STAGE_CLUSTER {
		d.swarm()
	}
	if desired.Stage >= rolev1.Stage_STAGE_NETWORK {
		d.networks()
	}
	d.images()
	for i := range desired.Containers {
		if c := &desired.Containers[i]; c.Stage <= desired.Stage {
			d.container(c)
		}
	}
	d.others()
	return d.steps
}

type differ struct {
	desired  Desired
	observed Observed
	steps    []Step
}

func (d *differ) add(s Step) { d.steps = append(d.steps, s) }

func (d *differ) swarm() {
	have, cluster := d.observed.Swarm, d.desired.Cluster
	subject := "the swarm"
	switch d.desired.Membership {
	case MembershipManager:
		switch {
		case have.State == engine.SwarmInactive:
			d.add(Step{Kind: InitSwarm, Subject: subject, Why: "there is none"})
		case have.State != engine.SwarmActive:
			d.add(Step{Kind: InitSwarm, Subject: subject, Waits: swarmTrouble(have)})
		case !have.Manager:
			d.add(Step{Kind: LeaveSwarm, Subject: subject, Why: "this node is a worker of another swarm"})
		}
		d.formerSelves()
	case MembershipWorker:
		switch {
		case have.State == engine.SwarmInactive && !cluster.Known:
			waits := "the manager's agent has not told how"
			if cluster.Away != "" {
				waits = cluster.Away
			}
			d.add(Step{Kind: JoinSwarm, Subject: subject, Waits: waits})
		case have.State == engine.SwarmInactive && cluster.Away != "":
			d.add(Step{Kind: JoinSwarm, Subject: subject, Waits: cluster.Away})
		case have.State == engine.SwarmInactive:
			d.add(Step{Kind: JoinSwarm, Subject: subject, Why: "this node is in none"})
		case !cluster.Known:
			if have.State != engine.SwarmActive {
				d.add(Step{Kind: JoinSwarm, Subject: subject, Waits: swarmTrouble(have)})
			}
		case have.ClusterID != "" && cluster.ID != "" && have.ClusterID != cluster.ID:
			d.add(Step{Kind: LeaveSwarm, Subject: subject, Why: "this node is in another swarm than the manager"})
		case cluster.Excluded != "":
			d.add(Step{Kind: LeaveSwarm, Subject: subject, Why: cluster.Excluded})
		case have.State == engine.SwarmError:
			d.add(Step{Kind: LeaveSwarm, Subject: subject, Why: swarmTrouble(have)})
		case have.State != engine.SwarmActive:
			d.add(Step{Kind: JoinSwarm, Subject: subject, Waits: swarmTrouble(have)})
		}
	case MembershipNone:
	}
}

// formerSelves adds the removal of members that came back as others: of a name of which one is ready, those that are down; and those that
// were given up before they had a name.
func (d *differ) formerSelves() {
	ready := map[string]bool{}
	for _, m := range d.observed.Members {
		ready[m.Hostname] = ready[m.Hostname] || m.State == engine.MemberReady
	}
	for _, m := range d.observed.Members {
		switch {
		case m.Abandoned:
			d.add(Step{Kind: ForgetMember, Subject: "member " + m.ID, ID: m.ID, Why: "it began to join and never came"})
		case m.State == engine.MemberDown && ready[m.Hostname]:
			d.add(Step{Kind: ForgetMember, Subject: m.Hostname, ID: m.ID, Why: "it came back as another member of the swarm"})
		}
	}
}

func swarmTrouble(s engine.Swarm) string {
	text := fmt.Sprintf("the engine says its swarm is %s", s.State)
	if s.Error != "" {
		text += ": " + s.Error
	}
	if s.State == engine.SwarmLocked {
		text += "; unlock it with `docker swarm unlock`"
	}
	return text
}

// joined reports whether the node is where it belongs; a Waits text when not.
func (d *differ) joined() string {
	have, cluster := d.observed.Swarm, d.desired.Cluster
	switch d.desired.Membership {
	case MembershipManager:
		if have.State != engine.SwarmActive || !have.Manager {
			return "the swarm is not founded yet"
		}
	case MembershipWorker:
		if have.State != engine.SwarmActive {
			return "this node is not in the swarm yet"
		}
		if have.ClusterID != "" && cluster.ID != "" && have.ClusterID != cluster.ID || cluster.Excluded != "" {
			return "this node is not in the manager's swarm"
		}
	case MembershipNone:
	}
	return ""
}

func (d *differ) networks() {
	for _, name := range d.wantedNetworks() {
		have, ok := d.observed.Networks[name]
		step := Step{Kind: AwaitNetwork, Subject: name}
		if d.desired.Membership == MembershipManager {
			step.Kind = CreateNetwork
		}
		switch {
		case ok && (!have.Overlay || !have.Attachable):
			step.Waits = fmt.Sprintf("the network %s that exists is not an attachable overlay; "+
				"remove it: docker network rm %s", name, name)
		case ok:
			continue
		case d.desired.Membership == MembershipManager:
			step.Waits, step.Why = d.joined(), "it does not exist"
		case d.joined() == "" && d.desired.Cluster.NetworkIDs[name] != "":
			continue // it shows here once a container is on it
		default:
			if step.Waits = d.networkWaits(name); step.Waits == "" {
				continue
			}
		}
		d.add(step)
	}
}

// wantedNetworks are the overlays that the node provides or uses.
func (d *differ) wantedNetworks() []string {
	var names []string
	if d.desired.Membership == MembershipManager {
		names = append(names, d.desired.Networks...)
	}
	for i := range d.desired.Containers {
		names = append(names, d.desired.Containers[i].overlays()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// attachWaits says why a container cannot join an overlay now; empty when it can.
func (d *differ) attachWaits(name string) string {
	if waits := d.networkWaits(name); waits != "" {
		return waits
	}
	return d.observed.Settling
}

// networkWaits says why an overlay is not to be had on this node; empty when it is.
func (d *differ) networkWaits(name string) string {
	if waits := d.joined(); waits != "" {
		return waits
	}
	have, here := d.observed.Networks[name]
	if here && (!have.Overlay || !have.Attachable) {
		return fmt.Sprintf("the network %s of this node is not an attachable overlay", name)
	}
	if d.desired.Membership == MembershipManager {
		if !here {
			return fmt.Sprintf("the network %s does not exist yet", name)
		}
		return ""
	}
	// The manager allocates every new attachment, so that without it a start would hang and then fail.
	if d.desired.Cluster.Away != "" {
		return d.desired.Cluster.Away
	}
	if slices.Contains(d.desired.Networks, name) && d.desired.Cluster.NetworkIDs[name] == "" {
		return fmt.Sprintf("the manager has not created network %s yet", name)
	}
	return ""
}

func (d *differ) images() {
	seen := map[string]bool{}
	for i := range d.desired.Containers {
		c := &d.desired.Containers[i]
		ref := c.Spec.Image
		if c.Stage > d.desired.Stage && d.desired.Stage < rolev1.Stage_STAGE_IMAGES || seen[ref] || d.hasImage(c) {
			continue
		}
		seen[ref] = true
		step := Step{Kind: ProvideImage, Subject: ref, Container: c, Why: "the engine does not have it"}
		if c.Build != "" {
			step.Kind = BuildImage
			if _, ok := d.observed.Images[ref]; ok {
				step.Why = "what it is built from changed"
			}
		}
		d.add(step)
	}
}

func (d *differ) hasImage(c *Container) bool {
	image, ok := d.observed.Images[c.Spec.Image]
	return ok && (c.Build == "" || image.Labels[LabelContext] == c.Context)
}

func (d *differ) container(c *Container) {
	name := c.Spec.Name
	have, ok := d.observed.Containers[name]
	step := Step{Subject: name, Container: c, ID: have.ID}
	if held := d.desired.Faults[name]; held != "" {
		step.Kind, step.Waits = BlockedContainer, held
		d.add(step)
		return
	}
	if d.observed.Busy[name] {
		step.Kind, step.Waits = BlockedContainer, "the engine is busy with it"
		d.add(step)
		return
	}
	if !ok {
		step.Kind, step.Why = CreateContainer, "it does not exist"
		if !d.hasImage(c) {
			step.Waits = "image " + c.Spec.Image + " is not there yet"
		}
		d.add(step)
		return
	}
	owner := Own(d.desired.Lab, c, have)
	if len(owner.Differences) > 0 {
		step.Kind = BlockedContainer
		step.Waits = "it was started manually and is left alone: " + strings.Join(owner.Differences, "; ")
		d.add(step)
		return
	}
	if !Runs(have) && d.observed.Stops[have.ID] == StopManual {
		return
	}
	step.Keep = !owner.Managed
	if owner.Outdated {
		step.Kind, step.Why = ReplaceContainer, "its spec changed"
		step.Waits = d.startWaits(c)
		if !d.hasImage(c) {
			step.Waits = "image " + c.Spec.Image + " is not there yet"
		}
		d.add(step)
		return
	}
	d.run(c, have, step)
}

// run adds what makes a container of the right making run, attached and up to date.
func (d *differ) run(c *Container, have engine.Container, step Step) {
	switch have.State {
	case engine.StateRunning:
		d.running(c, have, step)
	case engine.StatePaused:
		step.Kind, step.Waits = BlockedContainer, "it is paused; `lab heal` lets it go on"
		d.add(step)
	case engine.StateRestarting:
		step.Kind = BlockedContainer
		step.Waits = fmt.Sprintf("Docker restarts it after exit code %d%s", have.ExitCode, detail(have.Error))
		d.add(step)
	case engine.StateRemoving:
		step.Kind, step.Waits = BlockedContainer, "it is being removed"
		d.add(step)
	case engine.StateDead:
		step.Kind, step.Why = ReplaceContainer, "the engine could not remove it and calls it dead"
		d.add(step)
	default:
		step.Kind, step.Why = StartContainer, "it was created and not started"
		if have.State == engine.StateExited {
			step.Why = fmt.Sprintf("it ended with exit code %d%s", have.ExitCode, detail(have.Error))
		}
		step.Waits = d.startWaits(c)
		if d.observed.Stops[have.ID] == StopOpen {
			step.Waits = openStop
		}
		d.add(step)
	}
}

func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func (d *differ) running(c *Container, have engine.Container, step Step) {
	for _, n := range c.Spec.Networks {
		why := d.detached(n.Network, have)
		if why == "" {
			continue
		}
		attach := step
		attach.Kind, attach.Network, attach.Why = AttachContainer, n.Network, why
		if slices.Contains(c.overlays(), n.Network) {
			attach.Waits = d.attachWaits(n.Network)
		}
		d.add(attach)
		return
	}
	if hash := c.FilesHash(); hash != "" &&
		(d.observed.Written[step.Subject] != hash || d.observed.Loaded[step.Subject] != hash) {
		step.Kind, step.Why = ReloadContainer, "its files changed"
		d.add(step)
	}
}

// detached says in what way a running container is not truly on a network; empty when it is.
func (d *differ) detached(network string, have engine.Container) string {
	endpoint, ok := have.Endpoints[network]
	switch want := d.desired.Cluster.NetworkIDs[network]; {
	case network == "host" || network == "none":
		return ""
	case !ok:
		return "it is not on network " + network
	case endpoint.Address == "":
		return "it has no address on network " + network
	case want != "" && d.desired.Membership == MembershipWorker && endpoint.NetworkID != "" && endpoint.NetworkID != want:
		return "it is on a former network " + network
	}
	return d.observed.Stale[have.Spec.Name]
}

// startWaits says why a container cannot be started now; empty when it can.
func (d *differ) startWaits(c *Container) string {
	for _, name := range c.overlays() {
		if waits := d.attachWaits(name); waits != "" {
			return waits
		}
	}
	for _, need := range c.Needs {
		have, ok := d.observed.Containers[need]
		if ok && have.State == engine.StateRunning {
			continue
		}
		if ok && d.observed.Stops[have.ID] == StopManual {
			return fmt.Sprintf("it needs %s, which was stopped manually", need)
		}
		return fmt.Sprintf("it needs %s, which does not run yet", need)
	}
	return ""
}

// others adds the start of containers that are none of the plan's business but that Docker would have started with the
// engine: the engines of a lab are told to leave this to the agent, since a start that waits for an overlay blocks them.
func (d *differ) others() {
	planned := map[string]bool{}
	for i := range d.desired.Containers {
		c := &d.desired.Containers[i]
		have, ok := d.observed.Containers[c.Spec.Name]
		// One that differs from its contract is left alone as well, except for this.
		differs := ok && len(Own(d.desired.Lab, c, have).Differences) > 0
		planned[c.Spec.Name] = c.Stage <= d.desired.Stage && !differs
	}
	for _, name := range slices.Sorted(maps.Keys(d.observed.Containers)) {
		have := d.observed.Containers[name]
		policy := have.Spec.Restart
		if planned[name] || d.observed.Busy[name] || have.State != engine.StateExited || d.observed.Stops[have.ID] == StopManual ||
			policy != engine.RestartAlways && policy != engine.RestartUnlessStopped {
			continue
		}
		step := Step{Kind: StartContainer, Subject: name, ID: have.ID, Why: "its restart policy is " + string(policy)}
		for network := range have.Endpoints {
			if waits := d.orphanWaits(network); waits != "" {
				step.Waits = waits
			}
		}
		if d.observed.Stops[have.ID] == StopOpen {
			step.Waits = openStop
		}
		d.add(step)
	}
}

// orphanWaits says why a container that is in no plan cannot join a network now; empty when that is worth a try.
func (d *differ) orphanWaits(network string) string {
	switch _, here := d.observed.Networks[network]; {
	case slices.Contains(d.desired.Networks, network):
		return d.attachWaits(network)
	case here || network == "host" || network == "none":
		return ""
	case d.observed.Swarm.State == engine.SwarmActive && !d.observed.Swarm.Manager:
		return d.observed.Settling // a worker sees an overlay only once it is on it
	}
	return fmt.Sprintf("its network %s does not exist", network)
}

// openStop is what a container waits for whose end nobody has explained yet.
const openStop = "the engine has not said yet who stopped it"

// Runs reports whether Docker keeps the container going: it runs, is paused, or is between two runs.
func Runs(c engine.Container) bool {
	switch c.State {
	case engine.StateRunning, engine.StatePaused, engine.StateRestarting:
		return true
	}
	return false
}

// Owner is whose a planned container is.
type Owner struct {
	// Managed: the agent created it.
	Managed bool
	// Outdated: the agent created it from another spec than the present one.
	Outdated bool
	// Differences from the contract, of a container that was started manually; none: it is adopted.
	Differences []string
}

// Own tells whose a container with a planned name is.
func Own(lab string, c *Container, have engine.Container) Owner {
	if hash := have.Spec.Labels[LabelSpec]; hash != "" && have.Spec.Labels[LabelLab] == lab {
		return Owner{Managed: true, Outdated: hash != c.Hash()}
	}
	spec := have.Spec
	spec.Networks = slices.Clone(spec.Networks)
	for i, n := range spec.Networks {
		if _, on := have.Endpoints[n.Network]; on {
			continue
		}
		// It has lost the network, not its making: with the network it gets its names back.
		for _, want := range c.Spec.Networks {
			if want.Network == n.Network {
				spec.Networks[i] = want
			}
		}
	}
	return Owner{Differences: Differences(c.Spec, spec)}
}
