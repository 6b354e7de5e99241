package reconcile

import "github.com/swarmlab/swarmlab/agents/engine"

// Kind is what a step does.
type Kind string

// The kinds of steps. In a [Pending] they read as an imperative: "start redis01".
const (
	ReachEngine      Kind = "reach"
	Hold             Kind = "hold"
	InitSwarm        Kind = "found"
	JoinSwarm        Kind = "join"
	LeaveSwarm       Kind = "leave"
	ForgetMember     Kind = "forget former"
	CreateNetwork    Kind = "create network"
	AwaitNetwork     Kind = "use network"
	ProvideImage     Kind = "provide image"
	BuildImage       Kind = "build image"
	CreateContainer  Kind = "create"
	StartContainer   Kind = "start"
	ReplaceContainer Kind = "replace"
	ReloadContainer  Kind = "reload"
	AttachContainer  Kind = "attach"
	BlockedContainer Kind = "mind"
)

// Step is one operation on one object.
type Step struct {
	Kind Kind
	// Subject is the object's name: a container, an image reference, a network, "the swarm", "the engine".
	Subject string
	// Why it is done, for the log.
	Why string
	// Waits is why it cannot be done yet; empty when it can.
	Waits string
	// Container is the plan of a container's or an image's step; nil for a container that is in no plan.
	Container *Container
	// ID is the engine's id of the container, or the swarm's of the member, that the step acts upon.
	ID string
	// Network is the one of an AttachContainer.
	Network string
	// Keep: the container was started manually and is not the agent's to remove.
	Keep bool
}

func (s Step) String() string { return string(s.Kind) + " " + s.Subject }

// Key names the object. Steps of one key exclude each other.
func (s Step) Key() string {
	switch s.Kind {
	case InitSwarm, JoinSwarm, LeaveSwarm:
		return "swarm"
	case CreateNetwork, AwaitNetwork:
		return "network/" + s.Subject
	case ProvideImage, BuildImage:
		return "image/" + engine.Reference(s.Subject)
	case ForgetMember:
		return "member/" + s.ID
	case ReachEngine, Hold:
		return string(s.Kind)
	}
	return "container/" + s.Subject
}

// Ready returns the steps that can be done now.
func Ready(steps []Step) []Step {
	var ready []Step
	for _, s := range steps {
		if s.Waits == "" {
			ready = append(ready, s)
		}
	}
	return ready
}
