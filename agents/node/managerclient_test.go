package node

import (
	"log/slog"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
)

func TestLinkFindsOutThatTheManagerDoesNotCountOnTheNode(t *testing.T) {
	const self = "self"
	list := func(state string) []*agentv1.SwarmMember {
		return []*agentv1.SwarmMember{{Id: "other", State: "ready"}, {Id: self, State: state}}
	}
	struck := []*agentv1.SwarmMember{{Id: "other", State: "ready"}}
	type look struct {
		after   time.Duration
		members []*agentv1.SwarmMember
		away    string
		state   engine.SwarmState
		joins   string // the node's id changes to this one before the look
		want    bool
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"a member in good standing", []look{{members: list("ready")}, {after: time.Hour, members: list("ready")}}},
		{"struck from the list", []look{{members: struck}, {members: struck}, {members: struck, want: true}, {members: list("ready")}}},
		{"struck from the list, then another member", []look{{members: struck}, {members: struck}, {members: struck, joins: "new"}}},
		{"a list that is not there", []look{{members: struck}, {}, {members: struck}, {members: struck}, {members: struck, want: true}}},
		{"down for good", []look{
			{members: list("ready")},
			{members: list("down")},
			{after: downPatience - 1, members: list("down")},
			{after: 1, members: list("down"), want: true},
			{after: 1, members: list("down"), want: true},
		}},
		{"never called ready", []look{
			{members: list("down")},
			{after: freshPatience - 1, members: list("down")},
			{after: 1, members: list("down"), want: true},
			{after: 1, members: list("ready")},
			{members: list("down")},
			{after: freshPatience, members: list("down")},
		}},
		{"never called ready in this life of the engine", []look{
			{members: list("ready")},
			{members: list("down"), state: engine.SwarmPending},
			{members: list("down")},
			{after: freshPatience, members: list("down"), want: true},
		}},
		{"down for a while", []look{
			{members: list("ready")},
			{members: list("down")},
			{after: downPatience - 1, members: list("ready")},
			{after: 1, members: list("down")},
			{after: downPatience - 1, members: list("down")},
		}},
		{"down, and its engine says so too", []look{
			{members: list("down"), state: engine.SwarmPending}, {after: time.Hour, members: list("down"), state: engine.SwarmPending},
		}},
		{"down, since the network is cut", []look{
			{members: list("down"), away: "no route"},
			{after: time.Hour, members: list("down"), away: "no route"},
			{after: time.Second, members: list("down")},
		}},
		{"in no swarm", []look{
			{members: struck, state: engine.SwarmInactive}, {members: struck, state: engine.SwarmInactive}, {members: struck, state: engine.SwarmInactive},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newManagerClient(nil, nil, slog.New(slog.DiscardHandler), func() {})
			l.observed(engine.Swarm{NodeID: self, State: engine.SwarmActive}, false)
			now := time.Unix(1e9, 0)
			for i, look := range c.looks {
				swarm := engine.Swarm{NodeID: self, State: engine.SwarmActive}
				if look.state != "" {
					swarm.State = look.state
				}
				if look.joins != "" {
					swarm.NodeID = look.joins
				}
				l.observed(swarm, false)
				l.known.Away = look.away
				now = now.Add(look.after)
				l.evaluate(look.members, now)
				if got := l.known.Excluded; (got != "") != look.want {
					t.Fatalf("look %d: excluded %q", i, got)
				}
			}
		})
	}
}
