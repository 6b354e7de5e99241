package runner

import (
	"maps"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/watch"
)

// maxEvents bounds what a journal keeps of a fleet that has much to tell.
const maxEvents = 2000

// observer keeps the observed state of the lab up to date, and what the journal is to hold of it.
type observer struct {
	begun time.Time
	// news is notified when the state changes; it never waits.
	news chan struct{}

	mu      sync.Mutex
	state   state
	events  []journal.Event
	samples []journal.Sample
	// base is how many votes had left the queues when the first sample was taken; -1 before.
	base int64
}

func newObserver(begun time.Time, stage settings.Stage, rate float64) *observer {
	return &observer{
		begun: begun, news: make(chan struct{}, 1), base: -1,
		state: state{stage: stage, rate: rate, heard: map[string]bool{}},
	}
}

var _ watch.Observer = (*observer)(nil)

// Servers implements watch.Observer.
func (o *observer) Servers(servers map[string]bool) {
	o.change(func(p *state) { p.servers = servers })
}

// Queues implements watch.Observer.
func (o *observer) Queues(queues []datastore.Queue) {
	waiting, left := map[string]int64{}, map[string]int64{}
	for _, q := range queues {
		if q.Err == nil {
			waiting[q.Node], left[q.Node] = q.Waiting, q.Left
		}
	}
	o.change(func(p *state) { p.drained(waiting, left, time.Now()) })
}

// Pages implements watch.Observer.
func (o *observer) Pages(voting, results int) {
	o.change(func(p *state) { p.voting, p.results = voting, results })
}

func (o *observer) change(how func(*state)) {
	o.mu.Lock()
	how(&o.state)
	o.mu.Unlock()
	o.poke()
}

func (o *observer) poke() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}

func (o *observer) at(t time.Time) int64 { return t.Sub(o.begun).Milliseconds() }

// Node implements watch.Observer.
func (o *observer) Node(u fleet.Update) {
	now := time.Now()
	o.mu.Lock()
	was, _ := o.state.view.Node(u.Node)
	is, _ := u.View.Node(u.Node)
	o.state.view = u.View
	first := !o.state.heard[u.Node]
	o.state.heard = maps.Clone(o.state.heard)
	o.state.heard[u.Node] = true
	if u.Event.GetAction() == died {
		gone := maps.Clone(o.state.died)
		if gone == nil {
			gone = map[string]bool{}
		}
		gone[u.Event.GetSubject()] = true
		o.state.died = gone
	}
	switch {
	case u.Notable():
		o.event(journal.Event{
			AtMS: o.at(now), Node: u.Node, Subject: u.Event.GetSubject(), Action: u.Event.GetAction(), Message: u.Event.GetMessage(),
		})
	case is.Err != nil && (was.Err == nil || was.Err.Problem != is.Err.Problem):
		o.event(journal.Event{AtMS: o.at(now), Node: u.Node, Subject: agentSubject, Action: "unreachable", Message: is.Err.Reason})
	case is.Err == nil && was.Err != nil && !first:
		o.event(journal.Event{AtMS: o.at(now), Node: u.Node, Subject: agentSubject, Action: "reachable"})
	}
	o.mu.Unlock()
	o.poke()
}

const (
	agentSubject = "agent"
	// died is Docker's word for the end of a container's process.
	died = "die"
)

// event keeps an event. The mutex is held.
func (o *observer) event(e journal.Event) {
	if len(o.events) < maxEvents {
		o.events = append(o.events, e)
	}
}

// reported takes in how the load is doing, and makes a sample of it.
func (o *observer) reported(report load.Progress) {
	now := time.Now()
	o.mu.Lock()
	p := &o.state
	var before load.Progress
	if n := len(p.recent); n > 0 {
		before = p.recent[n-1]
	}
	sample := journal.Sample{AtMS: o.at(now), Accepted: report.Rate, Queued: map[string]float64{}}
	if took := report.Elapsed - before.Elapsed; took > 0 {
		sample.Errors = float64(report.Failed-before.Failed) / took.Seconds()
	}
	if report.Rate > 0 {
		p50, p99 := milliseconds(report.P50), milliseconds(report.P99)
		sample.P50MS, sample.P99MS = &p50, &p99
	}
	for name, waiting := range p.queues {
		sample.Queued[name] = float64(waiting)
	}
	if n := len(p.counted); n > 0 {
		if o.base < 0 {
			o.base = p.counted[n-1].votes
		}
		if now.Sub(p.counted[n-1].at) < span {
			counted := float64(p.counted[n-1].votes - o.base)
			sample.Counted = &counted
		}
	}
	o.samples = append(o.samples, sample)
	p.reported(report, now)
	o.mu.Unlock()
	o.poke()
}

// now is the state at this moment.
func (o *observer) now() state {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// settle takes note of what the lab is like in its steady state.
func (o *observer) settle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state.remember()
}

// eventsFrom returns what happened from a moment on.
func (o *observer) eventsFrom(ms int64) []journal.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, e := range o.events {
		if e.AtMS >= ms {
			return append([]journal.Event(nil), o.events[i:]...)
		}
	}
	return nil
}

// write puts what was seen into a journal.
func (o *observer) write(j *journal.Journal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	j.Events = append([]journal.Event(nil), o.events...)
	j.Samples = append([]journal.Sample(nil), o.samples...)
}
