//go:build integration && long

package integration

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
)

// innocent demands that a drill passed.
func innocent(t *testing.T, j *journal.Journal) {
	t.Helper()
	if j.Result != journal.Passed {
		t.Errorf("the drill %s: %v", j.Result, j.Reasons)
	}
}

// The drills of the negative controls pass on the lab as it is; worker-kill and redis-stop do so in TestEveryDrillPasses.
func TestDrillsOfTheControlsPass(t *testing.T) {
	l := open(t)
	for _, name := range []string{"redis-crash", "clock-skew"} {
		innocent(t, l.drill(t, "--file", drillFile(name)))
	}
}

// The servers of a balancer without any check have no state: the node is not ready, and no drill begins.
func TestNoDrillBeginsWithoutAnyCheck(t *testing.T) {
	l := open(t)
	blind := balancer("s/default-server check/default-server/")
	blind.unwell = true
	defer l.disguise(t, blind)()
	waitFor(t, l.patience, "interlock knows of no frontend that is up", func(ctx context.Context) error {
		snap, err := l.snapshot(ctx, "interlock")
		if err == nil && (snap.GetReady() || !strings.Contains(snap.GetRole().GetMessage(), "all frontends are down")) {
			err = errors.New(snap.GetRole().GetMessage())
		}
		return err
	})
	out, err := l.try(t.Context(), "drill", "run", "redis-stop", "--yes")
	if err == nil || !strings.Contains(out, "the lab is not in its steady state") {
		t.Errorf("a drill: %v\n%s", err, out)
	}
}

// A Redis that leaves it to the kernel when its log reaches the disk is on a node that loses its power: what the kernel had not written yet is
// gone. Only a virtual machine shows it: what a container node had not written yet, its host still has.
func TestPowerTakesWhatIsNotSynced(t *testing.T) {
	l := open(t)
	if l.Provider == settings.ProviderDocker {
		t.Skip("a container node's page cache is its host's, and survives")
	}
	for _, fsync := range []string{"no", "always"} {
		t.Run("appendfsync "+fsync, func(t *testing.T) {
			victim := l.redis(t, 1)
			// Votes are to wait in the queue, not to be counted before.
			l.inject(t, "worker01", &agentv1.InjectRequest{Kind: "stop", Container: "worker01"}, 10*time.Minute)
			votes := l.tryOut(t, newSeed(t), 0)
			if fsync == "no" {
				// The promise is broken on purpose, which `lab verify` would hold against the lab for ever.
				defer func() {
					if err := os.Remove(votes.path); err != nil {
						t.Error(err)
					}
				}()
			}
			votes.more(t, l, int64(l.rate))
			// The kernel takes its time, and Redis is as the role wants it when it starts: both settings go with the power.
			l.mustOnNode(t, "frontend01", "sysctl", "--write", "vm.dirty_writeback_centisecs=0")
			if err := victim.ConfigSet(t.Context(), "appendfsync", fsync).Err(); err != nil {
				t.Fatal(err)
			}
			votes.more(t, l, int64(10*l.rate))
			l.kill(t, "frontend01")
			l.start(t, "frontend01")
			waitFor(t, l.patience, "all are healed", func(ctx context.Context) error {
				_, err := l.fleet.Heal(ctx)
				return err
			})
			l.waitReady(t)
			if fsync == "always" {
				votes.pass(t, l)
				return
			}
			got := votes.judge(t, l)
			if got.Result != checker.Fail {
				t.Errorf("the verdict is %s: %v", got.Result, got.Missing)
			}
			harmedOnlyBy(t, got.Report, checker.Lost)
		})
	}
}
