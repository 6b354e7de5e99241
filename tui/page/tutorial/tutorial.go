// Package tutorial is the page that shows the tutorial, HOWTO.md, beside the lab that it is about.
package tutorial

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/scroll"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

// widest is the widest that text is set.
const widest = 100

// Model is the page.
type Model struct {
	theme theme.Theme
	keys  keymap.Map
	text  string
	size  page.Size
	// lines are the text, set for the size.
	lines  []string
	scroll scroll.Scroll
}

// New makes the page of a text in Markdown.
func New(t theme.Theme, k keymap.Map, markdown string) Model {
	return Model{theme: t, keys: k, text: markdown, scroll: scroll.New(k)}
}

// Title implements page.Page.
func (m Model) Title() string { return "Tutorial" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return false }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding { return m.scroll.Keys() }

// Help implements page.Page.
func (m Model) Help() []key.Binding {
	return append(m.scroll.Keys(), keymap.As(m.keys.Left, "page up"), keymap.As(m.keys.Right, "page down"))
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
		m.lines = m.set()
	case tea.KeyMsg:
		switch {
		case key.Matches(msg, m.keys.Left):
			msg = tea.KeyMsg{Type: tea.KeyPgUp}
		case key.Matches(msg, m.keys.Right):
			msg = tea.KeyMsg{Type: tea.KeyPgDown}
		}
		m.scroll, _ = m.scroll.Pressed(msg, len(m.lines), m.size.Height)
	}
	return m, nil
}

// set breaks the text into lines: headings stand out, code keeps its lines.
func (m Model) set() []string {
	t, width := m.theme, min(m.size.Width, widest)
	var lines []string
	code := false
	for l := range strings.Lines(m.text) {
		l = widget.Plain(strings.TrimRight(l, "\r\n"))
		switch {
		case strings.HasPrefix(l, "```"):
			code = !code
		case code:
			for _, part := range strings.Split(ansi.Hardwrap(l, max(m.size.Width, 1), true), "\n") {
				lines = append(lines, t.Accent.Render(part))
			}
		case strings.HasPrefix(l, "#"):
			for _, part := range widget.Wrap(strings.TrimLeft(l, "# "), width) {
				lines = append(lines, t.Bold.Render(part))
			}
		default:
			lines = append(lines, strings.Split(ansi.Wrap(l, max(width, 1), ""), "\n")...)
		}
	}
	return lines
}

// View implements page.Page.
func (m Model) View() string {
	if m.text == "" {
		return widget.Fit(m.theme.Dim.Render("HOWTO.md is not in this clone."), m.size.Width, m.size.Height)
	}
	return m.scroll.View(m.theme, m.lines, m.size.Width, m.size.Height)
}
