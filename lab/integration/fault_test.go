//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// inject breaks something on a node, by its agent.
func (l *lab) inject(t *testing.T, node string, what *agentv1.InjectRequest, lease time.Duration) {
	t.Helper()
	what.Lease, what.Holder = durationpb.New(lease), t.Name()
	f, err := l.fleet.Inject(t.Context(), node, what)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s %s %v: %s", node, f.GetKind(), f.GetContainer(), f.GetPeers(), f.GetEvidence())
}

// noFault waits until no fault is left on a node, by its agent's own word.
func (l *lab) noFault(t *testing.T, node string, within time.Duration) time.Duration {
	t.Helper()
	return waitFor(t, within, "no fault is left on "+node, func(ctx context.Context) error {
		snap, err := l.snapshot(ctx, node)
		if err != nil {
			return err
		}
		for _, f := range snap.GetFaults() {
			return fmt.Errorf("%s %s: %s", f.GetKind(), f.GetContainer(), f.GetTrouble())
		}
		return nil
	})
}

// Containers are broken in every way under votes. What the engine says agrees with the fault; it ends by itself, and no vote is lost.
func TestFaultsUnderVotes(t *testing.T) {
	l := open(t)
	const lease = 4 * time.Second
	votes := l.tryOut(t, newSeed(t), 0)
	for _, c := range []struct {
		node, kind, container string
		// shows is what docker inspect says while the fault is in force.
		shows string
	}{
		{"frontend01", "kill", "frontend01", ""},
		{"frontend01", "stop", "redis01", "exited"},
		{"frontend02", "pause", "redis02", "paused"},
		{"worker01", "remove", "worker01", "gone"},
		{"worker01", "disconnect", "worker01", "running"},
		{"store", "pause", "pg", "paused"},
		{"store", "stop", "pg", "exited"},
	} {
		votes.more(t, l, int64(l.rate)/3)
		l.inject(t, c.node, &agentv1.InjectRequest{Kind: c.kind, Container: c.container}, lease)
		began := time.Now()
		if c.shows != "" {
			said, err := l.onNode(t.Context(), c.node, "docker", "inspect", "-f",
				`{{.State.Status}} {{with index .NetworkSettings.Networks "mynet"}}{{.IPAddress}}{{end}}`, c.container)
			if err != nil {
				said = "gone"
			}
			said = strings.TrimSpace(said)
			if got := strings.Fields(said)[0]; got != c.shows || c.kind == "disconnect" && said != "running" {
				t.Errorf("%s %s: the engine says %q", c.kind, c.container, said)
			}
		}
		l.noFault(t, c.node, l.patience)
		over := time.Since(began)
		if c.kind != "kill" && over < lease-time.Second {
			t.Errorf("%s %s ended after %s, before its lease", c.kind, c.container, over)
		}
		l.waitWhole(t, l.patience)
		t.Logf("%s %s: over after %.1f s, whole after %.1f s", c.kind, c.container, over.Seconds(), time.Since(began).Seconds())
	}
	votes.pass(t, l)
}

// A frontend's engine is stopped under votes, and a frontend is cut off from the worker and the store: agents still reach each other, nothing
// else does.
func TestNodeFaultsUnderVotes(t *testing.T) {
	l := open(t)
	votes := l.tryOut(t, newSeed(t), 0)
	l.inject(t, "frontend02", &agentv1.InjectRequest{Kind: "engine-stop"}, 4*time.Second)
	if said, err := l.onNode(t.Context(), "frontend02", "systemctl", "is-active", "docker.service"); err == nil {
		t.Errorf("systemd says that the engine is %s", said)
	}
	votes.more(t, l, int64(l.rate)/3)
	l.noFault(t, "frontend02", l.patience)
	l.waitWhole(t, l.patience)

	l.inject(t, "frontend01", &agentv1.InjectRequest{Kind: "partition", Peers: []string{"worker01", "store"}}, 6*time.Second)
	reaches := func(node, peer, port string) bool {
		_, err := l.onNode(t.Context(), node, "timeout", "1", "bash", "-c", "</dev/tcp/"+l.address(t, peer)+"/"+port)
		return err == nil
	}
	const gossip, agent = "7946", "7400"
	if reaches("frontend01", "worker01", gossip) || reaches("store", "frontend01", gossip) {
		t.Error("the engines reach each other across the partition")
	}
	if !reaches("frontend01", "worker01", agent) || !reaches("store", "frontend01", agent) || !reaches("frontend02", "worker01", gossip) {
		t.Error("more is cut off than was asked for")
	}
	votes.more(t, l, int64(l.rate)/3)
	l.noFault(t, "frontend01", l.patience)
	waitFor(t, l.patience, "the nodes reach each other", func(context.Context) error {
		if !reaches("frontend01", "worker01", gossip) || !reaches("store", "frontend01", gossip) {
			return errors.New("they do not")
		}
		return nil
	})
	l.waitWhole(t, l.patience)
	votes.pass(t, l)
}

// A fault outlives nobody: neither a killed agent, nor a node without power, nor both, nor an agent that is gone for good, which
// another process notices. The node is looked at, not the records.
func TestFaultsOutliveNobody(t *testing.T) {
	l := open(t)
	const node, lease = "store", 8 * time.Second
	killAgent := func(t *testing.T) {
		t.Helper()
		l.mustOnNode(t, node, "systemctl", "kill", "--signal=KILL", "labagent.service")
	}
	for _, c := range []struct {
		name string
		// kind of fault that pg suffers.
		kind string
		ends func(*testing.T)
		// within is how long after its lease a fault may last.
		within time.Duration
	}{
		{"the agent is killed", "pause", killAgent, 5 * time.Second},
		{"the node loses power", "pause", func(t *testing.T) {
			l.kill(t, node)
			l.start(t, node)
		}, 30 * time.Second},
		{"both", "stop", func(t *testing.T) {
			killAgent(t)
			l.kill(t, node)
			l.start(t, node)
		}, 30 * time.Second},
		{"the agent is gone for good", "pause", func(t *testing.T) {
			l.mustOnNode(t, node, "systemctl", "stop", "labagent.service")
		}, 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.waitWhole(t, l.patience)
			l.inject(t, node, &agentv1.InjectRequest{Kind: "loss", Container: "results-app", Loss: 0.3}, lease)
			l.inject(t, node, &agentv1.InjectRequest{Kind: c.kind, Container: "pg"}, lease)
			l.inject(t, node, &agentv1.InjectRequest{Kind: "partition", Peers: []string{"worker01"}}, lease)
			began := time.Now()
			c.ends(t)
			waitFor(t, lease+c.within, "the node is free of faults", func(ctx context.Context) error {
				return l.traces(ctx, node, "pg", "results-app")
			})
			t.Logf("free of faults %.1f s after the injection", time.Since(began).Seconds())
			l.waitWhole(t, l.patience)
			l.noFault(t, node, l.patience)
			if left := l.mustOnNode(t, node, "ls", "/var/lib/swarmlab/faults"); strings.TrimSpace(left) != "" {
				t.Errorf("records are left: %s", left)
			}
		})
	}
}
