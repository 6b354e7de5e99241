package node

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/overlayprobe"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// meshBench is a watch over container "worker01" whose time and probes the test decides on.
type meshBench struct {
	*overlayMonitor
	clock  time.Time
	broken bool
	probes int
	told   []string
	peer   *agentv1.NodeSnapshot
	asked  int
}

func newMeshBench() *meshBench {
	b := &meshBench{clock: time.Unix(1e9, 0)}
	b.peer = &agentv1.NodeSnapshot{Name: "store", Containers: []*agentv1.ContainerStatus{
		{Name: "pg", State: "running", Networks: map[string]string{contract.Network: "10.33.1.8"}, Since: timestamppb.New(b.clock)},
		{Name: "stopped", State: "exited", Networks: map[string]string{contract.Network: "10.33.1.9"}},
		{Name: "elsewhere", State: "running", Networks: map[string]string{"bridge": "172.17.0.2"}},
		{Name: "fresh", State: "running", Networks: map[string]string{contract.Network: "10.33.1.10"}, Since: timestamppb.New(b.clock.Add(time.Hour))},
	}}
	b.overlayMonitor = &overlayMonitor{
		self: "worker01", known: map[string]*endpointWatch{}, now: func() time.Time { return b.clock },
		peers: func(context.Context) []*agentv1.NodeSnapshot {
			b.asked++
			return []*agentv1.NodeSnapshot{b.peer}
		},
		notify: func(_, action, _ string) { b.told = append(b.told, action) },
		probe: func(_ context.Context, pid int, targets []overlayprobe.Target) ([]overlayprobe.Finding, error) {
			b.probes++
			want := []overlayprobe.Target{{Name: "pg", Node: "store", Address: netip.MustParseAddr("10.33.1.8")}}
			if pid != 42 || !slices.Equal(targets, want) {
				b.told = append(b.told, "wrong question")
			}
			finding := overlayprobe.Finding{Target: targets[0]}
			if b.broken {
				finding.Err = overlayprobe.ErrNoAnswer
			}
			return []overlayprobe.Finding{finding}, nil
		},
	}
	return b
}

func (b *meshBench) look(endpoint, address string) {
	desired := reconcile.Desired{Containers: []reconcile.Container{{Spec: engine.Spec{Name: "worker01"}}}}
	b.observed(desired, map[string]engine.Container{"worker01": {
		ID: "c", State: engine.StateRunning, StartedAt: time.Unix(1e9, 0),
		Endpoints: map[string]engine.Endpoint{contract.Network: {EndpointID: endpoint, Address: address}},
	}})
}

func (b *meshBench) pass(ctx context.Context, d time.Duration) {
	for end := b.clock.Add(d); b.clock.Before(end); b.clock = b.clock.Add(meshInterval) {
		b.round(ctx, map[string]int{"worker01": 42})
	}
}

func TestMeshProbesOnce(t *testing.T) {
	b := newMeshBench()
	b.look("e1", "10.33.1.4")
	b.pass(t.Context(), time.Hour)
	if b.probes != 1 || !slices.Equal(b.told, []string{"reaches-peers"}) || len(b.stale()) != 0 {
		t.Errorf("%d probes, told %v, stale %v", b.probes, b.told, b.stale())
	}
	b.look("e1", "10.33.1.4")
	b.pass(t.Context(), time.Minute)
	if b.probes != 1 {
		t.Error("probed an endpoint again that had reached everybody")
	}
	b.look("e2", "10.33.1.5")
	b.pass(t.Context(), time.Minute)
	if b.probes != 2 {
		t.Error("a new endpoint was not probed")
	}
}

func TestMeshFindsStaleEndpoints(t *testing.T) {
	b := newMeshBench()
	b.broken = true
	b.look("e0", "10.33.1.4")
	for repair := range meshRepairs {
		b.pass(t.Context(), 20*time.Second)
		if b.stale()["worker01"] == "" {
			t.Fatalf("not stale before repair %d; told %v", repair, b.told)
		}
		b.look(string(rune('a'+repair)), "10.33.1.5") // made anew
		if len(b.stale()) != 0 {
			t.Fatal("a new endpoint inherits the evidence against the former")
		}
	}
	b.pass(t.Context(), time.Hour)
	if len(b.stale()) != 0 || b.told[len(b.told)-1] != "cut-off" {
		t.Errorf("repairs without end; told %v", b.told)
	}
}

func TestMeshForgives(t *testing.T) {
	b := newMeshBench()
	b.broken = true
	b.look("e1", "10.33.1.4")
	b.pass(t.Context(), 3*meshInterval) // two probes
	b.broken = false
	b.pass(t.Context(), time.Minute)
	if len(b.stale()) != 0 || !slices.Equal(b.told, []string{"reaches-peers"}) {
		t.Errorf("stale %v, told %v", b.stale(), b.told)
	}
}

// A partition of a lab that runs is not mended by new endpoints: nobody even looks.
func TestMeshLooksOnlyAfterAComingBack(t *testing.T) {
	b := newMeshBench()
	b.look("e1", "10.33.1.4")
	b.clock = b.clock.Add(meshWindow)
	b.broken = true
	b.pass(t.Context(), time.Hour)
	if b.probes != 0 {
		t.Errorf("%d probes", b.probes)
	}
	if limit := int(time.Hour/addressInterval) + 1; b.asked > limit {
		t.Errorf("asked the peers %d times in an hour at rest, want at most %d", b.asked, limit)
	}
	b.look("e1", "")
	if len(b.known) != 0 {
		t.Error("an endpoint without an address is nobody's to probe")
	}
}

func TestMeshFindsSharedAddresses(t *testing.T) {
	t.Run("the later gives way, the earlier does not", func(t *testing.T) {
		for _, c := range []struct {
			name  string
			since time.Duration // of pg after worker01
			node  string        // pg's
			gives bool
		}{
			{"started before", -time.Second, "store", true},
			{"started after", time.Second, "store", false},
			{"started with it, on the greater node", 0, "zoo", false},
			{"started with it, on the lesser node", 0, "store", true},
		} {
			t.Run(c.name, func(t *testing.T) {
				b := newMeshBench()
				b.look("e1", "10.33.1.4")
				b.pass(t.Context(), time.Minute) // it reaches everybody: no probe tells
				b.peer.Name = c.node
				b.peer.Containers[0].Networks[contract.Network] = "10.33.1.4"
				b.peer.Containers[0].Since = timestamppb.New(time.Unix(1e9, 0).Add(c.since))
				b.pass(t.Context(), 2*addressInterval)
				if got := b.stale()["worker01"]; (got != "") != c.gives {
					t.Fatalf("evidence %q", got)
				}
				if !c.gives {
					return
				}
				b.look("e2", "10.33.1.6")
				if len(b.stale()) != 0 {
					t.Error("a new endpoint inherits the evidence against the former")
				}
			})
		}
	})
	t.Run("a probe that succeeds does not refute it", func(t *testing.T) {
		b := newMeshBench()
		b.look("e1", "10.33.1.8")
		b.peer.Containers[0].Since = timestamppb.New(time.Unix(1e9, 0).Add(-time.Second))
		b.pass(t.Context(), time.Minute)
		if b.stale()["worker01"] == "" || b.probes == 0 {
			t.Errorf("%d probes, told %v", b.probes, b.told)
		}
	})
	t.Run("a probe that fails as well makes no second repair of it", func(t *testing.T) {
		b := newMeshBench()
		b.broken = true
		b.look("e1", "10.33.1.8")
		b.peer.Containers[0].Since = timestamppb.New(time.Unix(1e9, 0).Add(-time.Second))
		b.pass(t.Context(), time.Minute)
		if !slices.Equal(b.told, []string{"stale"}) || b.probes < meshStrikes {
			t.Errorf("%d probes, told %v", b.probes, b.told)
		}
	})
	t.Run("what does not run has no claim", func(t *testing.T) {
		b := newMeshBench()
		b.look("e1", "10.33.1.9")
		b.pass(t.Context(), time.Hour)
		if len(b.stale()) != 0 {
			t.Errorf("stale %v", b.stale())
		}
	})
	t.Run("given up after some repairs", func(t *testing.T) {
		b := newMeshBench()
		b.peer.Containers[0].Since = timestamppb.New(time.Unix(1e9, 0).Add(-time.Second))
		for repair := range meshRepairs + 1 {
			b.look(string(rune('a'+repair)), "10.33.1.8")
			b.pass(t.Context(), 2*time.Minute)
		}
		b.pass(t.Context(), time.Hour)
		cutOff := 0
		for _, action := range b.told {
			if action == "cut-off" {
				cutOff++
			}
		}
		if len(b.stale()) != 0 || cutOff != 1 {
			t.Errorf("stale %v, told %v", b.stale(), b.told)
		}
	})
}
