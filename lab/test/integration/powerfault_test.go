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

	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// try runs bin/lab in the clone and returns what it said.
func (l *lab) try(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.Dir+"/bin/lab", args...)
	cmd.Dir = l.Dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// powerFaults are the lab's power faults, of which this process injects none.
func (l *lab) powerFaults(t *testing.T) *powerfault.PowerFaults {
	t.Helper()
	o, err := powerfault.Open(l.Lab, nil)
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
func (l *lab) noOutage(t *testing.T, o *powerfault.PowerFaults) time.Duration {
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

// How long it takes from lab heal to a whole lab.
func TestPowerComesBackOnHeal(t *testing.T) {
	open(t).powerComesBackOnHeal(t, powerLoss{"frontend02", 0})
}

// powerLoss is a node without power.
type powerLoss struct {
	node string
	// away is for how long it is off. An engine stays away until its peers have given its former self up (agents/rejoin), so that
	// what comes back at once comes back latest.
	away time.Duration
}

func (l *lab) powerComesBackOnHeal(t *testing.T, cases ...powerLoss) {
	t.Helper()
	o := l.powerFaults(t)
	for _, c := range cases {
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
		l.waitReady(t)
		t.Logf("%s, off for %s: healed after %.1f s, ready after %.1f s", node, c.away, healed.Seconds(), time.Since(begun).Seconds())
	}
}

// killProcess ends a process of this host that the test started.
func killProcess(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatal("the process is gone already")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// Power faults outlive nobody: neither who injected them, nor the process that is to end them.
func TestPowerFaultsOutliveNobody(t *testing.T) {
	l := open(t)
	o := l.powerFaults(t)
	l.injectorIsKilled(t, o, 200*time.Millisecond)
	t.Run("the reaper is killed", func(t *testing.T) {
		l.labCommand(t, nil, "fault", "freeze", "frontend02", "--for", "10m")
		first := l.reaper(t)
		killProcess(t, first)
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
		l.labCommand(t, nil, "heal")
		l.noOutage(t, o)
		l.waitReady(t)
	})
	l.bothAreKilled(t, o)
}

// injectorIsKilled kills the command that cuts a node's power at several moments after it wrote the record.
func (l *lab) injectorIsKilled(t *testing.T, o *powerfault.PowerFaults, delays ...time.Duration) {
	t.Helper()
	for _, delay := range delays {
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
			killProcess(t, cmd.Process.Pid)
			_ = cmd.Wait()
			faults, err := o.List()
			if err != nil || len(faults) != 1 {
				t.Fatalf("%v, %v", faults, err)
			}
			l.noOutage(t, o)
			t.Logf("it was %s; over %.1f s later", faults[0].Phase, time.Since(begun).Seconds())
			l.waitReady(t)
		})
	}
}

// bothAreKilled has neither who injected nor the process that is to end it live when the lease runs out.
func (l *lab) bothAreKilled(t *testing.T, o *powerfault.PowerFaults) {
	t.Helper()
	t.Run("both are, and the lease runs out meanwhile", func(t *testing.T) {
		const lease = 15 * time.Second
		l.labCommand(t, nil, "fault", "power-off", "frontend02", "--for", lease.String())
		injected := time.Now()
		killProcess(t, l.reaper(t))
		waitFor(t, l.patience, "the lease has run out", func(context.Context) error {
			if left := time.Until(injected.Add(lease)); left > 0 {
				return fmt.Errorf("%s are left", left)
			}
			return nil
		})
		if out, err := l.try(t.Context(), "status"); err == nil {
			t.Errorf("the lab is ready:\n%s", out)
		}
		l.noOutage(t, o)
		l.waitReady(t)
	})
}

// While another command works on the machines no power is cut.
func TestNoPowerFaultDuringUp(t *testing.T) {
	l := open(t)
	o := l.powerFaults(t)
	release, err := lock.Lab(l.Lab, "test")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := l.try(t.Context(), "fault", "power-off", "frontend02"); err == nil || !strings.Contains(out, "refused: another command works on the lab") {
		t.Errorf("%v: %s", err, out)
	}
	release()
	// Up ends what is in force, and finds nothing else to do.
	l.labCommand(t, nil, "fault", "freeze", "frontend02", "--for", "10m")
	if out := l.labCommand(t, nil, "up"); !strings.Contains(out, "freeze on frontend02 is over") {
		t.Errorf("lab up says:\n%s", out)
	}
	l.noOutage(t, o)
	l.waitReady(t)
}
