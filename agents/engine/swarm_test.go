package engine

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
)

// A member that was let in and never said who it is counts as abandoned after a while; one that did never does.
func TestAbandonedMembers(t *testing.T) {
	now := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		host  string
		state swarm.NodeState
		age   time.Duration
		want  bool
	}{
		{name: "joining", state: swarm.NodeStateUnknown, age: joinsWithin},
		{name: "joining, by a clock that was set back", state: swarm.NodeStateUnknown, age: -time.Hour},
		{name: "gave up", state: swarm.NodeStateUnknown, age: joinsWithin + time.Second, want: true},
		{name: "ready, about to tell its name", state: swarm.NodeStateReady, age: time.Hour},
		{name: "known, of a manager that has just come back", host: "store", state: swarm.NodeStateUnknown, age: time.Hour},
		{name: "down", host: "store", state: swarm.NodeStateDown, age: time.Hour},
	} {
		n := swarm.Node{ID: "id", Status: swarm.NodeStatus{State: tt.state}}
		n.CreatedAt, n.Description.Hostname = now.Add(-tt.age), tt.host
		if got := membersOf([]swarm.Node{n}, now); len(got) != 1 || got[0].Abandoned != tt.want || got[0].ID != "id" || got[0].Hostname != tt.host {
			t.Errorf("%s: %+v, want abandoned %v", tt.name, got, tt.want)
		}
	}
}
