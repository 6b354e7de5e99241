//go:build integration && long

package integration

import (
	"context"
	"testing"
	"time"
)

// Killing the engine outright is survived as well: the agent waits for it and starts what stood.
func TestKilledEngineComesBack(t *testing.T) {
	l := open(t)
	l.mustOnNode(t, "frontend02", "pkill", "-KILL", "-x", "dockerd")
	waitFor(t, l.patience, "the engine answers", func(ctx context.Context) error {
		_, err := l.onNode(ctx, "frontend02", "docker", "version", "-f", "{{.Server.Version}}")
		return err
	})
	t.Logf("ready again after %s", l.waitReady(t).Round(100*time.Millisecond))
}
