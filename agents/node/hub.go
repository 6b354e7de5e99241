package node

import (
	"context"
	"slices"
	"sync"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

const (
	// coalesce is how long a change waits for others before it is sent on.
	coalesce = 150 * time.Millisecond
	// backlog bounds the events that one message burst carries; of more, the oldest are dropped.
	backlog = 64
)

// hub hands events to those who watch. A slow watcher misses events and never holds anybody up; the snapshot that comes with each is
// ready in any case. It is safe for concurrent use.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	// interest is when somebody last looked.
	interest time.Time
}

type watcher struct {
	events []*agentv1.Event
	// refresh: a fresh snapshot is wanted even without an event.
	refresh bool
	wake    chan struct{}
}

func newHub() *hub { return &hub{watchers: map[*watcher]struct{}{}} }

func (h *hub) emit(e *agentv1.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if len(w.events) == backlog {
			w.events = slices.Delete(w.events, 0, 1)
		}
		w.events = append(w.events, e)
		poke(w.wake)
	}
}

// refresh has a snapshot sent, for a change that is no event.
func (h *hub) refresh() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.refresh = true
		poke(w.wake)
	}
}

// looked notes that somebody asked for a snapshot.
func (h *hub) looked() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interest = time.Now()
}

// watched reports whether somebody watches or looked a short while ago.
func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers) > 0 || time.Since(h.interest) < 15*time.Second
}

// watch sends a snapshot, then every event with a fresh snapshot, and one alone after a refresh, until the context ends or send fails.
func (h *hub) watch(ctx context.Context, snapshot func() *agentv1.NodeSnapshot, send func(*agentv1.WatchResponse) error) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	h.watchers[w] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}()
	if err := send(&agentv1.WatchResponse{Node: snapshot()}); err != nil {
		return err
	}
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(coalesce):
		case <-ctx.Done():
			return ctx.Err()
		}
		h.mu.Lock()
		events, refresh := w.events, w.refresh
		w.events, w.refresh = nil, false
		h.mu.Unlock()
		now := snapshot()
		if refresh && len(events) == 0 {
			if err := send(&agentv1.WatchResponse{Node: now}); err != nil {
				return err
			}
		}
		for _, e := range events {
			if err := send(&agentv1.WatchResponse{Event: e, Node: now}); err != nil {
				return err
			}
		}
	}
}
