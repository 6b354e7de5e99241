//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// labCommand runs bin/lab in the clone, with variables of its own.
func (l *lab) labCommand(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), l.Dir+"/bin/lab", args...)
	cmd.Dir = l.Dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s lab %s: %v\n%s", strings.Join(env, " "), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The lab grows by a frontend and shrinks again, under votes, without losing one.
func TestScalingLosesNoVote(t *testing.T) {
	l := open(t)
	l.scale(t, l.Frontends+1, l.Workers)
}

// scale lets the lab grow to so many frontends and workers, and shrink to what it was.
func (l *lab) scale(t *testing.T, moreFrontends, moreWorkers int) {
	t.Helper()
	// A lab fresh from a reset is given its first vote by the next up: have that behind us before counting.
	l.labCommand(t, nil, "up")
	frontends, workers := l.Frontends, l.Workers
	votes := l.tryOut(t, newSeed(t), 0)
	start := time.Now()
	l.labCommand(t, counts(moreFrontends, moreWorkers), "up")
	t.Logf("%d frontends and %d workers after %.1f s", moreFrontends, moreWorkers, time.Since(start).Seconds())
	grown := connect(t)
	grown.waitReady(t)
	if f, w := len(grown.nodesOf("frontend")), len(grown.nodesOf("worker")); f != moreFrontends || w != moreWorkers {
		t.Fatalf("the lab has %d frontends and %d workers, want %d and %d", f, w, moreFrontends, moreWorkers)
	}
	waitFor(t, l.patience, "every frontend takes votes", func(context.Context) error {
		if n := votes.book.servers(); n < moreFrontends {
			return fmt.Errorf("only %d did", n)
		}
		return nil
	})

	start = time.Now()
	l.labCommand(t, counts(frontends, workers), "up")
	t.Logf("%d and %d again after %.1f s", frontends, workers, time.Since(start).Seconds())
	l = connect(t)
	l.waitReady(t)
	votes.pass(t, l)
	members := strings.Fields(l.mustOnNode(t, "manager", "docker", "node", "ls", "--format", "{{.Hostname}}"))
	if want := len(l.Topology.Nodes) - 1; len(members) != want {
		t.Errorf("the swarm has the members %v, want %d", members, want)
	}
	out, err := host(t.Context(), "docker", "ps", "-a", "--filter", "label=swarmlab.lab="+l.Name, "--format", "{{.Names}}")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(strings.Fields(out)); got != len(l.Topology.Nodes) {
		t.Errorf("%d node containers are left, want %d:\n%s", got, len(l.Topology.Nodes), out)
	}
}

// counts are the variables that say how many frontends and workers a lab has.
func counts(frontends, workers int) []string {
	return []string{fmt.Sprint("LAB_FRONTENDS=", frontends), fmt.Sprint("LAB_WORKERS=", workers)}
}

// A second up changes nothing on a lab that is ready, and repairs one that is not.
func TestUpAgainRepairs(t *testing.T) {
	l := open(t)
	running := func() string {
		var all []string
		for _, p := range l.places() {
			all = append(all, l.mustOnNode(t, p.node, "docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", p.container))
		}
		return strings.Join(all, "\n")
	}
	before := running()
	l.labCommand(t, nil, "up")
	if after := running(); after != before {
		t.Errorf("up on a whole lab changed containers:\n%s\nbefore:\n%s", after, before)
	}
	l.kill(t, "worker01")
	l.mustOnNode(t, "store", "docker", "rm", "-f", "results-app")
	l.labCommand(t, nil, "up")
	l.waitReady(t)
}

// A plain `vagrant up` repairs like `lab up` does, and makes nothing anew.
func TestVagrantUpAloneRepairs(t *testing.T) {
	l := open(t)
	made := func() string {
		// An agent that was not provisioned anew runs since.
		all := []string{l.mustOnNode(t, "store", "systemctl", "show", "--property", "ActiveEnterTimestamp", "labagent")}
		for _, path := range []string{l.Path("bundle", l.Platform(), "redis.tar"), l.Path("nodes", "store", "pki", "node.crt")} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, path+" "+info.ModTime().String())
		}
		return strings.Join(all, "\n")
	}
	before := made()
	l.kill(t, "worker01")
	vagrant := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "vagrant", args...)
		cmd.Dir = l.Dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("vagrant %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	vagrant("halt", "frontend02")
	if out := vagrant("up", "worker01"); !strings.Contains(out, "brings up the others too: frontend02") {
		t.Errorf("vagrant up of one node:\n%s", out)
	}
	if out := vagrant("up"); !strings.Contains(out, "The lab "+l.Name+" is up") {
		t.Errorf("vagrant up:\n%s", out)
	}
	// Ready when the command ends, not some time later.
	if view := l.fleet.Snapshot(t.Context()); !view.Ready(l.Stage) {
		t.Errorf("not ready: %+v", view)
	}
	if after := made(); after != before {
		t.Errorf("made anew:\n%s\nbefore:\n%s", after, before)
	}
}
