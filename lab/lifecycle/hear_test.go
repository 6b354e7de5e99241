package lifecycle

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// hang lets an agent answer for a snapshot only those who wait for longer than that.
func (w *world) hang(node string, longer time.Duration) {
	w.agents[node].Hook(func(h *fleettest.Hooks) {
		h.OnSnapshot = func(ctx context.Context) error {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > longer {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
	})
}

// never is longer than anybody waits.
const never = 24 * time.Hour

// ledger lays a ledger into the clone.
func (w *world) ledger() string {
	w.t.Helper()
	path := filepath.Join(w.open().LedgerDir(), "0123456789ab.ledger")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// TestUpHearsALateAgentOut: an agent that is late is asked again, and not provisioned anew.
func TestUpHearsALateAgentOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	w.said()
	w.hang("store", time.Minute) // for the quick look at the whole lab, and the one before the machines are worked on
	l := w.lifecycle(io.Discard)
	l.Look, l.Hear = 500*time.Millisecond, 5*time.Minute
	if err := l.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, call := range w.said() {
		if strings.Contains(call, "store") {
			t.Errorf("it did %q to a node that was only late", call)
		}
	}
}

// TestUpLeavesASilentAgent: of an agent that never answers it is told that nothing could be told, and nothing is done.
func TestUpLeavesASilentAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	w.said()
	w.hang("store", never)
	l := w.lifecycle(io.Discard)
	l.Hear = 100 * time.Millisecond
	// The others are to answer in time.
	var err error
	for l.Look = time.Second; l.Look < 5*time.Minute; l.Look, l.Hear = 2*l.Look, 2*l.Hear {
		if err = l.Up(t.Context()); err == nil {
			t.Fatal("it takes the lab for ready")
		}
		if !strings.Contains(err.Error(), "whether store needs") {
			continue
		}
		break
	}
	if !strings.Contains(err.Error(), "could not tell whether store needs anything: no answer from its agent within") ||
		!strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("got %v", err)
	}
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("did %v", calls)
	}
}

// TestVagrantUpHearsAStartingAgentOut: after Vagrant has started it a node may take as long to answer as a lab takes to become ready.
func TestVagrantUpHearsAStartingAgentOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const env = "LAB_STAGE=images"
	w.mustUp(env)
	w.said()
	w.states["store"] = power.StateOff
	before := w.lifecycle(io.Discard, env)
	if err := before.BeforeVagrant(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.run(w.open(env), "store"); err != nil {
		t.Fatal(err)
	}
	w.agents["store"].Hook(func(h *fleettest.Hooks) {
		h.OnSnapshot = func(ctx context.Context) error {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > 2*time.Minute {
				return nil
			}
			// As one that was asked in vain for as long as the caller had.
			return status.Error(codes.DeadlineExceeded, "it is still starting")
		}
	})
	after := w.lifecycle(io.Discard, env)
	after.Look, after.Hear, after.ReadyTimeout = time.Minute, time.Minute, time.Hour
	if err := after.AfterVagrant(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, call := range w.said() {
		if strings.Contains(call, "provision") {
			t.Errorf("it did %q to a node that was only late", call)
		}
	}
}

func TestResetLeavesASilentAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	kept := w.ledger()
	w.hang("store", never)
	l := w.lifecycle(io.Discard)
	l.Look, l.Hear = 100*time.Millisecond, 200*time.Millisecond
	err := l.Reset(t.Context(), settings.StageNetwork)
	if err == nil || !strings.Contains(err.Error(), "store: no answer in time") {
		t.Errorf("got %v", err)
	}
	for name, a := range w.agents {
		if calls := a.Calls(); len(calls) > 0 {
			t.Errorf("%s was told %v", name, calls)
		}
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// TestUnknownMachines: where it is not known which machines there are, no vote is forgotten, no machine made and none
// provisioned.
func TestUnknownMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	kept := w.ledger()
	w.said()
	w.agents["store"].Stop()
	w.failState = docker.ErrNoAnswer
	silence := func(env ...string) {
		t.Helper()
		_, err := w.up(env...)
		if !errors.Is(err, docker.ErrNoAnswer) {
			t.Errorf("got %v", err)
		}
		if calls := w.said(); len(calls) > 0 {
			t.Errorf("did %v", calls)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}
	}
	silence()
	silence("LAB_FRONTENDS=1")
	if _, err := w.up("LAB_NAME=blue"); err == nil || !strings.Contains(err.Error(), "could not tell whether the lab of this clone, made with other settings") {
		t.Errorf("other settings: %v", err)
	}
	w.failState, w.states["store"] = nil, power.StateUnknown
	if _, err := w.up(); err == nil || !strings.Contains(err.Error(), "could not tell whether the machine of store runs") {
		t.Errorf("got %v", err)
	}
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("did %v", calls)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// TestUnknownBeforeTheFirst: a lab of which it is not known whether it has machines is not begun.
func TestUnknownBeforeTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failState = docker.ErrNoAnswer
	if _, err := w.up(); !errors.Is(err, docker.ErrNoAnswer) {
		t.Errorf("got %v", err)
	}
	if w.open().Saved != nil {
		t.Error("it is remembered as one that is to be taken down")
	}
	if _, err := os.Stat(w.open().Path("pki")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has keys: %v", err)
	}
}

// TestDownDoesNotForgetUnseenContainers: a lab of virtual machines needs no engine to go, but one that does not answer may
// have containers of this clone.
func TestDownDoesNotForgetUnseenContainers(t *testing.T) {
	dir := t.TempDir()
	hung := filepath.Join(dir, "hung")
	for path, text := range map[string]string{hung: "", filepath.Join(dir, "docker"): "#!/bin/sh\nwhile [ -e " + hung + " ]; do sleep 0.1; done\n"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Remove(hung) })
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VAGRANT_HOME", dir)
	lab := fleettest.Clone(t)
	lab.Provider = "libvirt"
	lab.Saved = &lab.Settings
	record := filepath.Join(lab.Dir, ".vagrant", "machines", "store", "libvirt", "id")
	if err := os.MkdirAll(filepath.Dir(record), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	system := System{Engine: docker.Engine{Quick: 100 * time.Millisecond, Patient: 200 * time.Millisecond}}
	_, err := system.Sweep(t.Context(), lab, func(string) {})
	if !errors.Is(err, docker.ErrNoAnswer) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(record); err != nil {
		t.Error(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := system.Sweep(t.Context(), lab, func(string) {}); err != nil {
		t.Errorf("without Docker: %v", err)
	}
	if _, err := os.Stat(record); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without Docker, the machines are not forgotten: %v", err)
	}
}
