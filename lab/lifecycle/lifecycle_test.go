package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/nodefiles"
	"github.com/swarmlab/swarmlab/lab/host/nodefiles/nodefilestest"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// world is a host without an engine: its machines are agents in this process.
type world struct {
	t   *testing.T
	dir string
	// base is the port base of the clone.
	base string

	mu     sync.Mutex
	calls  []string
	states map[string]power.State
	agents map[string]*fleettest.Agent
	// hooks
	preflight error
	failState error
	failUp    func(nodes []string) error
	adjust    func(node string, s *agentv1.NodeSnapshot)
}

var (
	_ Host     = (*world)(nil)
	_ Machines = machines{}
)

func newWorld(t *testing.T) *world {
	t.Helper()
	clone := fleettest.Clone(t)
	w := &world{t: t, dir: clone.Dir, base: fmt.Sprint(clone.PortBase), states: map[string]power.State{}, agents: map[string]*fleettest.Agent{}}
	if err := os.RemoveAll(clone.StateDir()); err != nil { // as freshly cloned
		t.Fatal(err)
	}
	if err := nodefilestest.Make(clone); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, a := range w.agents {
			a.Stop()
		}
	})
	return w
}

func (w *world) open(env ...string) *settings.Lab {
	w.t.Helper()
	lab, err := settings.Open(w.dir, func(name string) string {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return map[string]string{settings.EnvPortBase: w.base}[name]
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return lab
}

func (w *world) lifecycle(out io.Writer, env ...string) *Lifecycle {
	return &Lifecycle{Lab: w.open(env...), Host: w, Console: console.New(out, nil), ReadyTimeout: 5 * time.Minute, Drain: 5 * time.Minute, Look: time.Minute, Answer: time.Second}
}

// up runs Up and returns what it printed.
func (w *world) up(env ...string) (string, error) {
	var out bytes.Buffer
	err := w.lifecycle(&out, env...).Up(w.t.Context())
	return out.String(), err
}

func (w *world) mustUp(env ...string) string {
	w.t.Helper()
	out, err := w.up(env...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// said returns the calls to machines and host since the last time.
func (w *world) said() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

func (w *world) note(call string, nodes ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, strings.TrimSpace(call+" "+strings.Join(nodes, " ")))
}

func (w *world) Preflight(context.Context, *settings.Lab, func(string)) (string, error) {
	return "", w.preflight
}
func (w *world) NodeImage(context.Context, *settings.Lab, func(string)) error { return nil }
func (w *world) Bundle(context.Context, *settings.Lab, func(string)) error    { return nil }
func (w *world) Machines(lab *settings.Lab, _ io.Writer) Machines             { return machines{w, lab} }

func (w *world) Sweep(context.Context, *settings.Lab, func(string)) (bool, error) {
	w.note("sweep")
	for name := range w.agents {
		w.stop(name)
	}
	found := len(w.states) > 0
	clear(w.states)
	return found, nil
}

func (w *world) stop(node string) {
	if a := w.agents[node]; a != nil {
		a.Stop()
		delete(w.agents, node)
	}
	w.states[node] = power.StateOff
}

// run starts the agent of a node with what its folder holds now.
func (w *world) run(lab *settings.Lab, node string) error {
	n, ok := lab.Topology.Node(node)
	if !ok {
		return fmt.Errorf("no node %s", node)
	}
	if old := w.agents[node]; old != nil {
		old.Stop()
	}
	hash, err := new(hasher).node(lab, node)
	if err != nil {
		return err
	}
	a, err := fleettest.StartAgent(lab, n)
	if err != nil {
		return err
	}
	a.Update(nil, func(s *agentv1.NodeSnapshot) {
		s.Agent.ProvisionHash = hash
		if w.adjust != nil {
			w.adjust(node, s)
		}
	})
	w.agents[node] = a
	w.states[node] = power.StateRunning
	return nil
}

type machines struct {
	w   *world
	lab *settings.Lab
}

func (m machines) States(context.Context) (map[string]power.State, error) {
	if m.w.failState != nil {
		return nil, m.w.failState
	}
	return maps.Clone(m.w.states), nil
}

func (m machines) Resume(_ context.Context, nodes ...string) error {
	m.w.note("resume", nodes...)
	for _, n := range nodes {
		m.w.states[n] = power.StateRunning
	}
	return nil
}

func (m machines) Up(_ context.Context, nodes ...string) error {
	m.w.note("up", nodes...)
	if m.w.failUp != nil {
		if err := m.w.failUp(nodes); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if m.w.states[n] != power.StateRunning || m.w.agents[n] == nil {
			if err := m.w.run(m.lab, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m machines) Provision(_ context.Context, nodes ...string) error {
	m.w.note("provision", nodes...)
	for _, n := range nodes {
		if err := m.w.run(m.lab, n); err != nil {
			return err
		}
	}
	return nil
}

func (m machines) Destroy(_ context.Context, nodes ...string) error {
	m.w.note("destroy", nodes...)
	for _, n := range nodes {
		if _, defined := m.lab.Topology.Node(n); !defined {
			return fmt.Errorf("vagrant: there is no machine %s", n)
		}
		m.w.stop(n)
		delete(m.w.states, n)
	}
	return nil
}

const allNodes = "manager interlock frontend01 frontend02 worker01 store"

func TestUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := fleettest.StartApp(t, w.open())
	_ = app
	out := w.mustUp()
	if diff := cmp.Diff([]string{"up " + allNodes}, w.said()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{
		"preflight", "created " + allNodes, "6 nodes at stage application", "taken by frontend01, counted in Postgres",
		"The lab swarmlab is up: 6 nodes at stage application.", "haproxy?stats", "user stats, password in .lab/secrets/stats-password",
		"bin/lab status", "vagrant ssh manager", "in all",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	// Once more: the agents vouch for everything, no machine is looked at, nobody votes.
	out = w.mustUp()
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("a second run did %v", calls)
	}
	if !strings.Contains(out, "nothing was changed") {
		t.Errorf("second run:\n%s", out)
	}

	// A node that was switched off, one that is frozen, one whose agent is gone.
	w.stop("store")
	w.states["interlock"] = power.StatePaused
	w.agents["worker01"].Stop()
	out = w.mustUp()
	if diff := cmp.Diff([]string{"resume interlock", "up store", "provision worker01"}, w.said()); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out, "started store, provisioned worker01") || !strings.Contains(out, "was cast before") {
		t.Errorf("repair:\n%s", out)
	}

	// A plugin that was built anew.
	lab := w.open()
	if err := os.WriteFile(lab.Path("bin", lab.Platform(), "role-frontend"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustUp()
	if diff := cmp.Diff([]string{"provision frontend01 frontend02"}, w.said()); diff != "" {
		t.Error(diff)
	}

	// Another stage.
	w.agents["store"].Hook(func(h *fleettest.Hooks) { h.Keeps = true })
	if out = w.mustUp("LAB_STAGE=cluster"); !strings.Contains(out, "what stands above stage cluster was left") {
		t.Errorf("lower stage:\n%s", out)
	}
	if diff := cmp.Diff([]string{"SetStage cluster"}, w.agents["store"].Calls()); diff != "" {
		t.Error(diff)
	}
	if got := w.open().Stage; got != settings.StageCluster {
		t.Errorf("stage %s is remembered", got)
	}
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("another stage did %v", calls)
	}
}

func TestUpRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.preflight = errors.New("this host does not meet the requirements: no engine")
	if _, err := w.up(); err == nil || !strings.Contains(err.Error(), "no engine") {
		t.Errorf("preflight: %v", err)
	}
	if lab := w.open(); lab.Saved != nil {
		t.Error("a refused lab was remembered")
	}
	if _, err := os.Stat(w.open().Path("pki")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused lab has keys: %v", err)
	}
	w.preflight = nil
	w.mustUp("LAB_STAGE=infrastructure")
	w.said()
	_, err := w.up("LAB_SUBNET=192.168.77.0/24", "LAB_NAME=blue")
	if err == nil || !strings.Contains(err.Error(), "LAB_NAME is blue, the lab was made with swarmlab; LAB_SUBNET is 192.168.77.0/24, the lab was made with 192.168.33.0/24") {
		t.Errorf("other settings: %v", err)
	}
	if calls := w.said(); len(calls) > 0 || w.open().Saved.Name != "swarmlab" {
		t.Errorf("other settings did %v", calls)
	}
	// Settings of a run that was cut off before it made anything bind nobody.
	for name := range w.agents {
		w.stop(name)
	}
	clear(w.states)
	if _, err := w.up("LAB_SUBNET=192.168.77.0/24", "LAB_STAGE=infrastructure"); err != nil {
		t.Errorf("no nodes: %v", err)
	}
}

func TestUpExplains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adjust = func(node string, s *agentv1.NodeSnapshot) {
		if node != "store" {
			return
		}
		s.Ready = false
		s.Pending = []*agentv1.Pending{{Step: "start pg", Reason: "no space left on device", Attempts: 3}}
		s.Containers[0].State, s.Containers[0].ExitCode = "exited", 1
		s.Role.Healthy, s.Role.Message = false, "Postgres does not answer"
	}
	l := w.lifecycle(io.Discard)
	var err error
	// The others are to have answered by then, on a busy machine too.
	for l.ReadyTimeout = 2 * time.Second; l.ReadyTimeout < 5*time.Minute; l.ReadyTimeout *= 2 {
		err = l.Up(t.Context())
		if err == nil {
			t.Fatal("no error")
		}
		if !strings.Contains(err.Error(), "has not answered yet") {
			break
		}
	}
	want := fmt.Sprintf(`the lab is not ready at stage application, nothing changed for %s:
  store: start pg: no space left on device (3 attempts)
  store: container pg is exited (exit code 1)
  store: its role is not healthy: Postgres does not answer
Look closer with`, l.ReadyTimeout)
	if !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}

	w = newWorld(t)
	w.failUp = func([]string) error { return errors.New("vagrant up: exit status 1") }
	if _, err := w.up(); err == nil || !strings.Contains(err.Error(), "the whole log is in .lab/log/up.log") {
		t.Errorf("vagrant: %v", err)
	}
	if w.open().Saved == nil {
		t.Error("what was begun is not remembered, so `make down` would not find it")
	}
}

func TestUpLeavesWhatWasDoneByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	w.agents["worker01"].Update(nil, func(s *agentv1.NodeSnapshot) {
		s.Ready, s.Containers[0].ManuallyStopped, s.Containers[0].State = false, true, "exited"
	})
	w.agents["store"].Update(nil, func(s *agentv1.NodeSnapshot) {
		s.Ready, s.Containers[0].Ownership = false, agentv1.Ownership_OWNERSHIP_DIFFERENT
		s.Containers[0].Differences = []string{"it publishes no port"}
	})
	w.said()
	out := w.mustUp()
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("did %v", calls)
	}
	for _, want := range []string{"worker01 on worker01 was stopped manually", "pg on store was started manually and left so; it differs: it publishes no port"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images", "LAB_FRONTENDS=4", "LAB_WORKERS=2")
	if _, ok := w.open().Topology.Node("frontend04"); !ok {
		t.Error("the count is not remembered")
	}
	w.said()
	w.agents["frontend03"].Retiring = []float64{12, 3, 0}
	gone := w.agents["frontend03"]

	// frontend04 is off: it is started to be drained. worker02 fails to retire at first.
	w.stop("frontend04")
	out, err := w.up("LAB_FRONTENDS=2", "LAB_WORKERS=1")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"up frontend04", "destroy frontend03 frontend04 worker02", "provision " + allNodes}
	if diff := cmp.Diff(want, w.said()); diff != "" {
		t.Error(diff)
	}
	if calls := gone.Calls(); !slices.Equal(calls, []string{"Retire"}) {
		t.Errorf("frontend03 was asked %v", calls)
	}
	if len(w.open().Topology.Nodes) != 6 {
		t.Error("the new count is not remembered")
	}
	if _, err := os.Stat(w.open().NodeDir("frontend03")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what frontend03 was given is still there: %v", err)
	}

	// Out again: the new nodes are made, the others told.
	w.mustUp("LAB_FRONTENDS=3")
	if diff := cmp.Diff([]string{"up frontend03", "provision " + allNodes}, w.said()); diff != "" {
		t.Error(diff)
	}
}

func TestScaleInKeepsWhatItCannotDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adjust = func(string, *agentv1.NodeSnapshot) {}
	w.mustUp("LAB_STAGE=images", "LAB_FRONTENDS=3")
	w.agents["frontend03"].OnRetire = func() error {
		return status.Error(codes.Unavailable, "redis03 is gone, 7 votes are queued")
	}
	w.said()
	_, err := w.up("LAB_FRONTENDS=2")
	if err == nil || !strings.Contains(err.Error(), "cannot empty a node, so it is not removed") {
		t.Errorf("got %v", err)
	}
	if calls := w.said(); len(calls) > 0 || w.open().Frontends != 3 {
		t.Errorf("did %v, %d frontends remembered", calls, w.open().Frontends)
	}
}

func TestUpInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.failUp = func([]string) error { cancel(); return ctx.Err() }
	err := w.lifecycle(io.Discard).Up(ctx)
	if err == nil || !strings.Contains(err.Error(), "interrupted; the next `make up` or `vagrant up` continues") {
		t.Errorf("got %v", err)
	}
	w.failUp = nil
	w.said()
	w.mustUp("LAB_STAGE=images")
	if diff := cmp.Diff([]string{"up " + allNodes}, w.said()); diff != "" {
		t.Error(diff)
	}
}

func TestUpTriesAgainWhenAnotherLabGetsIntoTheWay(t *testing.T) {
	t.Parallel()
	var out tail
	out.keep = 5
	_, _ = out.Write([]byte("Stderr: Error: No such object: f20596848c9f\n"))
	if !passing(out.String()) || passing("the agent does not start") {
		t.Error("wrong judgement")
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unlock, err := lock.Lab(w.open(), "lab up")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("another command works on the lab of this clone: `lab up`, process %d, since", os.Getpid())
	if _, err := w.up(); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if err := w.lifecycle(io.Discard).Down(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	unlock()
	w.mustUp("LAB_STAGE=images")
}

func TestDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images", "LAB_FRONTENDS=3")
	w.said()
	var out bytes.Buffer
	for range 2 {
		if err := w.lifecycle(&out).Down(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"sweep", "sweep"}, w.said()); diff != "" {
		t.Error(diff)
	}
	if lab := w.open(); lab.Saved != nil || lab.Frontends != 2 {
		t.Errorf("settings are still remembered: %+v", lab.Saved)
	}
	for _, line := range []string{"The lab swarmlab is gone", "Nothing of a lab of this clone is left"} {
		if strings.Count(out.String(), line) != 1 {
			t.Error(out.String())
		}
	}
	if err := w.lifecycle(&out).SetStage(t.Context(), settings.StageCluster); !errors.Is(err, ErrNoLab) {
		t.Errorf("stage without a lab: %v", err)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	kept := []string{w.open().Path("voters", "ann"), filepath.Join(w.open().LedgerDir(), "0123456789ab.ledger")}
	for _, path := range kept {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var order []string
	for name, a := range w.agents {
		a.OnReset = func(stage settings.Stage) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}
	}
	if err := w.lifecycle(io.Discard).Reset(t.Context(), settings.StageNetwork); err != nil {
		t.Fatal(err)
	}
	if len(order) != 6 || order[5] != "manager" {
		t.Errorf("order %v: the manager must come last", order)
	}
	if diff := cmp.Diff([]string{"Reset infrastructure", "SetStage network"}, w.agents["store"].Calls()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Reset network"}, w.agents["manager"].Calls()); diff != "" {
		t.Error(diff)
	}
	if got := w.open().Stage; got != settings.StageNetwork {
		t.Errorf("stage %s is remembered", got)
	}
	for _, path := range kept {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of the time before is there still: %v", path, err)
		}
	}
	w.stop("worker01")
	if err := w.lifecycle(io.Discard).Reset(t.Context(), settings.StageNetwork); err == nil || !strings.Contains(err.Error(), "worker01: nothing listens") {
		t.Errorf("with a node off: %v", err)
	}
	if calls := w.agents["store"].Calls(); len(calls) != 2 {
		t.Errorf("a reset that cannot be ready began: %v", calls)
	}
}

func TestSetStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=infrastructure")
	l := w.lifecycle(io.Discard, "LAB_FRONTENDS=2")
	if err := l.SetStage(t.Context(), settings.StageNetwork); err != nil {
		t.Fatal(err)
	}
	view := fleet.View{}
	f, err := Connect(w.open(), fleet.Observe)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if view = look(t.Context(), f); !view.Ready(settings.StageNetwork) {
		t.Error("not all nodes have the stage")
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	lab := newWorld(t).open()
	view := fleet.View{}
	hashes := map[string]string{}
	states := map[string]power.State{}
	for _, n := range lab.Topology.Nodes {
		hashes[n.Name] = "now"
		states[n.Name] = power.StateRunning
		s := &agentv1.NodeSnapshot{Agent: &agentv1.AgentStatus{ProvisionHash: "now"}, Ready: true, DesiredStage: rolev1.Stage_STAGE_APPLICATION}
		view.Nodes = append(view.Nodes, fleet.NodeView{Node: n, Snapshot: s})
	}
	if w := plan(view, states, hashes); !settled(view, hashes) || w.String() != "all there" {
		t.Errorf("a good lab wants %v", w)
	}
	states["manager"], states["store"], states["worker01"] = power.StateAbsent, power.StateOff, power.StatePaused
	view.Nodes[1].Snapshot.Agent.ProvisionHash = "then"
	view.Nodes[2].Snapshot, view.Nodes[2].Err = nil, &fleet.Error{Problem: fleet.ProblemSilent}
	w := plan(view, states, hashes)
	if got := w.String(); got != "created manager, started worker01 store, provisioned interlock frontend01" || settled(view, hashes) {
		t.Errorf("got %s", got)
	}
}

// TestHashIsTheScripts holds the hash to the one that a node computes.
func TestHashIsTheScripts(t *testing.T) {
	t.Parallel()
	repo, err := settings.FindDir(".")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	lab := w.open()
	for _, name := range []string{"b", "a", "a.b", "a-b", "a/b", "Z", "ä", "with space"} {
		path := filepath.Join(lab.Dir, "vagrant", "provision", "x", name)
		if name == "a" {
			path += "a"
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := nodefiles.Lay(lab); err != nil {
		t.Fatal(err)
	}
	for _, n := range lab.Topology.Nodes {
		out, err := exec.CommandContext(t.Context(), "sh", filepath.Join(repo, "vagrant", "provision", "hash.sh"), lab.NodeDir(n.Name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := new(hasher).node(lab, n.Name)
		if err != nil || got != strings.TrimSpace(string(out)) {
			t.Errorf("%s: %s %v, the script says %s", n.Name, got, err, out)
		}
	}
}

func TestPruneIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "index"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "index"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if err := pruneIndex(dir, "/a/.vagrant"); err != nil {
		t.Errorf("no index: %v", err)
	}
	write(`{"version":1,"machines":{"1":{"name":"store","local_data_path":"/a/.vagrant"},"2":{"name":"x","local_data_path":"/b/.vagrant"}}}`)
	if err := pruneIndex(dir, "/a/.vagrant"); err != nil {
		t.Fatal(err)
	}
	if got, want := read(), `{"machines":{"2":{"name":"x","local_data_path":"/b/.vagrant"}},"version":1}`; got != want {
		t.Errorf("got %s", got)
	}
	for _, strange := range []string{`{"version":2,"machines":[]}`, "not JSON"} {
		write(strange)
		if err := pruneIndex(dir, "/a/.vagrant"); err != nil || read() != strange {
			t.Errorf("%s became %s (%v)", strange, read(), err)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var got []string
	l := &lines{each: func(s string) { got = append(got, s) }}
	for _, p := range []string{"==> store: Boo", "ting\n\n\x1b[32mdone\x1b[0m\n", "10%\r20%\r\n", "rest"} {
		if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if diff := cmp.Diff([]string{"store: Booting", "done", "20%"}, got); diff != "" {
		t.Error(diff)
	}
	tl := &tail{keep: 2}
	_, _ = tl.Write([]byte("one\ntwo\nthr"))
	_, _ = tl.Write([]byte("ee\nfour\n"))
	if got := tl.String(); got != "  | three\n  | four" {
		t.Errorf("got %q", got)
	}
}
