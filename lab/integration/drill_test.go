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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/journal"
	"github.com/swarmlab/swarmlab/lab/outage"
	"github.com/swarmlab/swarmlab/lab/power"
)

// drillFile is a drill of the tests' own.
func drillFile(name string) string { return "lab/integration/controls/drills/" + name + ".yaml" }

// drilling is a drill that is run by the command.
type drilling struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	// enter is where somebody would press Enter.
	enter io.Closer
	ended chan struct{}
}

// startDrill starts bin/lab drill run in the clone.
func (l *lab) startDrill(t *testing.T, args ...string) *drilling {
	t.Helper()
	d := &drilling{cmd: exec.Command(l.Dir+"/bin/lab", append([]string{"drill", "run", "--yes", "--json"}, args...)...), ended: make(chan struct{})}
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

// trials is how often a drill is begun that the host disturbed.
const trials = 3

// drill runs a drill to its end, and once more where the host withheld the processors from it, so that nothing can be said.
func (l *lab) drill(t *testing.T, args ...string) *journal.Journal {
	t.Helper()
	for trial := 1; ; trial++ {
		j := l.startDrill(t, args...).end(t)
		if !disturbed(j) || trial == trials {
			return j
		}
		t.Log("it says nothing: the host withheld the processors")
		l.waitWhole(t, l.patience)
		calm(t)
	}
}

// disturbed reports whether a run says nothing, since the host kept the machine from its processors.
func disturbed(j *journal.Journal) bool {
	return (j.Result == journal.Undecided || j.Result == journal.Aborted) && j.Stolen >= runner.Disturbed
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

// lease of a drill's faults, as its runner has it.
const drillLease = 10 * time.Second

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
func (l *lab) mended(t *testing.T, within time.Duration) {
	t.Helper()
	waitFor(t, within, "the store is free of faults", func(ctx context.Context) error { return l.traces(ctx, "store", "pg", "results-app") })
}

// A drill outlives nobody: whoever dies while it breaks containers, links and the network of a node, the lab command, the node's agent, the
// node, or more than one of them, within the lease and what it takes to start nothing is left. The node is looked at, not the records.
func TestDrillsOutliveNobody(t *testing.T) {
	l := open(t)
	killAgent := func(t *testing.T) {
		t.Helper()
		l.mustOnNode(t, "store", "systemctl", "kill", "--signal=KILL", "labagent.service")
	}
	for _, c := range []struct {
		name string
		dies func(*testing.T, *drilling)
		// within is how long after the lease a fault may last.
		within time.Duration
		// lives: so does the command. It ends the drill in order.
		lives bool
	}{
		{"the command is killed", func(t *testing.T, d *drilling) { d.signal(t, syscall.SIGKILL) }, 3 * time.Second, false},
		{"the command and the agent are killed", func(t *testing.T, d *drilling) {
			killAgent(t)
			d.signal(t, syscall.SIGKILL)
		}, 5 * time.Second, false},
		{"the node loses power", func(t *testing.T, _ *drilling) {
			l.kill(t, "store")
			l.start(t, "store")
		}, 30 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.waitWhole(t, l.patience)
			d := l.startDrill(t, "--file", drillFile("store-in-ruins"), "--hold")
			l.broken(t, d)
			began := time.Now()
			c.dies(t, d)
			l.mended(t, drillLease+c.within)
			t.Logf("free of faults after %.1f s", time.Since(began).Seconds())
			if c.lives {
				if j := d.end(t); j.Result != journal.Aborted {
					t.Errorf("the drill %s", j.Result)
				}
			}
			l.noFault(t, "store", l.patience)
			l.waitWhole(t, l.patience)
			t.Logf("whole after %.1f s", time.Since(began).Seconds())
		})
	}
}

// An agent that is killed under a drill comes back and goes on with the faults; an interrupt heals them, and the run is aborted.
func TestInterruptHeals(t *testing.T) {
	l := open(t)
	d := l.startDrill(t, "--file", drillFile("store-in-ruins"), "--hold")
	l.broken(t, d)
	began := time.Now()
	l.mustOnNode(t, "store", "systemctl", "kill", "--signal=KILL", "labagent.service")
	// Longer than a lease: somebody renews it.
	waitFor(t, drillLease+5*time.Second, "the faults have outlasted a lease", func(ctx context.Context) error {
		select {
		case <-d.ended:
			t.Fatalf("the drill ended: %s", d.err.String())
		default:
		}
		if left := drillLease + 2*time.Second - time.Since(began); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	})
	l.broken(t, d)
	began = time.Now()
	d.signal(t, syscall.SIGINT)
	l.mended(t, sooner)
	t.Logf("nothing was left %.1f s after the interrupt; the aim is 3 s", time.Since(began).Seconds())
	l.aborted(t, d.end(t))
	l.waitWhole(t, l.patience)
}

// sooner than any lease runs out that was renewed lately.
const sooner = drillLease - 4*time.Second

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

// A closed terminal gives a node its power back. So does the reaper, when the command was killed.
func TestDrillsGivePowerBack(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		// Under nohup it is, and who starts under nohup leaves it so, as the lab command does. What is caught here is not ignored there.
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGHUP)
		defer signal.Stop(caught)
	}
	l := open(t)
	o := l.outages(t)
	has := func(want power.State) func(context.Context) error {
		return func(ctx context.Context) error {
			state, err := l.power.State(ctx, "frontend02")
			if err == nil && state != want {
				err = fmt.Errorf("its machine is %s", state)
			}
			return err
		}
	}
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		within time.Duration
	}{
		{"the terminal is closed", syscall.SIGHUP, sooner},
		{"the command is killed", syscall.SIGKILL, drillLease + 5*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.waitWhole(t, l.patience)
			d := l.startDrill(t, "frontend-power-off", "--hold")
			waitFor(t, l.patience, "the power is off", has(power.StateOff))
			waitFor(t, l.patience, "the fault is in force", func(context.Context) error {
				faults, err := o.List()
				if err == nil && (len(faults) == 0 || faults[0].Phase != outage.InForce) {
					err = errors.New("it is not")
				}
				return err
			})
			began := time.Now()
			d.signal(t, c.signal)
			waitFor(t, c.within, "the power is on", has(power.StateRunning))
			t.Logf("the power was on after %.1f s", time.Since(began).Seconds())
			if c.signal != syscall.SIGKILL {
				l.aborted(t, d.end(t))
				t.Logf("the command ended after %.1f s; the aim is 15 s", time.Since(began).Seconds())
			}
			l.noOutage(t, o)
			l.waitWhole(t, l.patience)
			t.Logf("whole after %.1f s", time.Since(began).Seconds())
		})
	}
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
	if j := d.end(t); j.Result != journal.Passed && !disturbed(j) {
		t.Errorf("the drill %s: %v", j.Result, j.Reasons)
	}
}
