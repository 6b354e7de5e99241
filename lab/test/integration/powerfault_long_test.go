//go:build integration && long

package integration

import (
	"strings"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// A frontend loses its power under votes, by the command. It gets it back when the lease is over, and no vote is lost.
func TestPowerOffUnderVotes(t *testing.T) {
	l := open(t)
	o := l.powerFaults(t)
	votes := l.tryOut(t, newSeed(t), 0)
	second := int64(l.rate)
	votes.more(t, l, second)
	t.Log(l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", "20s"))
	injected := time.Now()
	if state, err := l.power.State(t.Context(), "frontend02"); err != nil || state != power.StateOff {
		t.Errorf("its machine is %s, %v", state, err)
	}
	for _, other := range []string{"power-off", "freeze"} {
		if out, err := l.try(t.Context(), "fault", other, "frontend02"); err == nil || !strings.Contains(out, "the fault power-off frontend02 is not over yet") {
			t.Errorf("one more %s: %v, %s", other, err, out)
		}
	}
	votes.more(t, l, second)
	l.noOutage(t, o)
	over := time.Since(injected)
	l.waitReady(t)
	t.Logf("a lease of 20 s: the agent answers after %.1f s, ready after %.1f s", over.Seconds(), time.Since(injected).Seconds())
	votes.more(t, l, second)
	votes.pass(t, l)
}

// The store is frozen under votes for as long as the lease lasts. They queue.
func TestFreezeUnderVotes(t *testing.T) {
	l := open(t)
	o := l.powerFaults(t)
	votes := l.tryOut(t, newSeed(t), 0)
	votes.more(t, l, int64(l.rate))
	const lease = 20 * time.Second
	injected := time.Now()
	t.Log(l.labCommand(t, nil, "fault", "freeze", "store", "--for", lease.String()))
	if state, err := l.power.State(t.Context(), "store"); err != nil || state != power.StatePaused {
		t.Errorf("its machine is %s, %v", state, err)
	}
	votes.more(t, l, int64(l.rate))
	l.noOutage(t, o)
	over := time.Since(injected)
	if over < lease {
		t.Errorf("it was over after %s", over)
	}
	l.waitReady(t)
	t.Logf("a lease of 20 s: over after %.1f s, ready after %.1f s", over.Seconds(), time.Since(injected).Seconds())
	votes.pass(t, l)
}

// A frozen process does not die of SIGKILL where cgroups are of version 1, and the node dies all the same.
func TestPowerOffWithSomethingFrozen(t *testing.T) {
	l := open(t)
	o := l.powerFaults(t)
	l.inject(t, "frontend02", &agentv1.InjectRequest{Kind: "pause", Container: "redis02"}, time.Minute)
	begun := time.Now()
	t.Log(l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", "2m"))
	t.Logf("off after %.1f s", time.Since(begun).Seconds())
	begun = time.Now()
	t.Log(l.labCommand(t, nil, "heal"))
	l.noOutage(t, o)
	l.noFault(t, "frontend02")
	l.waitReady(t)
	t.Logf("ready %.1f s after lab heal", time.Since(begun).Seconds())

	// One that was killed without thinking of that is neither alive nor dead, and is brought out of it.
	if l.Provider != settings.ProviderDocker {
		return
	}
	l.inject(t, "frontend02", &agentv1.InjectRequest{Kind: "pause", Container: "redis02"}, time.Minute)
	if _, err := host(t.Context(), "docker", "kill", l.Name+"-frontend02"); err == nil {
		t.Log("what is frozen dies here; start it again")
		l.start(t, "frontend02")
	} else {
		t.Log(err)
		t.Log(l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", "1s"))
	}
	l.noOutage(t, o)
	l.noFault(t, "frontend02")
	l.waitReady(t)
}

func TestPowerOfEveryRoleComesBackOnHeal(t *testing.T) {
	open(t).powerComesBackOnHeal(t, powerLoss{"frontend02", 0}, powerLoss{"worker01", 10 * time.Second}, powerLoss{"store", 10 * time.Second}, powerLoss{"manager", 0})
}

func TestAPowerFaultOutlivesItsInjectorAtAnyMoment(t *testing.T) {
	l := open(t)
	l.injectorIsKilled(t, l.powerFaults(t), 0, 200*time.Millisecond, 400*time.Millisecond)
}
