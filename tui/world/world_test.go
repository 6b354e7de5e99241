package world_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
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

// What the queues told is kept, a moment a second.
func TestCounted(t *testing.T) {
	t.Parallel()
	w := worldtest.Of("healthy")
	w.Samples = nil
	queues := []datastore.Queue{{Node: "frontend01", Waiting: 10, Left: 100}, {Node: "frontend02", Err: errors.New("no answer")}}
	now := worldtest.Now
	for i := range 2000 {
		w = w.Counted(queues, now.Add(time.Duration(i)*500*time.Millisecond))
	}
	if n := len(w.Samples); n != 600 {
		t.Errorf("%d samples are kept", n)
	}
	if got := w.Now(); got.Captured != 0 || got.Queued["frontend01"] != 10 {
		t.Errorf("%+v", got)
	}
	if got := w.Waiting("frontend02"); got != -1 {
		t.Errorf("%d wait at one that does not tell", got)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	if s := (world.Model{}).Now(); s.Captured != -1 {
		t.Errorf("%+v", s)
	}
}
