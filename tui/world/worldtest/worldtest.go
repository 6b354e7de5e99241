// Package worldtest makes moments of a lab for tests of what is drawn.
package worldtest

import (
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/watch"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Now is the moment of all worlds here.
var Now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Names of the moments.
func Names() []string { return []string{"healthy", "degraded", "fault", "disconnected"} }

// Of makes a moment by its name.
func Of(name string) world.Model {
	w := healthy()
	switch name {
	case "degraded":
		w.View.Nodes[2].Snapshot.Ready = false
		w.View.Nodes[2].Snapshot.Containers[0].State = "restarting"
		w.Servers["frontend01"] = false
		w.Queues[0].Err = fmt.Errorf("redis01: no answer")
	case "fault":
		frontend := w.View.Nodes[2].Snapshot
		frontend.Ready, frontend.Containers[0].State = false, "exited"
		frontend.Containers[0].Since = timestamppb.New(Now.Add(-7 * time.Second))
		frontend.Faults = []*agentv1.Fault{{Id: "1", Kind: "stop", Container: "redis01", Holder: "somebody@here", Left: durationpb.New(23 * time.Second)}}
		w.Servers["frontend01"] = false
		away(&w, 5, "nothing listens at its port; is the node running?")
		w.PowerFaults = []powerfault.Fault{{ID: "2", Kind: powerfault.PowerOff, Node: "store", Deadline: Now.Add(12 * time.Second), Phase: powerfault.InForce}}
		w.Results = 0
		w.Events = append(w.Events,
			world.Event{At: Now.Add(-7 * time.Second), Node: "frontend01", Subject: "redis01", Action: "die", Message: "exit code 0"},
			world.Event{At: Now.Add(-5 * time.Second), Node: "store", Subject: "agent", Action: "unreachable", Message: "nothing listens at its port"},
		)
	case "disconnected":
		for i := range w.View.Nodes {
			away(&w, i, "nothing listens at its port; is the node running?")
		}
		w.Servers, w.Queues, w.Voting, w.Results = nil, nil, 0, 0
		w.TallyAt = Now.Add(-42 * time.Second)
		for i := len(w.Samples) - 42; i < len(w.Samples); i++ {
			w.Samples[i] = watch.Unknown()
		}
	}
	return w
}

func away(w *world.Model, node int, why string) {
	n := &w.View.Nodes[node]
	n.Snapshot, n.Err = nil, &fleet.Error{Node: n.Node.Name, Problem: fleet.ProblemDown, Reason: why}
	w.Silent[n.Node.Name] = Now.Add(-42 * time.Second)
}

func healthy() world.Model {
	w := world.Model{
		Lab: "swarmlab", Stage: settings.StageApplication, Silent: map[string]time.Time{}, Voting: 200, Results: 200,
		Tally: client.Tally{A: 4012, B: 3888, Total: 7900}, TallyAt: Now.Add(-time.Second),
		Servers: map[string]bool{"frontend01": true, "frontend02": true},
		Queues:  []datastore.Queue{{Node: "frontend01", Waiting: 12, Left: 4000}, {Node: "frontend02", Waiting: 9, Left: 3900}},
	}
	for i, n := range []struct {
		name, role string
		ordinal    int
		containers []string
	}{
		{"manager", topology.RoleManager, 1, []string{"consul"}},
		{"interlock", topology.RoleInterlock, 1, []string{"interlock"}},
		{"frontend01", topology.RoleFrontend, 1, []string{"redis01", "frontend01"}},
		{"frontend02", topology.RoleFrontend, 2, []string{"redis02", "frontend02"}},
		{"worker01", topology.RoleWorker, 1, []string{"worker01"}},
		{"store", topology.RoleStore, 1, []string{"pg", "results-app"}},
	} {
		node := topology.Node{Name: n.name, Role: n.role, Ordinal: n.ordinal, Address: netip.AddrFrom4([4]byte{192, 168, 33, byte(11 + i)})}
		snap := &agentv1.NodeSnapshot{
			Name: n.name, Ready: true, DesiredStage: rolev1.Stage(settings.StageApplication), TakenAt: timestamppb.New(Now), Engine: &agentv1.EngineStatus{Up: true},
		}
		for _, c := range n.containers {
			snap.Containers = append(snap.Containers, &agentv1.ContainerStatus{Name: c, State: "running", Pid: 7, Since: timestamppb.New(Now.Add(-time.Hour))})
		}
		w.View.Nodes = append(w.View.Nodes, fleet.NodeView{Node: node, Snapshot: snap})
	}
	for i := range 90 {
		rate := 140 + float64(i%7)
		w.Samples = append(w.Samples, watch.Rates{
			At: Now.Add(time.Duration(i-90) * time.Second), Captured: rate, Counted: rate - 3,
			Queued: map[string]int64{"frontend01": int64(5 + i%9), "frontend02": int64(3 + i%5)},
		})
	}
	for i := range 4 {
		w.Events = append(w.Events, world.Event{
			At: Now.Add(time.Duration(i-40) * time.Second), Node: "worker01", Subject: "worker01", Action: "start", Message: fmt.Sprintf("number %d", i),
		})
	}
	return w
}
