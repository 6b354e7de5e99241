package reconcile

import "github.com/swarmlab/swarmlab/agents/engine"

// Observed is what a node is.
type Observed struct {
	// EngineError is why the engine does not answer; empty when it does.
	EngineError   string
	EngineVersion string
	Swarm         engine.Swarm
	// Settling is why, although the swarm is active, nothing may join an overlay yet; empty otherwise.
	Settling string
	// Members of the swarm, on a manager.
	Members []engine.Member
	// Networks that this engine knows, by name.
	Networks map[string]engine.Network
	// Images by reference as the plan has it; absent when the engine lacks them.
	Images map[string]engine.Image
	// Containers by name, all of the engine's.
	Containers map[string]engine.Container
	// Busy names the containers about which the engine does not answer: an operation holds them.
	Busy map[string]bool
	// Written and Loaded are the FilesHash of what lies on disk and of what the running process was told of, by
	// container name.
	Written map[string]string
	Loaded  map[string]string
	// Stops tells how containers that do not run came to a stop, by id.
	Stops map[string]Stop
	// Stale names the containers whose overlay endpoint proved to be cut off, with the evidence, by container name.
	Stale map[string]string
}

// Stop is how a container came to a stop.
type Stop int

const (
	// StopOwn is the zero value: it ended by itself, with the engine, or by the agent; the agent may start it.
	StopOwn Stop = iota
	// StopManual: somebody stopped it manually; it stays so until healed.
	StopManual
	// StopOpen: the engine's word on it is still on its way.
	StopOpen
)
