package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// A node that is frozen, or whose host dropped off the network, closes no connection. So a stream that was quiet for
// quietTime is probed with a snapshot, which has probeTime.
const (
	quietTime = 4 * time.Second
	probeTime = 3 * time.Second
)

// Update is one change of the fleet.
type Update struct {
	// Node whose view changed.
	Node string
	// Event that changed it; nil for a first snapshot and for a change of reachability.
	Event *agentv1.Event
	// View of the whole fleet after it.
	View View
}

// Notable reports whether the update tells of something worth a line: that a role's numbers have changed is not.
func (u Update) Notable() bool {
	return u.Event != nil && (u.Event.GetSubject() != "role" || u.Event.GetAction() != "measured" && u.Event.GetAction() != "checked")
}

// Watch streams the changes of all nodes, merged. The channel is closed when ctx ends. A node that cannot be reached is
// an update with its error, once for each problem, and is tried again until it can be.
func (f *Fleet) Watch(ctx context.Context) <-chan Update {
	updates := make(chan Update)
	w := &watcher{view: newView(f.lab), updates: updates}
	var wg sync.WaitGroup
	for i, m := range f.nodes {
		wg.Go(func() { w.follow(ctx, i, m) })
	}
	go func() {
		wg.Wait()
		close(updates)
	}()
	return updates
}

type watcher struct {
	updates chan<- Update

	mu   sync.Mutex
	view View
}

// follow keeps one node's part of the view fresh until ctx ends.
func (w *watcher) follow(ctx context.Context, i int, m *member) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 200 * time.Millisecond
	pause.MaxInterval = 2 * time.Second
	for {
		err := w.stream(ctx, i, m, pause.Reset)
		if ctx.Err() != nil {
			return
		}
		w.set(ctx, i, nil, nil, m.explain(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// stream delivers one Watch call's messages until it fails, or until the node stays silent.
func (w *watcher) stream(ctx context.Context, i int, m *member, heard func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.client.Watch(ctx, &agentv1.WatchRequest{})
	if err != nil {
		return err
	}
	type message struct {
		response *agentv1.WatchResponse
		err      error
	}
	messages := make(chan message)
	go func() {
		for {
			response, err := stream.Recv()
			select {
			case messages <- message{response, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-messages:
			if msg.err != nil {
				return msg.err
			}
			heard()
			w.set(ctx, i, msg.response.GetEvent(), msg.response.GetNode(), nil)
		case <-quiet.C:
			if err := w.probe(ctx, i, m); err != nil {
				return err
			}
		}
		quiet.Reset(quietTime)
	}
}

func (w *watcher) probe(ctx context.Context, i int, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	response, err := m.client.Snapshot(ctx, &agentv1.SnapshotRequest{})
	if err != nil {
		return err
	}
	w.set(ctx, i, nil, response.GetNode(), nil)
	return nil
}

// set changes one node's view and sends it on, still holding the lock: the order of the updates is that of their views.
// The same problem again is no change.
func (w *watcher) set(ctx context.Context, i int, event *agentv1.Event, snapshot *agentv1.NodeSnapshot, err *Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := &w.view.Nodes[i]
	if err != nil && n.Err != nil && n.Err.Reason == err.Reason {
		return
	}
	n.Snapshot, n.Err = snapshot, err
	select {
	case w.updates <- Update{Node: n.Node.Name, Event: event, View: w.view.clone()}:
	case <-ctx.Done():
	}
}
