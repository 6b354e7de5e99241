// Package datastore counts what a running lab holds: what waits in the frontends' queues, and the rows of the database together with
// its own tally, in one snapshot.
//
// It reads Redis and Postgres themselves, through the agents' tunnels, and believes neither the results app nor the agents' checks. It
// changes nothing, judges nothing (see package verdict), and streams the rows, so that ten million cost no memory.
package datastore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Dialer connects to a port of a container of the lab; *fleet.Fleet is one.
type Dialer interface {
	Dial(ctx context.Context, node, container string, port int) (net.Conn, error)
}

// place is where something listens.
type place struct {
	node, container string
	port            int
}

// Datastore reads one lab.
type Datastore struct {
	dialer           Dialer
	postgresPassword string
	queues           []redisAt
	store            place
}

// redisAt is a queue's place and the client that looks at it.
type redisAt struct {
	place
	client *redis.Client
}

// Open prepares to read the queues and rows of a lab whose secrets are on this host. Connections are made when they are needed. Close it.
func Open(lab *settings.Lab, dialer Dialer) (*Datastore, error) {
	c := &Datastore{dialer: dialer}
	redisPassword, err := secret(lab, pki.RedisPasswordFile)
	if err != nil {
		return nil, err
	}
	if c.postgresPassword, err = secret(lab, pki.PostgresPasswordFile); err != nil {
		return nil, err
	}
	stores := lab.Topology.OfRole(topology.RoleStore)
	if len(stores) != 1 {
		return nil, fmt.Errorf("the lab has %d stores: votes are read from one", len(stores))
	}
	c.store = place{stores[0].Name, "pg", contract.PostgresPort}
	for _, n := range lab.Topology.OfRole(topology.RoleFrontend) {
		p := place{n.Name, fmt.Sprintf("redis%02d", n.Ordinal), contract.RedisPort}
		c.queues = append(c.queues, redisAt{p, c.redis(p, redisPassword)})
	}
	return c, nil
}

// Close closes the connections to the queues.
func (c *Datastore) Close() error {
	var errs []error
	for _, q := range c.queues {
		errs = append(errs, q.client.Close())
	}
	return errors.Join(errs...)
}

func secret(lab *settings.Lab, file string) (string, error) {
	data, err := os.ReadFile(lab.Path(filepath.FromSlash(file)))
	if err != nil {
		return "", fmt.Errorf("read a secret of the lab: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func (c *Datastore) dial(ctx context.Context, p place) (net.Conn, error) {
	return c.dialer.Dial(ctx, p.node, p.container, p.port)
}
