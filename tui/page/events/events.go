// Package events is the page that tells what happened on the nodes, a line for each event.
package events

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/tail"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Model is the page.
type Model struct {
	theme  theme.Theme
	keys   keymap.Map
	tail   tail.Tail
	events []world.Event
	size   page.Size
}

// New makes the page.
func New(t theme.Theme, k keymap.Map) Model { return Model{theme: t, keys: k, tail: tail.New(t, k)} }

// Title implements page.Page.
func (m Model) Title() string { return "Events" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return m.tail.Typing() }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding { return m.tail.Keys() }

// Help implements page.Page.
func (m Model) Help() []key.Binding { return m.tail.Help() }

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.Seen:
		before := len(m.matching())
		m.events = msg.World.Events
		now := len(m.matching())
		m.tail = m.tail.Grown(max(now-before, 0), now, m.fits())
	case page.ShowEvents:
		m.tail = m.tail.Filtered(msg.Node)
	case tea.KeyMsg:
		var cmd tea.Cmd
		m.tail, cmd = m.tail.Pressed(msg, len(m.matching()), m.fits())
		widest := 0
		for _, l := range m.lines() {
			widest = max(widest, ansi.StringWidth(l))
		}
		m.tail = m.tail.Sideways(msg, widest, m.size.Width)
		return m, cmd
	}
	return m, nil
}

// fits is how many events can be shown, between a line above and one below.
func (m Model) fits() int { return max(m.size.Height-2, 1) }

// matching are the events that the filter lets through.
func (m Model) matching() []world.Event {
	if m.tail.Filter() == "" {
		return m.events
	}
	var found []world.Event
	for _, e := range m.events {
		if m.tail.Lets(e.Node + " " + e.Subject + " " + e.Action + " " + e.Message) {
			found = append(found, e)
		}
	}
	return found
}

// lines are the events in sight.
func (m Model) lines() []string {
	all := m.matching()
	from, to := m.tail.Window(len(all), m.fits())
	var lines []string
	for _, e := range all[from:to] {
		lines = append(lines, widget.Event(m.theme, e, m.size.Width))
	}
	return lines
}

// View implements page.Page.
func (m Model) View() string {
	t, all := m.theme, m.matching()
	head := widget.EventHead(t)
	switch {
	case m.tail.Typing(), m.tail.Filter() != "" && ansi.StringWidth(head)+1+ansi.StringWidth(m.tail.Filter()) > m.size.Width:
		head = m.tail.Filter()
	case m.tail.Filter() != "":
		head = widget.Ends(head, t.Accent.Render(m.tail.Filter()), m.size.Width)
	}
	var b strings.Builder
	b.WriteString(head)
	for _, l := range m.lines() {
		b.WriteString("\n" + m.tail.Cut(l, m.size.Width))
	}
	switch {
	case len(m.events) == 0:
		b.WriteString("\n" + t.Dim.Render("Nothing happened yet."))
	case len(all) == 0:
		b.WriteString("\n" + t.Dim.Render("No event contains this."))
	}
	foot := t.Dim.Render("follows what is new")
	if m.tail.Below() > 0 {
		foot = t.Warn.Render(widget.Number(float64(m.tail.Below())) + " newer below: " + m.keys.Follow.Help().Key + " follows")
	}
	body := widget.Fit(b.String(), m.size.Width, max(m.size.Height-1, 0))
	return body + "\n" + widget.Line(foot, m.size.Width)
}
