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

// holder is the test's name, as much of it as an agent takes.
func holder(t *testing.T) string { return t.Name()[:min(len(t.Name()), 64)] }

// inject breaks something on a node, by its agent.
func (l *lab) inject(t *testing.T, node string, what *agentv1.InjectRequest, lease time.Duration) *agentv1.Fault {
	t.Helper()
	what.Lease, what.Holder = durationpb.New(lease), holder(t)
	f, err := l.fleet.Inject(t.Context(), node, what)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s %s %v: %s", node, f.GetKind(), f.GetContainer(), f.GetPeers(), f.GetEvidence())
	return f
}

// untilLooked is the lease of a fault that is looked at: however long that takes, it is in force. endsBy shortens it then.
const untilLooked = 10 * time.Minute

// endsBy gives a fault that is in force a lease, waits until no fault is left on its node, and demands that it was not over before. It returns how
// long it lasted from then on.
func (l *lab) endsBy(t *testing.T, node string, f *agentv1.Fault, lease time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := l.fleet.Renew(t.Context(), node, f.GetId(), lease); err != nil {
		t.Fatal(err)
	}
	l.noFault(t, node)
	over := time.Since(began)
	if over < lease {
		t.Errorf("%s %s ended after %s, before its lease", f.GetKind(), f.GetContainer(), over)
	}
	return over
}

// noFault waits until no fault is left on a node, by its agent's own word.
func (l *lab) noFault(t *testing.T, node string) {
	t.Helper()
	waitFor(t, l.patience, "no fault is left on "+node, func(ctx context.Context) error {
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

// A frontend is cut off from the worker and the store under votes: agents still reach each other, nothing else does.
func TestAPartitionUnderVotes(t *testing.T) {
	l := open(t)
	votes := l.tryOut(t, newSeed(t), 0)
	l.inject(t, "frontend01", &agentv1.InjectRequest{Kind: "partition", Peers: []string{"worker01", "store"}}, 10*time.Minute)
	reaches := func(node, peer, port string) bool {
		// What the partition drops gets no answer at all; what it lets through takes a moment longer on a slow machine.
		_, err := l.onNode(t.Context(), node, "timeout", "5", "bash", "-c", "</dev/tcp/"+l.address(t, peer)+"/"+port)
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
	l.heal(t)
	l.noFault(t, "frontend01")
	waitFor(t, l.patience, "the nodes reach each other", func(context.Context) error {
		if !reaches("frontend01", "worker01", gossip) || !reaches("store", "frontend01", gossip) {
			return errors.New("they do not")
		}
		return nil
	})
	l.waitReady(t)
	votes.pass(t, l)
}

// A fault outlives nobody: neither a killed agent, nor a node without power, nor both, nor an agent that is gone for good, which
// another process notices after a while. Each has a node of its own, and all that time the other fills. The nodes are looked at, not the records.
func TestFaultsOutliveNobody(t *testing.T) {
	l := open(t)
	l.waitReady(t)
	t.Run("the agent is killed, and the node loses power", func(t *testing.T) {
		t.Parallel()
		const node = "store"
		l.outlives(t, node, "pg", "stop", "results-app", func(t *testing.T) {
			l.killAgent(t, node)
			l.kill(t, node)
			l.start(t, node)
		})
	})
	t.Run("the agent is gone for good", func(t *testing.T) {
		t.Parallel()
		const node = "frontend01"
		l.outlives(t, node, "redis01", "pause", "frontend01", func(t *testing.T) {
			l.mustOnNode(t, node, "systemctl", "stop", "labagent.service")
		})
	})
}

func (l *lab) killAgent(t *testing.T, node string) {
	t.Helper()
	l.mustOnNode(t, node, "systemctl", "kill", "--signal=KILL", "labagent.service")
}

// outlives breaks a node in three ways, a container by a fault of a kind and another by lost packets among them, lets something end who would end
// that, and waits until nothing is left of it.
func (l *lab) outlives(t *testing.T, node, container, kind, lossy string, ends func(*testing.T)) {
	t.Helper()
	const lease = 8 * time.Second
	l.inject(t, node, &agentv1.InjectRequest{Kind: "loss", Container: lossy, Loss: 0.3}, lease)
	l.inject(t, node, &agentv1.InjectRequest{Kind: kind, Container: container}, lease)
	l.inject(t, node, &agentv1.InjectRequest{Kind: "partition", Peers: []string{"worker01"}}, lease)
	began := time.Now()
	ends(t)
	waitFor(t, l.patience, "the node is free of faults", func(ctx context.Context) error {
		return l.traces(ctx, node, container, lossy)
	})
	t.Logf("free of faults %.1f s after the injection", time.Since(began).Seconds())
	l.waitReady(t)
	l.noFault(t, node)
	if left := l.mustOnNode(t, node, "ls", "/var/lib/swarmlab/faults"); strings.TrimSpace(left) != "" {
		t.Errorf("records are left: %s", left)
	}
}
