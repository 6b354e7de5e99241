// Package tutorial is the page that shows the tutorial, HOWTO.md, beside the lab that it is about.
package tutorial

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
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
	// lines are the text, set for the size; from is the first that is shown.
	lines []string
	from  int
}

// New makes the page of a text in Markdown.
func New(t theme.Theme, k keymap.Map, markdown string) Model {
	return Model{theme: t, keys: k, text: markdown}
}

// Title implements page.Page.
func (m Model) Title() string { return "Tutorial" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return false }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding {
	return []key.Binding{m.keys.Up, m.keys.Down, m.keys.Left, m.keys.Right, m.keys.Top, m.keys.Bottom}
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
		m.lines = m.set()
		m.from = m.within(m.from)
	case tea.KeyMsg:
		switch k := m.keys; {
		case key.Matches(msg, k.Up):
			m.from = m.within(m.from - 1)
		case key.Matches(msg, k.Down):
			m.from = m.within(m.from + 1)
		case key.Matches(msg, k.Left):
			m.from = m.within(m.from - m.size.Height)
		case key.Matches(msg, k.Right):
			m.from = m.within(m.from + m.size.Height)
		case key.Matches(msg, k.Top):
			m.from = 0
		case key.Matches(msg, k.Bottom):
			m.from = m.within(len(m.lines))
		}
	}
	return m, nil
}

func (m Model) within(from int) int { return max(min(from, len(m.lines)-m.size.Height), 0) }

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
			lines = append(lines, t.Accent.Render(l))
		case strings.HasPrefix(l, "#"):
			lines = append(lines, t.Bold.Render(ansi.Truncate(strings.TrimLeft(l, "# "), width, t.Glyphs.Ellipsis)))
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
	return widget.Fit(strings.Join(m.lines[min(m.from, len(m.lines)):], "\n"), m.size.Width, m.size.Height)
}
