// Package events is the page that tells what happened on the nodes, a line for each event.
package events

import (
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Model is the page.
type Model struct {
	theme  theme.Theme
	keys   keymap.Map
	filter textinput.Model
	events []world.Event
	size   page.Size
	// above is how many lines there are below the last one shown; 0 follows what is new.
	above int
}

// New makes the page.
func New(t theme.Theme, k keymap.Map) Model {
	filter := textinput.New()
	filter.Prompt, filter.CharLimit = "/", 60
	return Model{theme: t, keys: k, filter: filter}
}

// Title implements page.Page.
func (m Model) Title() string { return "Events" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return m.filter.Focused() }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding {
	return []key.Binding{m.keys.Up, m.keys.Down, m.keys.Filter, m.keys.Follow, m.keys.Back}
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.Seen:
		before := len(m.matching())
		m.events = msg.World.Events
		if m.above > 0 { // what is read does not move
			m.above += max(len(m.matching())-before, 0)
		}
	case tea.KeyMsg:
		return m.pressed(msg)
	}
	return m, nil
}

func (m Model) pressed(msg tea.KeyMsg) (page.Page, tea.Cmd) {
	k := m.keys
	if m.filter.Focused() {
		switch msg.Type {
		case tea.KeyEsc:
			m.filter.SetValue("")
			m.filter.Blur()
			return m, nil
		case tea.KeyEnter:
			m.filter.Blur()
			return m, nil
		}
		var cmd tea.Cmd
		m.filter, cmd = m.filter.Update(msg)
		m.above = 0
		return m, cmd
	}
	last := max(len(m.matching())-m.lines(), 0)
	switch {
	case key.Matches(msg, k.Filter):
		return m, m.filter.Focus()
	case key.Matches(msg, k.Back):
		m.filter.SetValue("")
	case key.Matches(msg, k.Up):
		m.above = min(m.above+1, last)
	case key.Matches(msg, k.Down):
		m.above = max(m.above-1, 0)
	case key.Matches(msg, k.Top):
		m.above = last
	case key.Matches(msg, k.Bottom), key.Matches(msg, k.Follow):
		m.above = 0
	}
	return m, nil
}

// lines is how many events fit.
func (m Model) lines() int { return max(m.size.Height-2, 1) }

// matching are the events that the filter lets through.
func (m Model) matching() []world.Event {
	word := strings.ToLower(strings.TrimSpace(m.filter.Value()))
	if word == "" {
		return m.events
	}
	var found []world.Event
	for _, e := range m.events {
		if strings.Contains(strings.ToLower(e.Node+" "+e.Subject+" "+e.Action+" "+e.Message), word) {
			found = append(found, e)
		}
	}
	return found
}

// View implements page.Page.
func (m Model) View() string {
	t, all := m.theme, m.matching()
	head := t.Dim.Render("TIME      NODE        WHAT         HAPPENED")
	switch {
	case m.filter.Focused():
		head = m.filter.View()
	case m.filter.Value() != "":
		head = widget.Ends(head, t.Accent.Render("/"+m.filter.Value()), m.size.Width)
	}
	var b strings.Builder
	b.WriteString(head)
	until := max(len(all)-m.above, 0)
	for _, e := range all[max(until-m.lines(), 0):until] {
		b.WriteString("\n" + m.line(e))
	}
	if len(all) == 0 {
		b.WriteString("\n" + t.Dim.Render("Nothing happened yet."))
	}
	body := widget.Fit(b.String(), m.size.Width, max(m.size.Height-1, 0))
	foot := t.Dim.Render("follows what is new")
	if m.above > 0 {
		foot = t.Warn.Render(widget.Number(float64(m.above)) + " newer below: f follows")
	}
	return body + "\n" + widget.Line(foot, m.size.Width)
}

func (m Model) line(e world.Event) string {
	t := m.theme
	style := t.Dim
	switch e.Action {
	case "die", "oom", "unreachable", "unhealthy", "fault-injected":
		style = t.Bad
	case "start", "reachable", "healthy", "fault-ended":
		style = t.Good
	}
	text := widget.Plain(e.Action)
	if e.Message != "" {
		text += ": " + widget.Plain(e.Message)
	}
	return t.Dim.Render(e.At.Local().Format(time.TimeOnly)) + "  " + widget.Line(widget.Plain(e.Node), 11) + " " + widget.Line(widget.Plain(e.Subject), 12) + " " + style.Render(text)
}
