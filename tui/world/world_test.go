package world_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/census"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/tui/world"
	"github.com/swarmlab/swarmlab/tui/world/worldtest"
)

// A node that falls silent is so since then, however often it is said, until it answers.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := worldtest.Of("healthy")
	events := len(w.Events)
	silent := worldtest.Of("disconnected").View
	now := worldtest.Now
	for range 3 {
		w = w.Updated(fleet.Update{Node: "store", View: silent}, now)
		now = now.Add(time.Second)
	}
	if since := w.Silent["store"]; !since.Equal(worldtest.Now) {
		t.Errorf("silent since %s", since)
	}
	before := w
	w = w.Updated(fleet.Update{Node: "store", View: worldtest.Of("healthy").View}, now)
	if _, still := w.Silent["store"]; still {
		t.Error("it answers, and is silent")
	}
	if _, was := before.Silent["store"]; !was {
		t.Error("what was handed out has changed")
	}
	var told []string
	for _, e := range w.Events[events:] {
		told = append(told, e.Action)
	}
	if len(told) != 2 || told[0] != "unreachable" || told[1] != "reachable" {
		t.Error(told)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := worldtest.Of("healthy")
	before := len(w.Events)
	event := func(subject, action string) fleet.Update {
		return fleet.Update{Node: "store", View: w.View, Event: &agentv1.Event{At: timestamppb.New(worldtest.Now), Subject: subject, Action: action}}
	}
	w = w.Updated(event("role", "measured"), worldtest.Now)
	if len(w.Events) != before {
		t.Error("that a queue has another length is no event")
	}
	for range 1500 {
		w = w.Updated(event("pg", "die"), worldtest.Now)
	}
	if n := len(w.Events); n != 1000 {
		t.Errorf("%d events are kept", n)
	}
}

// Rates are what left and came in between two looks; a queue that does not tell counts with neither.
func TestRates(t *testing.T) {
	t.Parallel()
	w := worldtest.Of("healthy")
	w.Samples = nil
	queues := func(waiting, left int64) []census.Queue {
		return []census.Queue{{Node: "frontend01", Waiting: waiting, Left: left}, {Node: "frontend02", Err: errors.New("no answer")}}
	}
	now := worldtest.Now
	w = w.Counted(queues(10, 100), now)
	if s := w.Now(); s.Captured != -1 || s.Counted != -1 || s.Queued["frontend01"] != 10 {
		t.Errorf("a first look tells no rate: %+v", s)
	}
	if w = w.Counted(queues(20, 150), now.Add(500*time.Millisecond)); len(w.Samples) != 1 {
		t.Errorf("%d samples within a second", len(w.Samples))
	}
	w = w.Counted(queues(30, 200), now.Add(2*time.Second))
	if s := w.Now(); s.Captured != 60 || s.Counted != 50 || s.Queued["frontend01"] != 30 || len(s.Queued) != 1 {
		t.Errorf("%+v", s)
	}
	// A queue that was made anew counts from nothing.
	w = w.Counted(queues(0, 0), now.Add(4*time.Second))
	if s := w.Now(); s.Captured != 0 || s.Counted != 0 {
		t.Errorf("%+v", s)
	}
	if got := w.Waiting("frontend02"); got != -1 {
		t.Errorf("%d wait at one that does not tell", got)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	if s := (world.World{}).Now(); s.Captured != -1 {
		t.Errorf("%+v", s)
	}
}
