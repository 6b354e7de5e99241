package node

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/fault"
)

func (f *fakeHost) Stop(context.Context, ...string) error {
	f.set(true)
	f.engine.Shutdown(nil)
	return nil
}

func (f *fakeHost) Start(context.Context, ...string) error {
	f.mu.Lock()
	down := f.stopping
	f.mu.Unlock()
	if down {
		f.engine.Boot()
		f.set(false)
	}
	return nil
}

func (f *fakeHost) Kill(ctx context.Context, _ string) error { return f.Stop(ctx) }

func (f *fakeHost) MainPID(context.Context, string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		return 0, nil
	}
	return 7, nil
}

// ableLinks are those of a kernel that can do every fault.
type ableLinks struct{ fault.Links }

func (ableLinks) Can(context.Context, fault.Spec) error { return nil }

func (f *fakeHost) Block(_ context.Context, name string, peers []netip.Addr, _ uint16) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts[name] = int64(len(peers))
	return nil
}

func (f *fakeHost) Unblock(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.cuts, name)
	return nil
}

func (f *fakeHost) Try(context.Context, netip.Addr) error { return nil }

func (f *fakeHost) Dropped(_ context.Context, name string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dropped, ok := f.cuts[name]; ok {
		return dropped, nil
	}
	return -1, nil
}

func (f *fakeHost) Blocked(context.Context) ([]string, error) { return nil, nil }

func (b *bench) inject(kind, container string, lease time.Duration, peers ...string) *agentv1.Fault {
	b.t.Helper()
	f, err := b.node.Inject(b.t.Context(), &agentv1.InjectRequest{
		Kind: kind, Container: container, Peers: peers, Lease: durationpb.New(lease), Holder: "me",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// A fault in force overrides the plan, also with the next agent, and is not taken for a manual stop; its end brings the container back.
func TestAFaultHoldsItsContainer(t *testing.T) {
	for _, kind := range []string{"stop", "pause", "remove"} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			b.ready()
			f := b.inject(kind, "web", time.Minute)
			held := func(s *agentv1.NodeSnapshot) bool {
				c := find(s, "web")
				return !s.GetReady() && c.GetState() != "running" && !c.GetManuallyStopped() && len(s.GetFaults()) == 1 &&
					s.GetFaults()[0].GetId() == f.GetId() && slices.ContainsFunc(s.GetPending(), func(p *agentv1.Pending) bool {
					return strings.Contains(p.GetReason(), "the fault "+kind+" web, injected by me, is in force")
				})
			}
			b.until("it is held", held)
			b.restart()
			b.until("the next agent holds it", held)
			out, err := b.node.Heal(t.Context(), []string{f.GetId()})
			if err != nil || len(out.GetEnded()) != 1 || len(out.GetHealed()) != 0 {
				t.Errorf("healed %v, %v", out, err)
			}
			if s := b.ready(); len(s.GetFaults()) != 0 {
				t.Errorf("faults %v", s.GetFaults())
			}
		})
	}
}

func TestAFaultEndsByItself(t *testing.T) {
	for _, kind := range []string{"stop", "kill", "engine-stop", "partition"} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t, quickVerdict)
			before := find(b.ready(), "web").GetPid()
			container, peers := "web", []string(nil)
			switch kind {
			case "engine-stop":
				container = ""
			case "partition":
				container, peers = "", []string{"frontend02"}
			}
			if f := b.inject(kind, container, time.Second, peers...); f.GetEvidence() == "" {
				t.Error("no evidence")
			}
			b.until("it is over", func(s *agentv1.NodeSnapshot) bool {
				wasDown := find(s, "web").GetPid() != before
				return s.GetReady() && len(s.GetFaults()) == 0 && wasDown == (kind != "partition")
			})
		})
	}
}

// The clock of a node that has its host's is that of a container that goes by the offset, and of no other.
func TestTheClockIsAContainers(t *testing.T) {
	b := newBench(t)
	container := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, _ := os.ReadFile(filepath.Join(b.dir, "state", "clock", "offset"))
		off, _ := time.ParseDuration(strings.TrimSpace(string(text)))
		fmt.Fprintln(w, time.Now().Add(off).Format(time.RFC3339Nano))
	}))
	t.Cleanup(container.Close)
	skew := func() (*agentv1.Fault, error) {
		return b.node.Inject(t.Context(), &agentv1.InjectRequest{
			Kind: "skew", Skew: durationpb.New(-5 * time.Second), Lease: durationpb.New(time.Minute), Holder: "me",
		})
	}
	b.ready()
	if _, err := skew(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "its host's") {
		t.Errorf("no container goes by it: %v", err)
	}
	before := b.id("web")
	b.role.set(func(f *fakeRole) {
		f.mounts = []*rolev1.Mount{{Source: &rolev1.Mount_ClockOffset{ClockOffset: &rolev1.ClockOffset{Url: container.URL}}, Target: "/run/clock"}}
	})
	b.until("web goes by it", func(s *agentv1.NodeSnapshot) bool { return s.GetReady() && find(s, "web").GetId() != before })
	f, err := skew()
	if err != nil || f.GetSkew().AsDuration() != -5*time.Second || !strings.Contains(f.GetEvidence(), "off by") {
		t.Fatalf("%v, %v", f, err)
	}
	b.restart()
	b.until("the next agent has it", func(s *agentv1.NodeSnapshot) bool { return len(s.GetFaults()) == 1 && s.GetReady() })
	if out, err := b.node.Heal(t.Context(), []string{f.GetId()}); err != nil || len(out.GetEnded()) != 1 {
		t.Errorf("healed %v, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "state", "clock", "offset")); !os.IsNotExist(err) {
		t.Errorf("the offset is left: %v", err)
	}
}

func TestResetEndsFaults(t *testing.T) {
	b := newBench(t, quickVerdict)
	s := b.ready()
	b.inject("engine-stop", "", time.Minute)
	if _, err := b.node.Reset(t.Context(), s.GetDesiredStage()); err != nil {
		t.Fatal(err)
	}
	if s := b.ready(); len(s.GetFaults()) != 0 {
		t.Errorf("faults %v", s.GetFaults())
	}
}

func TestBadFaults(t *testing.T) {
	b := newBench(t)
	b.ready()
	good := func() *agentv1.InjectRequest {
		return &agentv1.InjectRequest{Kind: "stop", Container: "web", Lease: durationpb.New(time.Minute), Holder: "me"}
	}
	for name, c := range map[string]struct {
		change func(*agentv1.InjectRequest)
		code   codes.Code
		text   string
	}{
		"no kind":         {func(r *agentv1.InjectRequest) { r.Kind = "" }, codes.InvalidArgument, "no fault"},
		"no container":    {func(r *agentv1.InjectRequest) { r.Container = "" }, codes.InvalidArgument, "None is named"},
		"a stranger":      {func(r *agentv1.InjectRequest) { r.Container = "nobody" }, codes.InvalidArgument, "nobody is no container of"},
		"no lease":        {func(r *agentv1.InjectRequest) { r.Lease = nil }, codes.InvalidArgument, "lease"},
		"a day":           {func(r *agentv1.InjectRequest) { r.Lease = durationpb.New(24 * time.Hour) }, codes.InvalidArgument, "lease"},
		"no holder":       {func(r *agentv1.InjectRequest) { r.Holder = "" }, codes.InvalidArgument, "who"},
		"a long holder":   {func(r *agentv1.InjectRequest) { r.Holder = strings.Repeat("x", 65) }, codes.InvalidArgument, "64"},
		"a holder's bell": {func(r *agentv1.InjectRequest) { r.Holder = "me\a" }, codes.InvalidArgument, "shown"},
		"no loss":         {func(r *agentv1.InjectRequest) { r.Kind = "loss" }, codes.InvalidArgument, "a loss of 0 %"},
		"a skew of a container": {
			func(r *agentv1.InjectRequest) { r.Kind, r.Skew = "skew", durationpb.New(time.Minute) },
			codes.InvalidArgument, "skew is not of a container",
		},
		"another's strength": {
			func(r *agentv1.InjectRequest) { r.Rate = 1 << 20 },
			codes.InvalidArgument, "stop knows no rate",
		},
		"from itself": {
			func(r *agentv1.InjectRequest) { r.Kind, r.Container, r.Peers = "partition", "", []string{"manager"} },
			codes.InvalidArgument, "itself",
		},
		"from nowhere": {
			func(r *agentv1.InjectRequest) { r.Kind, r.Container, r.Peers = "partition", "", []string{"moon"} },
			codes.InvalidArgument, "no node moon",
		},
	} {
		r := good()
		c.change(r)
		if _, err := b.node.Inject(t.Context(), r); status.Code(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %s with %q", name, err, c.code, c.text)
		}
	}
	if _, err := b.node.Renew(t.Context(), "01234567", time.Minute); status.Code(err) != codes.NotFound {
		t.Errorf("renewed what is not: %v", err)
	}
	if s := b.ready(); len(s.GetFaults()) != 0 {
		t.Errorf("faults %v", s.GetFaults())
	}
	b.inject("stop", "web", time.Minute)
	if _, err := b.node.Inject(t.Context(), good()); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a second fault: %v", err)
	}
}
