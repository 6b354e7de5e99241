// Package reconcile brings a node from what is to what shall be.
//
// [Diff] is pure: it takes the desired and the observed state and returns the steps between them. Each step is one
// idempotent operation; the ones that cannot be done yet say what they wait for. [Observer] looks at the engine, [Actions]
// does single steps, and [Loop] repeats look, Diff and do whenever something changed, each object's steps one at a
// time, different objects side by side, failed ones again with back-off. So an agent killed anywhere resumes: nothing
// is remembered between two rounds that could not be looked up.
//
// The package must not know roles, plugins, Consul or gRPC, and reaches the engine through interfaces of its own.
package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
)

// Labels of the containers, images and volumes that the agent creates.
const (
	LabelLab  = "swarmlab.lab"
	LabelRole = "swarmlab.role"
	// LabelSpec holds the hash of what the container was created from; see [Container.Hash].
	LabelSpec = "swarmlab.spec"
	// LabelContext, on images, holds the hash of the folder that the image was built from.
	LabelContext = "swarmlab.context"
)

// Membership of a node in the swarm.
type Membership int

// Memberships. The zero value leaves the node's swarm alone, as does MembershipNone.
const (
	MembershipNone Membership = iota
	MembershipWorker
	MembershipManager
)

// Desired is what a node shall be.
type Desired struct {
	Lab   string
	Stage rolev1.Stage
	// Planned: the role has said what it wants; false makes the rest of what it wants unknown rather than empty.
	Planned bool
	// Hold, when set, is the reason why nothing may be done now.
	Hold       string
	Membership Membership
	// Cluster is what the manager's agent told; zero as long as it told nothing. Of no concern to the manager itself.
	Cluster Cluster
	// Faults name the containers that a fault in force holds, with what to say of it: they are left alone. The loop fills it in.
	Faults map[string]string
	// Networks are the overlays that the lab's manager provides, on every node.
	Networks []string
	// Containers in start order.
	Containers []Container
}

// Cluster is the swarm that a worker belongs into.
type Cluster struct {
	// Known: the manager's agent answered at least once.
	Known bool
	ID    string
	// NetworkIDs of the lab's overlays (Desired.Networks) that exist, by name.
	NetworkIDs map[string]string
	// Away is why nothing can be had from the swarm's manager now; empty when it answers.
	Away string
	// Excluded is why the manager does not count on this node although it is in the swarm; empty otherwise. Only another join helps.
	Excluded string
}

// Container is a planned container.
type Container struct {
	// Spec is complete, labels included.
	Spec  engine.Spec
	Stage rolev1.Stage
	// Context is the hash of the folder below the app directory (Build) that the image is built from; both empty for
	// stock images.
	Build   string
	Context string
	Needs   []string
	// Files are rendered into the container's own directory on the node.
	Files []File
}

// File is a rendered file of a container.
type File struct {
	// Path on the node.
	Path string
	// Content may hold secrets: it never appears in a step, a label or a log.
	Content []byte
	// Signal tells the container's main process that the file changed; a file without one is part of the container's
	// spec, and its change replaces the container.
	Signal string
}

// Hash identifies everything whose change replaces the container: its spec, the image's build context and the files
// without a reload signal.
func (c *Container) Hash() string {
	spec := c.Spec
	spec.Labels = nil
	files := map[string]string{}
	for _, f := range c.Files {
		if f.Signal == "" {
			files[f.Path] = digest(f.Content)
		}
	}
	// Marshalling strings, numbers, slices and maps (in key order) of them cannot fail.
	text, _ := json.Marshal(struct {
		Spec    engine.Spec
		Context string
		Files   map[string]string
	}{spec, c.Context, files})
	return digest(text)
}

// FilesHash identifies the content of the files that are reloaded by signal; empty when there are none.
func (c *Container) FilesHash() string {
	text := ""
	for _, f := range c.Files {
		if f.Signal != "" {
			text += f.Path + " " + digest(f.Content) + "\n"
		}
	}
	if text == "" {
		return ""
	}
	return digest([]byte(text))
}

// Signals are the distinct signals that announce a change of the container's files.
func (c *Container) Signals() []string {
	var signals []string
	for _, f := range c.Files {
		if f.Signal != "" && !slices.Contains(signals, f.Signal) {
			signals = append(signals, f.Signal)
		}
	}
	return signals
}

// overlays are the container's networks that come with the swarm.
func (c *Container) overlays() []string {
	var names []string
	for _, n := range c.Spec.Networks {
		switch n.Network {
		case "bridge", "host", "none", "default":
		default:
			names = append(names, n.Network)
		}
	}
	return names
}

// Check reports what no engine state could ever satisfy.
func (d *Desired) Check() error {
	seen := map[string]bool{}
	for i := range d.Containers {
		c := &d.Containers[i]
		if c.Spec.Name == "" || c.Spec.Image == "" {
			return fmt.Errorf("container %d of the plan has no name or no image", i+1)
		}
		if seen[c.Spec.Name] {
			return fmt.Errorf("container %s is twice in the plan", c.Spec.Name)
		}
		for _, need := range c.Needs {
			if !seen[need] {
				return fmt.Errorf("container %s needs %s, which does not stand before it in the plan", c.Spec.Name, need)
			}
		}
		seen[c.Spec.Name] = true
	}
	return nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}
