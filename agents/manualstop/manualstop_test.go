package manualstop_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/manualstop"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// ev is an event of container "c" some seconds after the start.
func ev(action string, after float64, signal string) engine.Event {
	return engine.Event{
		Type: "container", Action: action, ID: "c", Name: "redis01", Signal: signal,
		At: start.Add(time.Duration(after * float64(time.Second))),
	}
}

// exited is container "c" after it ended, some seconds after the start.
func exited(after float64) engine.Container {
	return engine.Container{
		ID: "c", State: engine.StateExited, StartedAt: start.Add(-time.Hour),
		FinishedAt: start.Add(time.Duration(after * float64(time.Second))), Spec: engine.Spec{Name: "redis01"},
	}
}

func TestStops(t *testing.T) {
	own := func(t *manualstop.Tracker) { t.Own("c") }
	tests := []struct {
		name    string
		prepare func(*manualstop.Tracker)
		events  []engine.Event
		grace   time.Duration
		suspect bool
	}{
		{name: "docker stop", events: []engine.Event{ev("kill", 0, "15"), ev("die", 1, ""), ev("stop", 1, "")}, suspect: true},
		{name: "docker kill", events: []engine.Event{ev("kill", 0, "9"), ev("die", 0.1, "")}, suspect: true},
		{name: "docker stop of one that needs its time", events: []engine.Event{ev("kill", 0, "15"), ev("kill", 10, "9"), ev("die", 10.1, "")}, suspect: true},
		{name: "docker stop of one that takes a minute", grace: time.Minute, events: []engine.Event{ev("kill", 0, "15"), ev("die", 50, "")}, suspect: true},
		{name: "docker stop of one between two runs", events: []engine.Event{ev("die", 0, ""), ev("stop", 5, "")}, suspect: true},
		{name: "a crash", events: []engine.Event{ev("die", 0, "")}},
		{name: "out of memory", events: []engine.Event{ev("oom", 0, ""), ev("die", 0, "")}},
		{name: "a signal that stops nothing, and a crash later", events: []engine.Event{ev("kill", 0, "1"), ev("die", 60, "")}},
		{name: "a reload, and a crash at once", events: []engine.Event{ev("kill", 0, "12"), ev("die", 0.1, "")}},
		{name: "docker restart", events: []engine.Event{ev("kill", 0, "15"), ev("die", 1, ""), ev("stop", 1, ""), ev("start", 2, ""), ev("restart", 2, "")}},
		{name: "docker rm -f", events: []engine.Event{ev("kill", 0, "9"), ev("die", 0, ""), ev("destroy", 0, "")}},
		{name: "the agent's own stop", prepare: own, events: []engine.Event{ev("kill", 0, "15"), ev("die", 1, ""), ev("stop", 1, "")}},
		{
			name: "a hand's stop after the agent's own and a start", prepare: own, suspect: true,
			events: []engine.Event{ev("kill", 0, "15"), ev("die", 1, ""), ev("stop", 1, ""), ev("start", 2, ""), ev("kill", 3, "9"), ev("die", 3, "")},
		},
		{name: "of something else", events: []engine.Event{{Type: "network", Action: "kill"}, {Type: "image", Action: "die"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracker := manualstop.New(manualstop.Record{})
			tracker.Harmless(map[string]bool{"USR2": true})
			if tt.prepare != nil {
				tt.prepare(tracker)
			}
			for _, e := range tt.events {
				tracker.Event(e, tt.grace)
			}
			if _, suspect := tracker.Suspects()["c"]; suspect != tt.suspect {
				t.Fatalf("suspect: %t, want %t", suspect, tt.suspect)
			}
			last := tt.events[len(tt.events)-1].At.Sub(start).Seconds()
			want := reconcile.StopOwn
			if tt.suspect {
				want = reconcile.StopOpen
			}
			if got := tracker.Stop(exited(last), start.Add(time.Hour)); got != want {
				t.Errorf("before the verdict: %v, want %v", got, want)
			}
			if confirmed := tracker.Confirm("c"); confirmed != tt.suspect {
				t.Errorf("confirmed: %t", confirmed)
			}
			if tt.suspect {
				want = reconcile.StopManual
			}
			if got := tracker.Stop(exited(last), start.Add(time.Hour)); got != want {
				t.Errorf("after the verdict: %v, want %v", got, want)
			}
		})
	}
}

func TestShutdownOfTheEngine(t *testing.T) {
	tracker := manualstop.New(manualstop.Record{})
	tracker.Event(ev("kill", 0, "15"), 0)
	tracker.Event(ev("die", 1, ""), 0)
	tracker.Drop()
	if got := tracker.Stop(exited(1), start.Add(time.Minute)); got != reconcile.StopOwn {
		t.Errorf("got %v", got)
	}
	if tracker.Confirm("c") {
		t.Error("confirmed what was dropped")
	}
}

// Between an exit and the engine's word about it nobody may start the container.
func TestExitSeenBeforeItsEvent(t *testing.T) {
	tracker := manualstop.New(manualstop.Record{})
	at := func(after float64) time.Time { return start.Add(time.Duration(after * float64(time.Second))) }
	if got := tracker.Stop(exited(0), at(0.1)); got != reconcile.StopOpen {
		t.Errorf("just ended: %v", got)
	}
	tracker.Event(ev("kill", -0.1, "9"), 0)
	if got := tracker.Stop(exited(0), at(0.1)); got != reconcile.StopOpen {
		t.Errorf("killed, its death not told yet: %v", got)
	}
	tracker.Event(ev("die", 0, ""), 0)
	if got := tracker.Stop(exited(0), at(0.1)); got != reconcile.StopOpen {
		t.Errorf("no verdict yet: %v", got)
	}
	tracker.Dismiss("c")
	if got := tracker.Stop(exited(0), at(0.1)); got != reconcile.StopOwn {
		t.Errorf("acquitted: %v", got)
	}
	other := manualstop.New(manualstop.Record{})
	if got := other.Stop(exited(0), at(30)); got != reconcile.StopOwn {
		t.Errorf("ended long ago, no event: %v", got)
	}
}

func TestObserved(t *testing.T) {
	fresh := func() *manualstop.Tracker {
		tracker := manualstop.New(manualstop.Record{})
		tracker.Event(ev("kill", 0, "9"), 0)
		tracker.Event(ev("die", 0, ""), 0)
		tracker.Confirm("c")
		return tracker
	}
	stale := exited(0)
	stale.State = engine.StateRunning // looked at before it was stopped
	tracker := fresh()
	if tracker.Observed(map[string]engine.Container{"redis01": stale}) || tracker.Stop(exited(0), start) != reconcile.StopManual {
		t.Error("an old look undid a stop")
	}
	started := stale
	started.StartedAt = start.Add(time.Minute)
	if !tracker.Observed(map[string]engine.Container{"redis01": started}) || tracker.Stop(exited(0), start.Add(time.Hour)) != reconcile.StopOwn {
		t.Error("it was started since, its event missed")
	}
	if tracker := fresh(); !tracker.Observed(nil) || len(tracker.Record().Stopped) != 0 {
		t.Error("it is gone, its event missed")
	}
}

func TestRecordSurvives(t *testing.T) {
	tracker := manualstop.New(manualstop.Record{})
	tracker.Event(ev("kill", 0, "9"), 0)
	tracker.Event(ev("die", 0, ""), 0)
	tracker.Confirm("c")
	tracker.Own("other")
	text, err := json.Marshal(tracker.Record())
	if err != nil {
		t.Fatal(err)
	}
	var record manualstop.Record
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	again := manualstop.New(record)
	if diff := cmp.Diff(tracker.Record(), again.Record()); diff != "" {
		t.Errorf("(-was +is)\n%s", diff)
	}
	if again.Stop(exited(0), start) != reconcile.StopManual {
		t.Error("forgot who was stopped")
	}
	if names := again.Heal(func(name string) bool { return name != "redis01" }); len(names) != 0 {
		t.Errorf("healed %v", names)
	}
	if names := again.Heal(func(name string) bool { return name == "redis01" }); !cmp.Equal(names, []string{"redis01"}) {
		t.Errorf("healed %v", names)
	}
	if again.Stop(exited(0), start.Add(time.Hour)) != reconcile.StopOwn {
		t.Error("healed, and still stopped manually")
	}
}
