//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// drillFile is a drill of the tests' own.
func drillFile(name string) string { return "lab/test/integration/controls/drills/" + name + ".yaml" }

// drilling is a drill that is run by the command.
type drilling struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	// enter is where somebody would press Enter.
	enter io.Closer
	ended chan struct{}
}

// timed are the options of a drill of the tests, whose votes are few enough for a slow machine; untimed those of one that measures times and does
// not judge them.
var (
	timed   = []string{"drill", "run", "--yes", "--json", "--load", "60"}
	untimed = append(slices.Clone(timed), "--untimed")
)

// startDrill starts bin/lab drill run in the clone, untimed.
func (l *lab) startDrill(t *testing.T, args ...string) *drilling {
	t.Helper()
	return l.run(t, slices.Concat(untimed, args)...)
}

// run starts bin/lab for a drill.
func (l *lab) run(t *testing.T, args ...string) *drilling {
	t.Helper()
	d := &drilling{cmd: exec.Command(l.Dir+"/bin/lab", args...), ended: make(chan struct{})}
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = l.Dir, &d.out, &d.err
	var err error
	if d.enter, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // its exit status says more
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
	})
	return d
}

func (d *drilling) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v\n%s", err, d.err.String())
	}
}

// end waits until the command has ended, and returns the run's journal.
func (d *drilling) end(t *testing.T) *journal.Journal {
	t.Helper()
	<-d.ended
	j := &journal.Journal{}
	if err := json.Unmarshal(d.out.Bytes(), j); err != nil {
		t.Fatalf("no journal: %v\n%s%s", err, d.out.String(), d.err.String())
	}
	if want := map[bool]int{true: 0, false: 1}[j.Result == journal.Passed]; d.cmd.ProcessState.ExitCode() != want {
		t.Errorf("the drill %s, and the exit status is %d", j.Result, d.cmd.ProcessState.ExitCode())
	}
	t.Logf("%s: %s after %.1f s: %s", j.Drill.ID, j.Result, float64(j.LengthMS)/1000, strings.Join(j.Reasons, "; "))
	for _, f := range j.Faults {
		if f.HealedMS > f.SeenMS {
			t.Logf("  %s on %s: healed after %.1f s", f.What, f.Node, float64(f.HealedMS-f.EndedMS)/1000)
		}
	}
	return j
}

// drill runs a drill to its end.
func (l *lab) drill(t *testing.T, args ...string) *journal.Journal {
	t.Helper()
	return l.startDrill(t, args...).end(t)
}

// traces looks at a node of whose containers some are broken, and at no record: whatever is left of a fault is an error.
func (l *lab) traces(ctx context.Context, node string, containers ...string) error {
	var errs []error
	for _, c := range containers {
		state, err := l.onNode(ctx, node, "docker", "inspect", "-f", "{{.State.Status}}", c)
		switch {
		case err != nil:
			errs = append(errs, err)
		case strings.TrimSpace(state) != "running":
			errs = append(errs, fmt.Errorf("%s is %s", c, strings.TrimSpace(state)))
		default:
			errs = append(errs, l.cleanLinks(ctx, node, c))
		}
	}
	switch tables, err := l.onNode(ctx, node, "nft", "list", "tables"); {
	case err != nil:
		errs = append(errs, err)
	case strings.Contains(tables, "swarmlab_fault"):
		errs = append(errs, errors.New("the node's tables: "+tables))
	}
	return errors.Join(errs...)
}

// broken waits until a drill that breaks much at the store has broken all of it, and knows.
func (l *lab) broken(t *testing.T, d *drilling) {
	t.Helper()
	waitFor(t, l.patience, "all is broken", func(ctx context.Context) error {
		select {
		case <-d.ended:
			t.Fatalf("the drill ended:\n%s", d.err.String())
		default:
		}
		snap, err := l.snapshot(ctx, "store")
		if err != nil {
			return err
		}
		seen := 0
		for _, f := range snap.GetFaults() {
			if f.GetEvidence() != "" {
				seen++
			}
		}
		if seen < 3 {
			return fmt.Errorf("of the faults %d were seen", seen)
		}
		said := fmt.Sprint(l.traces(ctx, "store", "pg", "results-app"))
		for _, trace := range []string{"results-app is exited", "the links of pg are not as they were", "the node's tables"} {
			if !strings.Contains(said, trace) {
				return errors.New("of the store: " + said)
			}
		}
		return nil
	})
}

// mended waits until nothing is left of what that drill broke.
func (l *lab) mended(t *testing.T) {
	t.Helper()
	waitFor(t, l.patience, "the store is free of faults", func(ctx context.Context) error { return l.traces(ctx, "store", "pg", "results-app") })
}

// A drill outlives nobody: whoever dies while it breaks containers, links and the network of a node, the lab command, the node's agent, the
// node, or more than one of them: when the lease is over and what ends it has started, nothing is left. The node is looked at, not the records.
func TestDrillsOutliveNobody(t *testing.T) {
	l := open(t)
	l.drillOutlives(t, "the command and the agent are killed", false, func(t *testing.T, d *drilling) {
		l.killAgent(t, "store")
		d.signal(t, syscall.SIGKILL)
	})
}

// drillOutlives lets somebody die while a drill breaks the store. lives: the command does not die; it ends the drill in order.
func (l *lab) drillOutlives(t *testing.T, name string, lives bool, dies func(*testing.T, *drilling)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		l.waitReady(t)
		args := untimed
		if lives {
			// It would renew the longer leases of an untimed drill when the node is back, and go on.
			args = timed
		}
		d := l.run(t, slices.Concat(args, []string{"--file", drillFile("store-in-ruins"), "--hold"})...)
		l.broken(t, d)
		began := time.Now()
		dies(t, d)
		l.mended(t)
		t.Logf("free of faults after %.1f s", time.Since(began).Seconds())
		if lives {
			if j := d.end(t); j.Result != journal.Aborted {
				t.Errorf("the drill %s", j.Result)
			}
		}
		l.noFault(t, "store")
		l.waitReady(t)
		t.Logf("ready after %.1f s", time.Since(began).Seconds())
	})
}

// An agent that is killed under a drill comes back and goes on with the faults, whose leases are renewed; an interrupt heals them, and the run is
// aborted.
func TestInterruptHeals(t *testing.T) {
	l := open(t)
	d := l.startDrill(t, "--file", drillFile("store-in-ruins"), "--hold")
	l.broken(t, d)
	started := l.mustOnNode(t, "store", "systemctl", "show", "--property", "MainPID", "labagent")
	l.killAgent(t, "store")
	waitFor(t, l.patience, "another agent runs", func(ctx context.Context) error {
		now, err := l.onNode(ctx, "store", "systemctl", "show", "--property", "MainPID", "labagent")
		if err == nil && (strings.TrimSpace(now) == started || strings.TrimSpace(now) == "MainPID=0") {
			err = errors.New(now)
		}
		return err
	})
	l.broken(t, d)
	l.renewed(t, d, "store")
	began := time.Now()
	d.signal(t, syscall.SIGINT)
	l.mended(t)
	t.Logf("nothing was left %.1f s after the interrupt; the aim is 3 s", time.Since(began).Seconds())
	l.aborted(t, d.end(t))
	l.waitReady(t)
}

// renewed waits until every fault on a node has more left of its lease than it had before.
func (l *lab) renewed(t *testing.T, d *drilling, node string) {
	t.Helper()
	least := map[string]time.Duration{}
	longer := map[string]bool{}
	waitFor(t, l.patience, "the leases are renewed", func(ctx context.Context) error {
		select {
		case <-d.ended:
			t.Fatalf("the drill ended: %s", d.err.String())
		default:
		}
		snap, err := l.snapshot(ctx, node)
		if err != nil {
			return err
		}
		for _, f := range snap.GetFaults() {
			left := f.GetLeft().AsDuration()
			if before, ok := least[f.GetId()]; ok && left > before {
				longer[f.GetId()] = true
			}
			least[f.GetId()] = left
		}
		if len(longer) < 3 {
			return fmt.Errorf("those of %d faults of 3", len(longer))
		}
		return nil
	})
}

// aborted demands that a drill was, and healed what it broke.
func (l *lab) aborted(t *testing.T, j *journal.Journal) {
	t.Helper()
	if j.Result != journal.Aborted || len(j.Reasons) == 0 || j.Reasons[0] != "it was interrupted" {
		t.Errorf("the drill %s: %v", j.Result, j.Reasons)
	}
	for _, f := range j.Faults {
		if f.HealedMS == 0 {
			t.Errorf("it does not know whether %s on %s is healed", f.What, f.Node)
		}
	}
}

// A closed terminal gives a node its power back.
func TestDrillsGivePowerBack(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		// Under nohup it is, and who starts under nohup leaves it so, as the lab command does. What is caught here is not ignored there.
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGHUP)
		defer signal.Stop(caught)
	}
	l := open(t)
	d, o := l.startPowerOff(t)
	began := time.Now()
	d.signal(t, syscall.SIGHUP)
	l.waitPower(t, power.StateRunning)
	t.Logf("the power was on after %.1f s", time.Since(began).Seconds())
	l.aborted(t, d.end(t))
	t.Logf("the command ended after %.1f s; the aim is 15 s", time.Since(began).Seconds())
	l.noOutage(t, o)
	l.waitReady(t)
	t.Logf("ready after %.1f s", time.Since(began).Seconds())
}

// startPowerOff starts a drill that takes frontend02's power until somebody ends it, and waits until it is off.
func (l *lab) startPowerOff(t *testing.T) (*drilling, *powerfault.PowerFaults) {
	t.Helper()
	o := l.powerFaults(t)
	d := l.startDrill(t, "frontend-power-off", "--hold")
	l.waitPower(t, power.StateOff)
	waitFor(t, l.patience, "the fault is in force", func(context.Context) error {
		faults, err := o.List()
		if err == nil && (len(faults) == 0 || faults[0].Phase != powerfault.InForce) {
			err = errors.New("it is not")
		}
		return err
	})
	return d, o
}

// waitPower waits for the state of frontend02's machine.
func (l *lab) waitPower(t *testing.T, want power.State) {
	t.Helper()
	waitFor(t, l.patience, fmt.Sprintf("the power is %s", want), func(ctx context.Context) error {
		state, err := l.power.State(ctx, "frontend02")
		if err == nil && state != want {
			err = fmt.Errorf("its machine is %s", state)
		}
		return err
	})
}

// While a drill is under way another one is refused, and told whose it is. It is not disturbed by that.
func TestOneDrillAtATime(t *testing.T) {
	l := open(t)
	d := l.startDrill(t, "redis-stop", "--hold")
	waitFor(t, l.patience, "redis01 is stopped", func(ctx context.Context) error {
		state, err := l.onNode(ctx, "frontend01", "docker", "inspect", "-f", "{{.State.Status}}", "redis01")
		if err == nil && strings.TrimSpace(state) != "exited" {
			err = fmt.Errorf("it is %s", strings.TrimSpace(state))
		}
		return err
	})
	out, err := l.try(t.Context(), "drill", "run", "worker-kill", "--yes")
	want := "another one is under way: drill redis-stop of "
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, want) || !strings.Contains(out, fmt.Sprint("process ", d.cmd.Process.Pid)) {
		t.Errorf("a second drill: %v\n%s", err, out)
	}
	if err := d.enter.Close(); err != nil {
		t.Fatal(err)
	}
	if j := d.end(t); j.Result != journal.Passed {
		t.Errorf("the drill %s: %v", j.Result, j.Reasons)
	}
}
