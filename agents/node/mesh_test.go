package node

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/mesh"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// meshBench is a watch over container "worker01" whose time and probes the test decides on.
type meshBench struct {
	*meshWatch
	clock  time.Time
	broken bool
	probes int
	told   []string
}

func newMeshBench() *meshBench {
	b := &meshBench{clock: time.Unix(1e9, 0)}
	peer := &agentv1.NodeSnapshot{Name: "store", Containers: []*agentv1.ContainerStatus{
		{Name: "pg", State: "running", Networks: map[string]string{LabNetwork: "10.33.1.8"}, Since: timestamppb.New(b.clock)},
		{Name: "stopped", State: "exited", Networks: map[string]string{LabNetwork: "10.33.1.9"}},
		{Name: "elsewhere", State: "running", Networks: map[string]string{"bridge": "172.17.0.2"}},
		{Name: "fresh", State: "running", Networks: map[string]string{LabNetwork: "10.33.1.10"}, Since: timestamppb.New(b.clock.Add(time.Hour))},
	}}
	b.meshWatch = &meshWatch{
		known: map[string]*endpointWatch{}, now: func() time.Time { return b.clock },
		peers: func(context.Context) []*agentv1.NodeSnapshot { return []*agentv1.NodeSnapshot{peer} },
		tell:  func(_, action, _ string) { b.told = append(b.told, action) },
		probe: func(_ context.Context, pid int, targets []mesh.Target) ([]mesh.Finding, error) {
			b.probes++
			want := []mesh.Target{{Name: "pg", Node: "store", Address: netip.MustParseAddr("10.33.1.8")}}
			if pid != 42 || !slices.Equal(targets, want) {
				b.told = append(b.told, "wrong question")
			}
			finding := mesh.Finding{Target: targets[0]}
			if b.broken {
				finding.Err = mesh.ErrNoAnswer
			}
			return []mesh.Finding{finding}, nil
		},
	}
	return b
}

func (b *meshBench) look(endpoint, address string) {
	desired := reconcile.Desired{Containers: []reconcile.Container{{Spec: engine.Spec{Name: "worker01"}}}}
	b.observed(desired, map[string]engine.Container{"worker01": {
		ID: "c", State: engine.StateRunning,
		Endpoints: map[string]engine.Endpoint{LabNetwork: {EndpointID: endpoint, Address: address}},
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
	b.look("e1", "")
	if len(b.known) != 0 {
		t.Error("an endpoint without an address is nobody's to probe")
	}
}
