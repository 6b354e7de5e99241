//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/outage"
	"github.com/swarmlab/swarmlab/lab/power"
	"github.com/swarmlab/swarmlab/lab/settings"
)

// try runs bin/lab in the clone and returns what it said.
func (l *lab) try(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.Dir+"/bin/lab", args...)
	cmd.Dir = l.Dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// outages are the lab's power faults, of which this process injects none.
func (l *lab) outages(t *testing.T) *outage.Outages {
	t.Helper()
	o, err := outage.Open(l.Lab, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := o.Heal(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// noOutage waits until no power fault is left, of which no trace remains.
func (l *lab) noOutage(t *testing.T, o *outage.Outages) time.Duration {
	t.Helper()
	took := waitFor(t, l.patience, "no power fault is left", func(context.Context) error {
		faults, err := o.List()
		for _, f := range faults {
			err = errors.Join(err, fmt.Errorf("%s is %s: %s", f, f.Phase, f.Trouble))
		}
		return err
	})
	waitFor(t, l.patience, "the reaper is done", func(context.Context) error {
		if pid := l.reaper(t); pid != 0 {
			return fmt.Errorf("process %d lives", pid)
		}
		return nil
	})
	if left, err := os.ReadDir(l.FaultDir()); err != nil || len(left) > 0 {
		t.Errorf("left of the power faults: %v, %v", left, err)
	}
	return took
}

// reaper is the process that ends this lab's power faults; 0: there is none.
func (l *lab) reaper(t *testing.T) int {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(command, []byte(l.Dir+"/bin/lab\x00reap\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	return 0
}

// A frontend loses its power under votes, by the command. It gets it back when the lease is over, and no vote is lost.
func TestPowerOffUnderVotes(t *testing.T) {
	l := open(t)
	o := l.outages(t)
	votes := l.tryOut(t, newSeed(t), 0)
	second := int64(l.rate)
	votes.more(t, l, second)
	t.Log(l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", "5s"))
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
	l.waitWhole(t, l.patience)
	t.Logf("a lease of 5 s: the agent answers after %.1f s, whole after %.1f s", over.Seconds(), time.Since(injected).Seconds())
	votes.more(t, l, second)
	votes.pass(t, l)
}

// How long it takes from lab heal to a whole lab.
func TestPowerComesBackOnHeal(t *testing.T) {
	l := open(t)
	o := l.outages(t)
	for _, c := range []struct {
		node string
		// away is for how long it is off. An engine stays away until its peers have given its former self up (agents/rejoin), so that
		// what comes back at once comes back latest.
		away time.Duration
	}{{"frontend02", 0}, {"worker01", 10 * time.Second}, {"store", 10 * time.Second}, {"manager", 0}} {
		node := c.node
		l.labCommand(t, nil, "fault", "power-off", node, "--for", "10m")
		time.Sleep(c.away)
		begun := time.Now()
		out := l.labCommand(t, nil, "heal")
		healed := time.Since(begun)
		if !strings.Contains(out, "power-off on "+node+" is over") {
			t.Errorf("lab heal says %q", out)
		}
		l.noOutage(t, o)
		l.waitWhole(t, l.patience)
		t.Logf("%s, off for %s: healed after %.1f s, whole after %.1f s", node, c.away, healed.Seconds(), time.Since(begun).Seconds())
	}
}

// Power faults outlive nobody: neither who injected them, nor the process that is to end them.
func TestPowerFaultsOutliveNobody(t *testing.T) {
	l := open(t)
	o := l.outages(t)
	kill := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, delay := range []time.Duration{0, 200 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(fmt.Sprintf("the injector is killed %s after it wrote the record", delay), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), l.Dir+"/bin/lab", "fault", "power-off", "frontend02", "--for", "8s")
			cmd.Dir = l.Dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, l.patience, "the record is written", func(context.Context) error {
				faults, err := o.List()
				if err == nil && (len(faults) == 0 || l.reaper(t) == 0) {
					err = errors.New("it is not")
				}
				return err
			})
			time.Sleep(delay)
			begun := time.Now()
			kill(t, cmd.Process.Pid)
			_ = cmd.Wait()
			faults, err := o.List()
			if err != nil || len(faults) != 1 {
				t.Fatalf("%v, %v", faults, err)
			}
			l.noOutage(t, o)
			t.Logf("it was %s; over %.1f s later", faults[0].Phase, time.Since(begun).Seconds())
			l.waitWhole(t, l.patience)
		})
	}
	t.Run("the reaper is killed", func(t *testing.T) {
		l.labCommand(t, nil, "fault", "freeze", "frontend02", "--for", "8s")
		first := l.reaper(t)
		kill(t, first)
		waitFor(t, l.patience, "the reaper is gone", func(context.Context) error {
			if l.reaper(t) != 0 {
				return errors.New("it is not")
			}
			return nil
		})
		// Not whole: its exit status is 1.
		if out, err := l.try(t.Context(), "status"); err == nil || !strings.Contains(out, "fault freeze, by ") {
			t.Errorf("lab status: %v\n%s", err, out)
		}
		second := l.reaper(t)
		if second == 0 || second == first {
			t.Errorf("after lab status the reaper is process %d; it was %d", second, first)
		}
		l.noOutage(t, o)
		l.waitWhole(t, l.patience)
	})
	t.Run("both are, and the lease runs out meanwhile", func(t *testing.T) {
		l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", "1s")
		kill(t, l.reaper(t))
		time.Sleep(2 * time.Second)
		if out, err := l.try(t.Context(), "status"); err == nil {
			t.Errorf("the lab is whole:\n%s", out)
		}
		l.noOutage(t, o)
		l.waitWhole(t, l.patience)
	})
}

// The store is frozen under votes for as long as the lease lasts. They queue.
func TestFreezeUnderVotes(t *testing.T) {
	l := open(t)
	o := l.outages(t)
	votes := l.tryOut(t, newSeed(t), 0)
	votes.more(t, l, int64(l.rate))
	t.Log(l.labCommand(t, nil, "fault", "freeze", "store", "--for", "5s"))
	injected := time.Now()
	if state, err := l.power.State(t.Context(), "store"); err != nil || state != power.StatePaused {
		t.Errorf("its machine is %s, %v", state, err)
	}
	votes.more(t, l, int64(l.rate))
	l.noOutage(t, o)
	over := time.Since(injected)
	if over < 4*time.Second {
		t.Errorf("it was over after %s", over)
	}
	l.waitWhole(t, l.patience)
	t.Logf("a lease of 5 s: over after %.1f s, whole after %.1f s", over.Seconds(), time.Since(injected).Seconds())
	votes.pass(t, l)
}

// A frozen process does not die of SIGKILL where cgroups are of version 1, and the node dies all the same.
func TestPowerOffWithSomethingFrozen(t *testing.T) {
	l := open(t)
	o := l.outages(t)
	l.inject(t, "frontend02", &agentv1.InjectRequest{Kind: "pause", Container: "redis02"}, time.Minute)
	begun := time.Now()
	t.Log(l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", "2m"))
	t.Logf("off after %.1f s", time.Since(begun).Seconds())
	begun = time.Now()
	t.Log(l.labCommand(t, nil, "heal"))
	l.noOutage(t, o)
	l.noFault(t, "frontend02", l.patience)
	l.waitWhole(t, l.patience)
	t.Logf("whole %.1f s after lab heal", time.Since(begun).Seconds())

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
	l.noFault(t, "frontend02", l.patience)
	l.waitWhole(t, l.patience)
}

// While another command works on the machines no power is cut.
func TestNoPowerFaultDuringUp(t *testing.T) {
	l := open(t)
	o := l.outages(t)
	cmd := exec.CommandContext(t.Context(), "flock", l.Path("lock"), "sleep", "4")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if out, err := l.try(t.Context(), "fault", "power-off", "frontend02"); err == nil || !strings.Contains(out, "refused: another command works on the lab") {
		t.Errorf("%v: %s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	// Up ends what is in force, and finds nothing else to do.
	l.labCommand(t, nil, "fault", "freeze", "frontend02", "--for", "10m")
	if out := l.labCommand(t, nil, "up"); !strings.Contains(out, "freeze on frontend02 is over") {
		t.Errorf("lab up says:\n%s", out)
	}
	l.noOutage(t, o)
	l.waitWhole(t, l.patience)
}
