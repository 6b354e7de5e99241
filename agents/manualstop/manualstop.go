// Package manualstop tells a container that somebody stopped on purpose from one that ended by itself, with its engine, or
// by the agent's own doing. The first stays stopped until it is healed; the others are started again.
//
// Docker's events are the evidence. `docker stop` and `docker kill` show as "kill" before the container's "die"; a crash
// shows as "die" alone. An engine that shuts down kills its containers with the same events, so that a "kill" with its "die" is only
// a suspicion: [Tracker.Suspects] lists them, and the caller confirms each once it knows that the engine lives on, or
// drops all of them when the engine went away. Between the kill and the verdict nobody may start the container
// ([Tracker.Stop] says StopOpen).
//
// The package holds no clock, no engine and no files: events and containers in, verdicts out.
package manualstop

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// window is how long after a signal an end still counts as its effect, beyond the time that a stop grants the container.
var window = timescale.Scale(5 * time.Second)

// eventDelay is the default of Tracker.EventDelay.
var eventDelay = timescale.Scale(2 * time.Second)

// Record is what must survive the agent: the containers stopped manually, and those that the agent itself stopped.
type Record struct {
	// Stopped manually, by id.
	Stopped map[string]Stopped `json:"stopped,omitempty"`
	Own     map[string]bool    `json:"own,omitempty"`
}

// Stopped is a container that was stopped manually.
type Stopped struct {
	Name string `json:"name"`
	// At is when it ended.
	At time.Time `json:"at"`
}

// Tracker follows the events of one engine. It is safe for concurrent use.
type Tracker struct {
	// EventDelay bounds by how much the engine's word about an end may lag behind the end itself. It must not be changed once the
	// tracker is in use.
	EventDelay time.Duration

	mu       sync.Mutex
	stopped  map[string]Stopped
	own      map[string]bool
	kills    map[string]kill
	suspects map[string]Stopped
	died     map[string]time.Time
	harmless map[string]bool
}

type kill struct {
	at     time.Time
	signal string
}

// New returns a tracker that knows what an earlier one recorded.
func New(record Record) *Tracker {
	t := &Tracker{
		EventDelay: eventDelay,
		stopped:    map[string]Stopped{}, own: map[string]bool{}, kills: map[string]kill{},
		suspects: map[string]Stopped{}, died: map[string]time.Time{}, harmless: map[string]bool{},
	}
	maps.Copy(t.stopped, record.Stopped)
	maps.Copy(t.own, record.Own)
	return t
}

// Record returns what must survive the agent.
func (t *Tracker) Record() Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Record{Stopped: maps.Clone(t.stopped), Own: maps.Clone(t.own)}
}

// Harmless names signals ("USR2") with which the plan announces changed files: they stop nothing, and an end that follows one is a
// crash.
func (t *Tracker) Harmless(signals map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.harmless = signals
}

// Own notes that the agent is about to stop a container: what follows is not a hand's. It holds until the container
// starts again or is gone.
func (t *Tracker) Own(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own[id] = true
	delete(t.suspects, id)
	delete(t.kills, id)
}

// Event takes note of an engine's event and reports whether anything came of it: a new suspect, or another record. The grace is how long a stop of the
// container waits before it kills (0: the engine's 10 s).
func (t *Tracker) Event(e engine.Event, grace time.Duration) bool {
	if e.Type != "container" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Action {
	case "kill":
		if !t.own[e.ID] && !t.harmless[signalName(e.Signal)] {
			t.kills[e.ID] = kill{at: e.At, signal: e.Signal}
		}
	case "die":
		t.died[e.ID] = e.At
		if grace <= 0 {
			grace = 10 * time.Second
		}
		k, killed := t.kills[e.ID]
		delete(t.kills, e.ID)
		if killed && !t.own[e.ID] && e.At.Sub(k.at) <= grace+window {
			t.suspects[e.ID] = Stopped{Name: e.Name, At: e.At}
			return true
		}
	case "stop":
		// Without a "die" before it: a stop of one that was between two runs.
		if _, known := t.stopped[e.ID]; !known && !t.own[e.ID] {
			t.suspects[e.ID] = Stopped{Name: e.Name, At: e.At}
			return true
		}
	case "start":
		delete(t.died, e.ID) // What ends after this is another end, however soon.
		return t.started(e.ID)
	case "destroy":
		changed := t.started(e.ID)
		delete(t.died, e.ID)
		return changed
	}
	return false
}

func (t *Tracker) started(id string) bool {
	_, wasStopped := t.stopped[id]
	wasOwn := t.own[id]
	delete(t.stopped, id)
	delete(t.own, id)
	delete(t.kills, id)
	delete(t.suspects, id)
	return wasStopped || wasOwn
}

// Suspects returns the containers, by id, that a hand or a dying engine stopped.
func (t *Tracker) Suspects() map[string]Stopped {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.suspects)
}

// Confirm makes a suspect a container stopped manually; false when it is no suspect any more.
func (t *Tracker) Confirm(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	suspect, ok := t.suspects[id]
	if ok {
		delete(t.suspects, id)
		t.stopped[id] = suspect
	}
	return ok
}

// Dismiss acquits one suspect.
func (t *Tracker) Dismiss(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.suspects, id)
}

// Drop acquits all suspects: the engine stopped them on its own way down.
func (t *Tracker) Drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.suspects)
	clear(t.kills)
	clear(t.died)
}

// Observed takes note of the containers that there are, so that starts and removals whose events were missed count too.
// It reports whether the record changed.
func (t *Tracker) Observed(containers map[string]engine.Container) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := make(map[string]engine.Container, len(containers))
	for _, c := range containers {
		there[c.ID] = c
	}
	changed := false
	for id, stopped := range t.stopped {
		// By its start and not by its state: the look may be older than the stop.
		if c, ok := there[id]; !ok || c.StartedAt.After(stopped.At) {
			delete(t.stopped, id)
			changed = true
		}
	}
	for id := range t.own {
		if _, ok := there[id]; !ok {
			delete(t.own, id)
			changed = true
		}
	}
	for id := range t.died {
		if _, ok := there[id]; !ok {
			delete(t.died, id)
		}
	}
	return changed
}

// Stop says how a container that does not run came to that.
func (t *Tracker) Stop(c engine.Container, now time.Time) reconcile.Stop {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.stopped[c.ID]; ok {
		return reconcile.StopManual
	}
	if t.own[c.ID] {
		return reconcile.StopOwn
	}
	if _, ok := t.suspects[c.ID]; ok {
		return reconcile.StopOpen
	}
	if _, ok := t.kills[c.ID]; ok && now.Sub(c.FinishedAt) < t.EventDelay {
		return reconcile.StopOpen
	}
	// It was seen to have ended before the event that says why has come.
	if c.State == engine.StateExited && now.Sub(c.FinishedAt) < t.EventDelay &&
		c.FinishedAt.Sub(t.died[c.ID]) > t.EventDelay/2 {
		return reconcile.StopOpen
	}
	return reconcile.StopOwn
}

// Heal forgets that the containers which are picked were stopped manually, and returns their names.
func (t *Tracker) Heal(pick func(name string) bool) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for id, stopped := range t.stopped {
		if pick(stopped.Name) {
			names = append(names, stopped.Name)
			delete(t.stopped, id)
		}
	}
	return names
}

// signalName turns a "kill" event's signal, a number, into the name as the plan writes it.
func signalName(number string) string {
	switch number {
	case "1":
		return "HUP"
	case "10":
		return "USR1"
	case "12":
		return "USR2"
	case "28":
		return "WINCH"
	}
	return strings.TrimPrefix(number, "SIG")
}
