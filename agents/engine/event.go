package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/events"
)

// Event is something that happened in the engine.
type Event struct {
	At time.Time
	// Type is "container", "image", "network", "volume", "node" or "daemon".
	Type string
	// Action in Docker's words: "kill", "die", "stop", "start", "destroy", "oom" and so on.
	Action string
	ID     string
	// Name of the container or other object, where the engine says it.
	Name string
	// Signal of a "kill", a number.
	Signal string
	// Container of a network's "connect" and "disconnect".
	Container string
	ExitCode  string
}

// Events calls handle for every event from since on (only from now on when since is zero), in order, until the stream
// breaks or the context ends; it never returns nil. The engine remembers its last 256 events, not over its own restart.
// A caller that passes the time before it last looked at the engine misses nothing between that look and the
// subscription.
func (e *Engine) Events(ctx context.Context, since time.Time, handle func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := events.ListOptions{}
	if !since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
	}
	// Docker's client agrees with the engine on a version at its first request, and Events alone reads that without waiting for it: a
	// data race with whoever asks for something meanwhile. This waits.
	if err := e.api.NewVersionError(ctx, "1.24", "events"); err != nil {
		return failed("follow the engine's events", "", err)
	}
	messages, errs := e.api.Events(ctx, options)
	for {
		select {
		case m := <-messages:
			handle(eventOf(m))
		case err := <-errs:
			return failed("follow the engine's events", "", err)
		}
	}
}

func eventOf(m events.Message) Event {
	at := time.Unix(0, m.TimeNano)
	if m.TimeNano == 0 {
		at = time.Unix(m.Time, 0)
	}
	a := m.Actor.Attributes
	return Event{
		At: at, Type: string(m.Type), Action: string(m.Action), ID: m.Actor.ID,
		Name: a["name"], Signal: a["signal"], Container: a["container"], ExitCode: a["exitCode"],
	}
}
