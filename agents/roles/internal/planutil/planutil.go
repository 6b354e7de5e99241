// Package planutil holds what the plans of the lab's own roles have in common: names that two roles must agree on, and short forms of the
// protocol's messages. It decides nothing.
package planutil

import (
	"fmt"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/role"
)

// Version is that of the lab's own roles.
const Version = "1"

// FrontendRole is the role whose nodes others look for.
const FrontendRole = "frontend"

// Addresses to publish on.
const (
	Everywhere = "0.0.0.0"
	Loopback   = "127.0.0.1"
)

// maxOrdinal is what two digits can say: redis01 to redis99.
const maxOrdinal = 99

// Number is a node's number among those of its role, in the two digits that names end with.
func Number(node *rolev1.Node) (string, error) {
	n := node.GetOrdinal()
	if n < 1 || n > maxOrdinal {
		return "", fmt.Errorf("node %q is number %d of role %q: names have two digits, 01 to %d", node.GetName(), n, node.GetRole(), maxOrdinal)
	}
	return fmt.Sprintf("%02d", n), nil
}

// Count is the number of nodes of a role.
func Count(facts *role.Facts, name string) int {
	n := 0
	for _, node := range facts.GetNodes() {
		if node.GetRole() == name {
			n++
		}
	}
	return n
}

// Secret mounts a secret where programs look for it.
func Secret(name string) *rolev1.Mount {
	return &rolev1.Mount{Source: &rolev1.Mount_Secret{Secret: name}, Target: contract.SecretsDir + name}
}

// Volume mounts a named volume.
func Volume(name, target string) *rolev1.Mount {
	return &rolev1.Mount{Source: &rolev1.Mount_Volume{Volume: name}, Target: target}
}

// File mounts a file that the agent renders.
func File(target string, file *rolev1.RenderedFile) *rolev1.Mount {
	return &rolev1.Mount{Source: &rolev1.Mount_File{File: file}, Target: target}
}

// ClockOffset mounts the folder that says by how much a container's clock is to be off; it tells its time at the URL.
func ClockOffset(target, url string) *rolev1.Mount {
	return &rolev1.Mount{Source: &rolev1.Mount_ClockOffset{ClockOffset: &rolev1.ClockOffset{Url: url}}, Target: target}
}

// Publish publishes a port of a container on an address of the node.
func Publish(address string, nodePort, containerPort uint32) *rolev1.PublishedPort {
	return &rolev1.PublishedPort{HostAddress: address, HostPort: nodePort, ContainerPort: containerPort}
}

// On attaches a container to a network.
func On(network string, aliases ...string) []*rolev1.NetworkAttachment {
	return []*rolev1.NetworkAttachment{{Network: network, Aliases: aliases}}
}

// Stock is an image that comes ready made.
func Stock(reference string) *rolev1.Image { return &rolev1.Image{Reference: reference} }

// Built is an image of the voting app, built on the node from the folder of its name.
func Built(name string) *rolev1.Image {
	return &rolev1.Image{Reference: name + ":latest", Build: name}
}
