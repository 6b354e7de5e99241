package results

import "sync"

// hub hands each event to all viewers. A viewer who is slow misses events, and holds up nobody: only the newest one is kept for them, and
// every event is complete in itself.
type hub struct {
	mu      sync.Mutex
	viewers map[chan []byte]struct{}
	closed  bool
}

func newHub() *hub { return &hub{viewers: map[chan []byte]struct{}{}} }

// join gives a viewer's channel. It is closed when the hub is. ok is false if it is closed already.
func (h *hub) join() (events chan []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	events = make(chan []byte, 1)
	h.viewers[events] = struct{}{}
	return events, true
}

func (h *hub) leave(events chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, events)
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.viewers)
}

func (h *hub) send(event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for events := range h.viewers {
		select {
		case events <- event:
			continue
		default:
		}
		select { // Replace the one that was not fetched.
		case <-events:
		default:
		}
		select {
		case events <- event:
		default:
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for events := range h.viewers {
		close(events)
	}
	clear(h.viewers)
}
