// Package logs is the page that follows what a container, or a node's agent, prints.
package logs

import (
	"context"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

// maxLines bounds what is kept.
const maxLines = 5000

// Source streams lines until ctx ends; container may be empty: the agent's own.
type Source interface {
	Logs(ctx context.Context, node, container string, line func(text string)) error
}

// Model is the page.
type Model struct {
	theme  theme.Theme
	keys   keymap.Map
	source Source
	size   page.Size
	of     page.ShowLogs
	lines  []string
	ended  string
	above  int
	// run tells the lines of this stream from those of one before.
	run  int
	stop context.CancelFunc
	feed chan tea.Msg
}

type arrived struct {
	run   int
	lines []string
	// ended says why there are no more.
	ended string
	over  bool
}

// New makes the page.
func New(t theme.Theme, k keymap.Map, s Source) Model {
	return Model{theme: t, keys: k, source: s, stop: func() {}}
}

// Title implements page.Page.
func (m Model) Title() string { return "Logs" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return false }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding {
	return []key.Binding{m.keys.Up, m.keys.Down, m.keys.Top, m.keys.Follow}
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.ShowLogs:
		return m.follow(msg)
	case arrived:
		if msg.run != m.run {
			return m, nil
		}
		m.lines = append(m.lines, msg.lines...)
		m.lines = m.lines[max(len(m.lines)-maxLines, 0):]
		if m.above > 0 {
			m.above = min(m.above+len(msg.lines), max(len(m.lines)-m.fits(), 0))
		}
		if msg.over {
			m.ended = msg.ended
			return m, nil
		}
		return m, next(m.feed)
	case tea.KeyMsg:
		last := max(len(m.lines)-m.fits(), 0)
		switch k := m.keys; {
		case key.Matches(msg, k.Up):
			m.above = min(m.above+1, last)
		case key.Matches(msg, k.Down):
			m.above = max(m.above-1, 0)
		case key.Matches(msg, k.Top):
			m.above = last
		case key.Matches(msg, k.Bottom), key.Matches(msg, k.Follow):
			m.above = 0
		}
	}
	return m, nil
}

// follow begins a stream, in place of the one before.
func (m Model) follow(of page.ShowLogs) (page.Page, tea.Cmd) {
	m.stop()
	ctx, cancel := context.WithCancel(context.Background())
	m.run++
	m.of, m.lines, m.ended, m.above, m.stop, m.feed = of, nil, "", 0, cancel, make(chan tea.Msg)
	run, feed, source := m.run, m.feed, m.source
	go func() {
		defer close(feed)
		send := func(a arrived) {
			select {
			case feed <- a:
			case <-ctx.Done():
			}
		}
		err := source.Logs(ctx, of.Node, of.Container, func(text string) { send(arrived{run: run, lines: []string{text}}) })
		ended := "it ended"
		if err != nil {
			ended = err.Error()
		}
		send(arrived{run: run, over: true, ended: ended})
	}()
	return m, next(feed)
}

// next waits for one message of a stream.
func next(feed chan tea.Msg) tea.Cmd { return func() tea.Msg { return <-feed } }

func (m Model) fits() int { return max(m.size.Height-1, 1) }

// View implements page.Page.
func (m Model) View() string {
	t := m.theme
	if m.of.Node == "" {
		return widget.Fit(t.Dim.Render("Select a node or a container on the page Lab, and press "+m.keys.Logs.Help().Key+"."), m.size.Width, m.size.Height)
	}
	name := m.of.Container
	if name == "" {
		name = "the agent"
	}
	state := t.Good.Render("follows")
	switch {
	case m.ended != "":
		state = t.Warn.Render(widget.Plain(m.ended))
	case m.above > 0:
		state = t.Warn.Render(widget.Number(float64(m.above)) + " newer below")
	}
	until := max(len(m.lines)-m.above, 0)
	var b strings.Builder
	b.WriteString(widget.Ends(t.Bold.Render(name+" on "+m.of.Node), state, m.size.Width))
	for _, l := range m.lines[max(until-m.fits(), 0):until] {
		b.WriteString("\n" + widget.Plain(l))
	}
	return widget.Fit(b.String(), m.size.Width, m.size.Height)
}
