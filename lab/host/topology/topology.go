// Package topology reads vagrant/topology.yaml, the one file that says which nodes a lab has.
//
// The Vagrantfile reads the same file in Ruby (vagrant/topology.rb) and believes what it finds; judging it is this
// package's job, so that a mistake is told with its line and its reason before Vagrant touches anything. Parse is
// pure: bytes and overrides in, nodes out. It knows nothing of environment variables, settings files or providers.
package topology

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Roles that the kit brings along; a topology may declare more under `roles`.
const (
	RoleManager   = "manager"
	RoleInterlock = "interlock"
	RoleFrontend  = "frontend"
	RoleWorker    = "worker"
	RoleStore     = "store"
)

// BuiltinRoles returns the roles that the kit brings along, in the order in which the tutorial introduces them.
func BuiltinRoles() []string {
	return []string{RoleManager, RoleInterlock, RoleFrontend, RoleWorker, RoleStore}
}

// Node is one machine of the lab.
type Node struct {
	// Name is the host name, for example "frontend02".
	Name string
	// Role is one of Topology.Roles.
	Role string
	// Octet is the offset of Address from the subnet's base: 2…254.
	Octet int
	// Address on the lab's subnet.
	Address netip.Addr
	// MemoryMiB is the size of a virtual machine; container nodes share the host's memory.
	MemoryMiB int
	// CPUs of a virtual machine.
	CPUs int
	// Ordinal is the 1-based number among the nodes of the same role, in the order of the file.
	Ordinal int
}

// Topology is a valid set of nodes.
type Topology struct {
	Subnet netip.Prefix
	// Roles that a node may have: the built-in ones and those that the file declares.
	Roles []string
	// Nodes in the order of the file.
	Nodes []Node
}

// Overrides replace values of the file; a zero value leaves the file's.
type Overrides struct {
	Subnet netip.Prefix
	// Counts of nodes by role.
	Counts map[string]int
}

// Load reads and parses the file at path. Mistakes in it come back as Errors, whose File is path.
func Load(path string, o Overrides) (*Topology, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the lab's topology: %w", err)
	}
	return Parse(path, data, o)
}

// LoadSubnet reads the subnet of the file at path, whatever else is in it; an error where it has none.
func LoadSubnet(path string) (netip.Prefix, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("read the lab's topology: %w", err)
	}
	p := &reader{file: path}
	if root := p.root(data); root != nil {
		p.subnet(root, p.fields(root, "the topology", topFields...)["subnet"])
	}
	if len(p.errs) > 0 {
		return netip.Prefix{}, p.errs
	}
	return p.topology.Subnet, nil
}

// Node returns the node of that name.
func (t *Topology) Node(name string) (Node, bool) {
	i := slices.IndexFunc(t.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return t.Nodes[i], true
}

// OfRole returns the nodes of a role, by ordinal.
func (t *Topology) OfRole(role string) []Node {
	var nodes []Node
	for _, n := range t.Nodes {
		if n.Role == role {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Names returns the nodes' names in the order of the file.
func (t *Topology) Names() []string {
	names := make([]string, len(t.Nodes))
	for i, n := range t.Nodes {
		names[i] = n.Name
	}
	return names
}

// Error is one mistake in a topology file.
type Error struct {
	File string
	// Line is 1-based; 0 when the mistake has no place, as in an empty file.
	Line   int
	Reason string
}

func (e Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// Errors are the mistakes of one file, by line.
type Errors []Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
