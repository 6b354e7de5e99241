// Package k8s stands in for the provider of Kubernetes.
package k8s

import (
	"errors"
	"log"
)

// Provider finds nothing.
type Provider struct{}

// Addrs always returns an error.
func (*Provider) Addrs(map[string]string, *log.Logger) ([]string, error) {
	return nil, errors.New("discover-k8s: this build of Consul does not ask Kubernetes")
}

// Help returns what the configuration may hold.
func (*Provider) Help() string { return "Kubernetes: not in this build." }
