package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

const (
	// judgeInterval is how often somebody who waits for the verdict looks whether there is one.
	judgeInterval = 20 * time.Millisecond
)

var (
	// reconnectInterval is how often an engine that went away is looked for.
	reconnectInterval = timescale.Scale(250 * time.Millisecond)
	pingTimeout       = timescale.Scale(5 * time.Second)
	// judgeTimeout is the default of the node's: it bounds the questions about a container that was killed. Who stopped it is not known until
	// then, and nobody starts it; a busy engine takes seconds.
	judgeTimeout = timescale.Scale(30 * time.Second)
)

// followEngine takes note of the engine's events for as long as the agent lives, over every end of the engine.
func (n *Node) followEngine(ctx context.Context) error {
	since := n.state.get().Seen
	if since.IsZero() {
		since = time.Now()
	}
	for n.awaitEngine(ctx) {
		life, end := context.WithCancel(ctx)
		n.mu.Lock()
		n.engineLife = life
		n.endLife = end
		n.mu.Unlock()
		n.loop.Trigger()
		err := n.engine.Events(life, since, func(e engine.Event) {
			if e.At.After(since) {
				since = e.At.Add(time.Nanosecond)
			}
			n.event(ctx, e)
		})
		end()
		if ctx.Err() != nil {
			break
		}
		n.log.Warn("the engine's events ended", "error", err)
		n.mu.Lock()
		n.engineLife = nil
		n.mu.Unlock()
		// Whom it killed on its way down was not stopped by a hand.
		n.tracker.Drop()
		n.observer.Lost()
		n.loop.Trigger()
	}
	return nil
}

// awaitEngine waits until the engine answers and is not about to end: then it still answers for a while. It is false
// when the context ended instead.
func (n *Node) awaitEngine(ctx context.Context) bool {
	for {
		unit, err := n.host.Engine(ctx)
		why := ""
		if err == nil && !unit.Running {
			why = "it does not run: systemd calls it " + unit.State
		} else {
			// Where systemd holds the engine's socket, one that is down accepts requests and leaves them unanswered.
			once, cancel := context.WithTimeout(ctx, pingTimeout)
			if err := n.engine.Ping(once); err != nil {
				why = err.Error()
				if once.Err() != nil {
					why = fmt.Sprintf("could not tell how it is: no answer within %s", pingTimeout)
				}
			}
			cancel()
		}
		n.mu.Lock()
		changed := n.engineError != why
		n.engineError = why
		n.mu.Unlock()
		if why == "" {
			return ctx.Err() == nil
		}
		if changed {
			n.loop.Trigger()
		}
		select {
		case <-time.After(reconnectInterval):
		case <-ctx.Done():
			return false
		}
	}
}

// engineNow returns the context that ends with the present life of the engine; nil and why while there is none.
func (n *Node) engineNow() (life context.Context, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engineLife != nil {
		return n.engineLife, ""
	}
	if n.engineError == "" {
		return nil, "the engine was not asked yet"
	}
	return nil, n.engineError
}

// leaveEngine ends everything that is open with an engine that is shutting down: its event stream alone would make it
// wait 5 s for its last listener.
func (n *Node) leaveEngine() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endLife != nil {
		n.endLife()
	}
}

// event takes note of one event: who stopped what, what must be looked at again, and what people want to know.
func (n *Node) event(ctx context.Context, e engine.Event) {
	n.state.note(func(r *record) { r.Seen = e.At })
	if n.tracker.Event(e, n.grace(e.Name)) {
		if len(n.tracker.Suspects()) > 0 {
			// Not in the way of the next events: an engine that shuts down sends many, and then none.
			go n.classifyStops(ctx)
		} else {
			n.saveManualStops()
		}
	}
	if n.observer.Notice(e) {
		n.loop.Trigger()
	}
	if notified(e) {
		n.emit(e.Name, e.Action, message(e))
	}
}

// grace is how long a stop waits for a container to end.
func (n *Node) grace(name string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.plan.containers {
		if spec := &n.plan.containers[i].Spec; spec.Name == name {
			return spec.StopTimeout
		}
	}
	return 0
}

// classifyStops decides who stopped the suspects: a hand, if the engine is in good health and stays.
func (n *Node) classifyStops(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.judgeTimeout)
	defer cancel()
	suspects := n.tracker.Suspects()
	unit, err := n.host.Engine(ctx)
	if err != nil {
		// To take a shutdown for a hand's stop would leave the node dead after its next boot; the other error only
		// starts a container again.
		n.log.Warn("cannot tell whether the engine is shutting down; its stops do not count", "error", err)
	}
	if err != nil || !unit.Running || n.engine.Ping(ctx) != nil {
		n.tracker.Drop()
		if err == nil && !unit.Running {
			n.leaveEngine()
		}
		n.loop.Trigger()
		return
	}
	for id, suspect := range suspects {
		if suspect.At.Before(unit.Since) {
			// A new engine stops what survived a crash of the former one, before it answers anybody.
			n.tracker.Dismiss(id)
			continue
		}
		if n.tracker.Confirm(id) {
			n.log.Info("stopped manually", "container", suspect.Name)
			n.emit(suspect.Name, "manually-stopped", "stopped manually; `lab heal` starts it again")
		}
	}
	n.saveManualStops()
	n.loop.Trigger()
}

// notified reports whether an event is for people.
func notified(e engine.Event) bool {
	if e.Type != "container" {
		return false
	}
	switch e.Action {
	case "start", "die", "oom", "kill", "stop", "pause", "unpause", "destroy", "restart":
		return true
	}
	return false
}

func message(e engine.Event) string {
	switch {
	case e.Action == "die" && e.ExitCode != "":
		return "exit code " + e.ExitCode
	case e.Action == "kill" && e.Signal != "":
		return "signal " + e.Signal
	}
	return ""
}

// harmless are the signals by which the plan's containers reload their files.
func harmless(containers []reconcile.Container) map[string]bool {
	signals := map[string]bool{}
	for i := range containers {
		for _, signal := range containers[i].Signals() {
			signals[strings.TrimPrefix(strings.ToUpper(signal), "SIG")] = true
		}
	}
	return signals
}
