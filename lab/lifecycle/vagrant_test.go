package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/power"
)

// vagrantUp does what a plain `vagrant up` of the nodes does: for it they are made or started by Vagrant, not by us.
func (w *world) vagrantUp(env []string, nodes ...string) (before, after string) {
	w.t.Helper()
	var out bytes.Buffer
	if err := w.lifecycle(&out, env...).BeforeVagrant(w.t.Context()); err != nil {
		w.t.Fatalf("before: %v\n%s", err, &out)
	}
	before = out.String()
	out.Reset()
	lab := w.open(env...)
	for _, n := range nodes {
		if w.states[n] != power.StateRunning {
			if err := w.run(lab, n); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if err := w.lifecycle(&out, env...).AfterVagrant(w.t.Context()); err != nil {
		w.t.Fatalf("after: %v\n%s", err, &out)
	}
	return before, out.String()
}

func TestVagrantUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_ = fleettest.StartApp(t, w.open())
	every := strings.Fields(allNodes)
	before, after := w.vagrantUp(nil, every...)
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("machines were touched: %v", calls)
	}
	if strings.Contains(before, "is up") || !strings.Contains(before, "bundle") {
		t.Errorf("before:\n%s", before)
	}
	for _, want := range []string{"6 nodes at stage application", "taken by frontend01", "The lab swarmlab is up: 6 nodes"} {
		if !strings.Contains(after, want) {
			t.Errorf("no %q in\n%s", want, after)
		}
	}
	if w.open().Saved == nil {
		t.Error("`make down` would not find it")
	}

	// Once more, and by the other command: nothing is to be done.
	before, after = w.vagrantUp(nil, every...)
	if strings.Contains(before, "bundle") || strings.Contains(before, "is up") || !strings.Contains(after, "The lab swarmlab is up: 6 nodes") {
		t.Errorf("second run:\n%s%s", before, after)
	}
	// What Vagrant did is not known: with a node that it has started the lab may be ready at once.
	if strings.Contains(after, "nothing was changed") {
		t.Errorf("second run:\n%s", after)
	}
	if out := w.mustUp(); !strings.Contains(out, "nothing was changed") {
		t.Errorf("`lab up` after `vagrant up`:\n%s", out)
	}

	// All destroyed by `vagrant destroy`: the new store has counted nothing, so it is voted again.
	for _, n := range every {
		w.stop(n)
	}
	clear(w.states)
	if _, after = w.vagrantUp(nil, every...); !strings.Contains(after, "taken by frontend01") {
		t.Errorf("after a destroy:\n%s", after)
	}

	// A node that runs with what was built yesterday: Vagrant does not see that it is.
	lab := w.open()
	if err := os.WriteFile(lab.Path("bin", lab.Platform(), "role-store"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.vagrantUp(nil, every...)
	if diff := cmp.Diff([]string{"provision store"}, w.said()); diff != "" {
		t.Error(diff)
	}

	// A paused container would be waited for in vain.
	w.states["worker01"] = power.StatePaused
	w.agents["worker01"].Stop()
	delete(w.agents, "worker01")
	w.vagrantUp(nil, every...)
	if diff := cmp.Diff([]string{"resume worker01", "provision worker01"}, w.said()); diff != "" {
		t.Error(diff)
	}
}

// A lab of which other nodes are down is not waited for.
func TestVagrantUpOfOneNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, after := w.vagrantUp(nil, "manager")
	if !strings.Contains(after, "1 of 6 nodes are up; `vagrant up` brings up the others too: interlock frontend01") ||
		strings.Contains(after, "The lab swarmlab is up") {
		t.Errorf("after:\n%s", after)
	}
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("machines were touched: %v", calls)
	}
	w.mustUp("LAB_STAGE=images")
	if diff := cmp.Diff([]string{"up interlock frontend01 frontend02 worker01 store"}, w.said()[:1]); diff != "" {
		t.Error(diff)
	}
}

func TestVagrantUpRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.preflight = errors.New("this host does not meet the requirements: no engine")
	if err := w.lifecycle(io.Discard).BeforeVagrant(t.Context()); err == nil || !strings.Contains(err.Error(), "no engine") {
		t.Errorf("preflight: %v", err)
	}
	w.preflight = nil
	lab := w.open()
	if err := os.Remove(lab.Path("bin", lab.Platform(), "labagent")); err != nil {
		t.Fatal(err)
	}
	if err := w.lifecycle(io.Discard).BeforeVagrant(t.Context()); err == nil || !strings.Contains(err.Error(), "labagent") {
		t.Errorf("not built: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.lifecycle(io.Discard).BeforeVagrant(ctx); err == nil || !strings.Contains(err.Error(), "interrupted; the next") {
		t.Errorf("interrupted: %v", err)
	}
}

// A frontend that goes is drained also when Vagrant was called manually.
func TestVagrantUpScalesIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images", "LAB_FRONTENDS=3")
	w.said()
	gone := w.agents["frontend03"]
	w.vagrantUp([]string{"LAB_FRONTENDS=2"}, strings.Fields(allNodes)...)
	if diff := cmp.Diff([]string{"destroy frontend03", "provision " + allNodes}, w.said()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Retire"}, gone.Calls()); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(w.dir, ".lab", "nodes", "frontend03")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what it was given is still there: %v", err)
	}
}
