// Package tui is the terminal UI: the lab as a map that lives, drills, charts, events and logs.
//
// The root model (root.go) holds the pages (page/…), which know neither it nor each other; what they show is a world.Model, folded out of what
// live.go sees. All input and output is in commands and in live.go; what comes from the terminal passes package terminal first.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/term"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/page/drills"
	"github.com/swarmlab/swarmlab/tui/page/events"
	"github.com/swarmlab/swarmlab/tui/page/labmap"
	"github.com/swarmlab/swarmlab/tui/page/logs"
	"github.com/swarmlab/swarmlab/tui/page/tutorial"
	"github.com/swarmlab/swarmlab/tui/page/votes"
	"github.com/swarmlab/swarmlab/tui/scroll"
	"github.com/swarmlab/swarmlab/tui/terminal"
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
func newRoot(t theme.Theme, k keymap.Map, b Backend, catalogue []*drill.Drill, text string, first world.Model, feed <-chan world.Model, clock func() time.Time) root {
	pages := []page.Page{
		labmap.New(t, k, b), drills.New(t, k, b, catalogue), votes.New(t, k, b), events.New(t, k), logs.New(t, k, b),
		tutorial.New(t, k, text),
	}
	r := root{theme: t, keys: k, pages: pages, events: eventsPage, logs: logsPage, feed: feed, clock: clock, votes: b, seen: page.Seen{World: first, At: clock()}}
	r.jump, r.helped = t.Input(":", 20), scroll.New(k)
	r, _ = r.allOf(r.seen)
	return r
}

// Run shows the UI until somebody quits, or ctx ends.
func Run(ctx context.Context, t Terminal, b Backend, first world.Model, feed <-chan world.Model) error {
	t, renderer, giveBack, err := t.takeOver()
	if err != nil {
		return err
	}
	err = run(ctx, t, renderer, b, first, feed)
	return errors.Join(err, giveBack())
}

// takeOver makes the terminal the UI's alone, and settles what it looks like. It is asked now, and never again: whoever asks while the program
// reads its keys takes them from it.
func (t Terminal) takeOver() (Terminal, *lipgloss.Renderer, func() error, error) {
	renderer := lipgloss.NewRenderer(t.Out, termenv.WithEnvironment(console.Environment(t.Environ)))
	renderer.SetHasDarkBackground(terminal.Dark(t.Environ))
	nothing := func() error { return nil }
	file, ok := t.In.(*os.File)
	if !ok || !term.IsTerminal(file.Fd()) {
		return t, renderer, nothing, nil
	}
	in, err := terminal.Open(file, t.Out)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return t, renderer, nothing, nil
	case err != nil:
		return t, nil, nil, err
	}
	t.In = in
	if terminal.Answers(renderer.ColorProfile(), t.Environ) {
		if dark, ok := in.Background(terminal.Patience); ok {
			renderer.SetHasDarkBackground(dark)
		}
	}
	return t, renderer, in.Close, nil
}

func run(ctx context.Context, t Terminal, renderer *lipgloss.Renderer, b Backend, first world.Model, feed <-chan world.Model) error {
	p, err := program(ctx, t, renderer, b, first, feed)
	if err != nil {
		return err
	}
	if in, ok := t.In.(*terminal.Input); ok {
		defer suspends(p, in)()
	}
	if _, err := p.Run(); err != nil && !errors.Is(err, tea.ErrProgramKilled) {
		return fmt.Errorf("show the terminal UI: %w", err)
	}
	return nil
}

// program is the UI, on a renderer that knows what the terminal looks like.
func program(ctx context.Context, t Terminal, renderer *lipgloss.Renderer, b Backend, first world.Model, feed <-chan world.Model) (*tea.Program, error) {
	catalogue, err := drill.Catalogue()
	if err != nil {
		return nil, err
	}
	keys := keymap.New()
	if t.ReadOnly {
		keys = keys.Without()
	}
	r := newRoot(theme.New(renderer, t.Environ), keys, b, catalogue, t.Tutorial, first, feed, time.Now)
	// The command itself hears the signals, and ends ctx.
	return tea.NewProgram(r, tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithAltScreen(), tea.WithMouseCellMotion(), tea.WithoutSignalHandler()), nil
}
