//go:build integration && long

package integration

import (
	"context"
	"fmt"
	"testing"
)

// A frontend whose Redis is away leaves the balancer, and comes back with it; votes go on meanwhile.
func TestAFrontendWithoutRedisLeavesTheBalancer(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)
	l.mustOnNode(t, "frontend01", "docker", "stop", "redis01")
	acknowledged := 0
	v := func() ballot {
		t.Helper()
		got, err := l.newVoter(t).cast(t.Context(), "a")
		if err != nil {
			t.Fatalf("with redis01 away: %v", err)
		}
		acknowledged++
		return got
	}
	// Out: a run of votes that frontend01 has no part in. Its vote would have been refused, and tried again elsewhere.
	for streak := 0; streak < 20; streak++ {
		if v().ServedBy == "frontend01" {
			t.Fatal("frontend01 acknowledged a vote without its Redis")
		}
	}
	l.heal(t)
	waitFor(t, l.patience, "frontend01 serves again", func(context.Context) error {
		if got := v(); got.ServedBy != "frontend01" {
			return fmt.Errorf("served by %s", got.ServedBy)
		}
		return nil
	})
	l.expectTally(t, tally{A: before.A + acknowledged, B: before.B, Total: before.Total + acknowledged})
	l.waitReady(t)
}

// Votes queue while nobody counts, and are counted afterwards.
func TestVotesQueueWithoutWorkerAndStore(t *testing.T) {
	for _, away := range []struct{ node, container string }{{"worker01", "worker01"}, {"store", "pg"}} {
		t.Run(away.container, func(t *testing.T) {
			l := open(t)
			trial := l.tryOut(t, newSeed(t), 0)
			l.mustOnNode(t, away.node, "docker", "stop", away.container)
			const votes = 50
			trial.more(t, l, votes)
			waitFor(t, l.patience, "the votes are seen queued", func(ctx context.Context) error {
				queued := 0.0
				for _, name := range l.nodesOf("frontend") {
					snap, err := l.snapshot(ctx, name)
					if err != nil {
						return err
					}
					queued += snap.GetRole().GetMeasures()["votes_queued"]
				}
				if queued < votes {
					return fmt.Errorf("%v queued, want %d", queued, votes)
				}
				return nil
			})
			l.heal(t)
			l.waitReady(t)
			trial.pass(t, l)
		})
	}
}
