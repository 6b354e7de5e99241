package fleet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, lab *settings.Lab) *fleet.Fleet {
	t.Helper()
	f, err := fleet.Connect(lab, fleet.Operate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// patience is generous: it costs only when something is wrong.
const patience = 2 * time.Minute

func snapshot(t *testing.T, f *fleet.Fleet) fleet.View {
	t.Helper()
	return snapshotWithin(t, f, patience)
}

func snapshotWithin(t *testing.T, f *fleet.Fleet, within time.Duration) fleet.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return f.Snapshot(ctx)
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	f := connect(t, lab.Lab)
	view := snapshot(t, f)
	for _, n := range view.Nodes {
		if n.Err != nil {
			t.Error(n.Err)
		}
	}
	if !view.Ready(settings.StageApplication) || view.Ready(settings.StageCluster) || view.Reachable() != 6 {
		t.Errorf("ready %t, at another stage %t, reachable %d", view.Ready(settings.StageApplication),
			view.Ready(settings.StageCluster), view.Reachable())
	}
	votes := view.Votes()
	want := fleet.Votes{
		Captured: 20, Queued: 2, Counted: 18,
		CapturedKnown: true, QueuedKnown: true, CountedKnown: true, DeadLetteredKnown: true,
	}
	if diff := cmp.Diff(want, votes); diff != "" {
		t.Error(diff)
	}

	lab.Agents["frontend02"].Stop()
	view = snapshot(t, f)
	if view.Ready(settings.StageApplication) || view.Reachable() != 5 {
		t.Errorf("a node less: ready %t, reachable %d", view.Ready(settings.StageApplication), view.Reachable())
	}
	if v := view.Votes(); v.CapturedKnown || v.Captured != 10 {
		t.Errorf("a frontend less: %+v", v)
	}
}

// TestProblems: each way in which a node does not answer has its own words.
func TestProblems(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	node := func(name string) (address string) {
		n, _ := lab.Topology.Node(name)
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(lab.AgentPort(n)))
	}
	listen := func(name string, serve func(net.Conn)) {
		lab.Agents[name].Stop()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", node(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
	}
	// A node that is off.
	lab.Agents["manager"].Stop()
	// A port that is forwarded to a node whose agent is down: Docker's proxy takes the connection and drops it.
	listen("interlock", func(c net.Conn) { _ = c.Close() })
	// A node that is frozen.
	listen("frontend01", func(c net.Conn) { <-t.Context().Done(); _ = c.Close() })
	// Another lab's agent.
	foreign := fleettest.Clone(t)
	wrong := *foreign
	wrong.PortBase = lab.PortBase
	lab.Agents["frontend02"].Stop()
	start(t, &wrong, "frontend02")
	// Another node of this lab, at the wrong port.
	pair, err := tls.LoadX509KeyPair(lab.Path("nodes/store/pki/node.crt"), lab.Path("nodes/store/pki/node.key"))
	if err != nil {
		t.Fatal(err)
	}
	listen("worker01", func(c net.Conn) {
		defer c.Close()
		server := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
		_ = server.HandshakeContext(t.Context())
	})
	// An agent whose certificate expired.
	lab.Agents["store"].Stop()
	expire(t, lab.Lab, "store")
	start(t, lab.Lab, "store")

	f := connect(t, lab.Lab)
	// The one that hangs is waited for to the end of that time, in which all others must have said what they have to say.
	var view fleet.View
	for within := 2 * time.Second; within < patience; within *= 2 {
		view = snapshotWithin(t, f, within)
		late := slices.ContainsFunc(view.Nodes, func(n fleet.NodeView) bool {
			return n.Node.Name != "frontend01" && n.Err != nil && n.Err.Problem == fleet.ProblemHanging
		})
		if !late {
			break
		}
	}
	tests := map[string]struct {
		problem fleet.Problem
		text    string
	}{
		"manager":    {fleet.ProblemDown, "the node is not running"},
		"interlock":  {fleet.ProblemSilent, "the node is up, but its agent does not answer"},
		"frontend01": {fleet.ProblemHanging, "no answer in time"},
		"frontend02": {fleet.ProblemTrust, "not of this lab's authority"},
		"worker01":   {fleet.ProblemTrust, "another node answers"},
		"store":      {fleet.ProblemTrust, "has expired"},
	}
	for name, want := range tests {
		n, _ := view.Node(name)
		switch {
		case n.Err == nil:
			t.Errorf("%s: no error", name)
		case n.Err.Problem != want.problem || !strings.Contains(n.Err.Error(), want.text) ||
			!strings.Contains(n.Err.Error(), node(name)) || !strings.HasPrefix(n.Err.Error(), name+": "):
			t.Errorf("problem %d: %v\nwant %d: %s\ncause: %v", n.Err.Problem, n.Err, want.problem, want.text, n.Err.Unwrap())
		}
	}
}

// TestForeignClient: an agent does not let another lab's host in, and the host is told that it is its certificate.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	lab, foreign := fleettest.New(t), fleettest.Clone(t)
	for _, name := range []string{"operate.crt", "operate.key"} {
		data, err := os.ReadFile(foreign.Path("pki", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lab.Path("pki", name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// In TLS 1.3 the refusal comes after the handshake: the connection's end may overtake it, so that only one of the next
	// attempts brings the words.
	f := connect(t, lab.Lab)
	var err *fleet.Error
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(50 * time.Millisecond) {
		if err = snapshot(t, f).Nodes[0].Err; err == nil {
			t.Fatal("a foreign host was let in")
		}
		if err.Problem == fleet.ProblemTrust && strings.Contains(err.Reason, "does not accept this clone's certificate") {
			return
		}
	}
	t.Errorf("got %v", err)
}

func start(t *testing.T, lab *settings.Lab, name string) {
	t.Helper()
	n, _ := lab.Topology.Node(name)
	a, err := fleettest.StartAgent(lab, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
}

// expire gives a node a certificate whose time is over, and the lab the authority that signed it.
func expire(t *testing.T, lab *settings.Lab, name string) {
	t.Helper()
	then := time.Now().Add(-pki.LeafLifetime - 48*time.Hour)
	if err := os.RemoveAll(lab.Path("nodes", name, "pki")); err != nil {
		t.Fatal(err)
	}
	// The authority is younger than that; another one, older, takes its place for this node's certificate alone.
	other := *lab
	other.Dir = t.TempDir()
	if err := pki.Prepare(&other, then, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(lab.Path("nodes", name, "pki"), os.DirFS(other.Path("nodes", name, "pki"))); err != nil {
		t.Fatal(err)
	}
	both, err := os.ReadFile(lab.Path("pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(other.Path("pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lab.Path("pki", "ca.crt"), append(both, old...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	lab.Agents["store"].OnHeal = func() []string { return []string{"pg"} }
	lab.Agents["frontend02"].Retiring = []float64{5, 2, 0}
	lab.Agents["frontend02"].Lines = map[string][]string{"": {"one", "two", "three"}}
	lab.Agents["manager"].OnForget = func(node string) error {
		return status.Errorf(codes.FailedPrecondition, "%s is still ready", node)
	}
	f := connect(t, lab.Lab)
	ctx := t.Context()

	if err := f.SetStage(ctx, settings.StageCluster, "manager", "store"); err != nil {
		t.Error(err)
	}
	if err := f.Reset(ctx, settings.StageImages); err != nil {
		t.Error(err)
	}
	healed, err := f.Heal(ctx)
	if diff := cmp.Diff([]fleet.Healed{{Node: "store", Container: "pg"}}, healed); err != nil || diff != "" {
		t.Error(err, diff)
	}
	var queued []float64
	if err := f.Retire(ctx, "frontend02", func(_ string, n float64) { queued = append(queued, n) }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]float64{5, 2, 0}, queued); diff != "" {
		t.Error(diff)
	}
	if err := f.Forget(ctx, "frontend02"); err == nil || err.Error() != "manager: frontend02 is still ready" {
		t.Errorf("forget: %v", err)
	}
	var lines []string
	err = f.Logs(ctx, "frontend02", fleet.LogOptions{Tail: 2}, func(text string, _ bool) error {
		lines = append(lines, text)
		return nil
	})
	if diff := cmp.Diff([]string{"two", "three"}, lines); err != nil || diff != "" {
		t.Error(err, diff)
	}
	err = f.Logs(ctx, "frontend02", fleet.LogOptions{Container: "nobody"}, func(string, bool) error { return nil })
	if err == nil || err.Error() != `frontend02: no container "nobody" on this node` {
		t.Errorf("logs: %v", err)
	}
	if err := f.Retire(ctx, "frontend09", nil); err == nil || !strings.Contains(err.Error(), `no node "frontend09"`) {
		t.Errorf("retire: %v", err)
	}
	if diff := cmp.Diff([]string{"SetStage cluster", "Reset images", "Heal", "ForgetNode frontend02"}, lab.Agents["manager"].Calls()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Reset images", "Heal", "Retire"}, lab.Agents["frontend02"].Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	f := connect(t, lab.Lab)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	updates := f.Watch(ctx)
	await := func(what string, until func(fleet.Update) bool) fleet.Update {
		t.Helper()
		for u := range updates {
			if until(u) {
				return u
			}
		}
		t.Fatalf("the stream ended before %s", what)
		return fleet.Update{}
	}
	await("all nodes were seen ready", func(u fleet.Update) bool { return u.View.Ready(settings.StageApplication) })

	lab.Agents["store"].Update(&agentv1.Event{Node: "store", Subject: "pg", Action: "die"}, func(s *agentv1.NodeSnapshot) {
		s.Ready = false
	})
	u := await("the event", func(u fleet.Update) bool { return u.Event != nil })
	if u.Node != "store" || u.Event.GetAction() != "die" || u.View.Ready(settings.StageApplication) {
		t.Errorf("got %s %v", u.Node, u.Event)
	}

	lab.Agents["worker01"].Stop()
	u = await("the loss", func(u fleet.Update) bool { return u.Node == "worker01" })
	if n, _ := u.View.Node("worker01"); n.Err == nil {
		t.Error("a stopped agent's node has no error")
	}
	start(t, lab.Lab, "worker01")
	await("the return", func(u fleet.Update) bool {
		n, _ := u.View.Node("worker01")
		return n.Snapshot != nil
	})
	cancel()
	for range updates {
	}
}

func TestConnectWithoutCertificates(t *testing.T) {
	t.Parallel()
	lab := fleettest.Clone(t)
	if err := os.RemoveAll(lab.Path("pki")); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.Connect(lab, fleet.Observe); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
