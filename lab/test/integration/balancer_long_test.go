//go:build integration && long

package integration

import (
	"context"
	"fmt"
	"testing"
)

// An empty Consul is filled again by the agents; the balancer never loses a server over it.
func TestEmptyConsulIsRepopulated(t *testing.T) {
	l := open(t)
	l.mustOnNode(t, "manager", "docker", "rm", "-f", "consul")
	// The agent may have started the next one already; a volume in use is not removed, so retry until the old data is gone.
	waitFor(t, l.patience, "Consul's data is wiped", func(ctx context.Context) error {
		_, err := l.onNode(ctx, "manager", "bash", "-c", "docker volume rm consul-data || { docker rm -f consul; false; }")
		return err
	})
	for range 20 {
		if _, err := l.newVoter(t).cast(t.Context(), "a"); err != nil {
			t.Fatalf("while Consul is empty: %v", err)
		}
	}
	l.waitReady(t)
	waitFor(t, l.patience, "every node is registered again", func(ctx context.Context) error {
		for _, name := range append(l.nodesOf("frontend"), "store") {
			snap, err := l.snapshot(ctx, name)
			if err != nil {
				return err
			}
			if d := snap.GetDiscovery(); !d.GetReachable() || len(d.GetRegistered()) == 0 {
				return fmt.Errorf("%s: %s", name, d.GetError())
			}
		}
		return nil
	})
	l.mustServe(t, "with Consul filled again")
}
