// Package tui is the terminal UI: the lab as a map that lives, drills, charts, events and logs.
//
// The root model (root.go) holds the pages (page/…), which know neither it nor each other; what they show is a world.World, folded out of what
// live.go sees. All input and output is in commands and in live.go.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/lab/console"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/page/drills"
	"github.com/swarmlab/swarmlab/tui/page/events"
	"github.com/swarmlab/swarmlab/tui/page/labmap"
	"github.com/swarmlab/swarmlab/tui/page/logs"
	"github.com/swarmlab/swarmlab/tui/page/tutorial"
	"github.com/swarmlab/swarmlab/tui/page/votes"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Terminal is where the UI is shown.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	// Environ as os.Environ gives it.
	Environ []string
	// ReadOnly leaves out all that changes the lab.
	ReadOnly bool
	// Tutorial in Markdown; empty: there is none.
	Tutorial string
}

// Backend is the lab.
type Backend interface {
	labmap.Breaker
	logs.Source
	drills.Runner
	votes.Judge
	voter
}

// Places among the pages, of those that others turn to.
const (
	eventsPage = 3
	logsPage   = 4
)

// newRoot puts the pages together.
func newRoot(t theme.Theme, k keymap.Map, b Backend, catalogue []*drill.Drill, text string, first world.World, feed <-chan world.World, clock func() time.Time) root {
	pages := []page.Page{
		labmap.New(t, k, b), drills.New(t, k, b, catalogue), votes.New(t, k, b), events.New(t, k), logs.New(t, k, b),
		tutorial.New(t, k, text),
	}
	r := root{theme: t, keys: k, pages: pages, events: eventsPage, logs: logsPage, feed: feed, clock: clock, votes: b, seen: page.Seen{World: first, At: clock()}}
	r.jump = textinput.New()
	r.jump.Prompt, r.jump.CharLimit = ":", 20
	r, _ = r.allOf(r.seen)
	return r
}

// Run shows the UI until somebody quits, or ctx ends.
func Run(ctx context.Context, t Terminal, b Backend, first world.World, feed <-chan world.World) error {
	p, err := program(ctx, t, b, first, feed)
	if err != nil {
		return err
	}
	if _, err := p.Run(); err != nil && !errors.Is(err, tea.ErrProgramKilled) {
		return fmt.Errorf("show the terminal UI: %w", err)
	}
	return nil
}

func program(ctx context.Context, t Terminal, b Backend, first world.World, feed <-chan world.World) (*tea.Program, error) {
	catalogue, err := drill.Catalogue()
	if err != nil {
		return nil, err
	}
	renderer := lipgloss.NewRenderer(t.Out, termenv.WithEnvironment(console.Environment(t.Environ)))
	keys := keymap.New()
	if t.ReadOnly {
		keys = keys.Without()
	}
	r := newRoot(theme.New(renderer, t.Environ), keys, b, catalogue, t.Tutorial, first, feed, time.Now)
	// The command itself hears the signals, and ends ctx.
	return tea.NewProgram(r, tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithAltScreen(), tea.WithMouseCellMotion(), tea.WithoutSignalHandler()), nil
}
