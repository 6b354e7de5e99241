// Package logs is the page that follows what a container, or a node's agent, prints.
package logs

import (
	"context"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/tail"
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
	tail   tail.Tail
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
	return Model{theme: t, keys: k, source: s, stop: func() {}, tail: tail.New(t, k)}
}

// Title implements page.Page.
func (m Model) Title() string { return "Logs" }

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
	case page.ShowLogs:
		return m.follow(msg)
	case arrived:
		if msg.run != m.run {
			return m, nil
		}
		m.lines = append(m.lines, msg.lines...)
		m.lines = m.lines[max(len(m.lines)-maxLines, 0):]
		m.tail = m.tail.Grown(len(m.matching(msg.lines)), len(m.matching(m.lines)), m.fits())
		if msg.over {
			m.ended = msg.ended
			return m, nil
		}
		return m, next(m.feed)
	case tea.KeyMsg:
		var cmd tea.Cmd
		m.tail, cmd = m.tail.Pressed(msg, len(m.matching(m.lines)), m.fits())
		widest := 0
		for _, l := range m.inSight() {
			widest = max(widest, ansi.StringWidth(l))
		}
		m.tail = m.tail.Sideways(msg, widest, m.size.Width)
		return m, cmd
	}
	return m, nil
}

// matching are the lines that the filter lets through.
func (m Model) matching(lines []string) []string {
	if m.tail.Filter() == "" {
		return lines
	}
	var found []string
	for _, l := range lines {
		if m.tail.Lets(l) {
			found = append(found, l)
		}
	}
	return found
}

// follow begins a stream, in place of the one before.
func (m Model) follow(of page.ShowLogs) (page.Page, tea.Cmd) {
	m.stop()
	ctx, cancel := context.WithCancel(context.Background())
	m.run++
	m.of, m.lines, m.ended, m.tail, m.stop, m.feed = of, nil, "", m.tail.Filtered(""), cancel, make(chan tea.Msg)
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

func (m Model) fits() int { return max(m.size.Height-len(m.head()), 1) }

// head says whose lines these are, and why there are no more: in a line, or in as many as it takes.
func (m Model) head() []string {
	t, name := m.theme, m.of.Container
	if name == "" {
		name = "the agent"
	}
	name += " on " + m.of.Node
	style, state := t.Good, "follows"
	switch {
	case m.ended != "":
		style, state = t.Warn, widget.Plain(m.ended)
	case m.tail.Below() > 0:
		style, state = t.Warn, widget.Number(float64(m.tail.Below()))+" newer below: "+m.keys.Follow.Help().Key+" follows"
	}
	filter := ""
	if word := m.tail.Filter(); word != "" {
		filter = t.Accent.Render(word) + "  "
	}
	if right := filter + style.Render(state); ansi.StringWidth(name)+1+ansi.StringWidth(right) <= m.size.Width {
		return []string{widget.Ends(t.Bold.Render(name), right, m.size.Width)}
	}
	lines := []string{t.Bold.Render(name)}
	if filter != "" {
		lines = append(lines, filter)
	}
	for _, l := range widget.Wrap(state, m.size.Width) {
		lines = append(lines, style.Render(l))
	}
	return lines
}

// inSight are the lines in sight.
func (m Model) inSight() []string {
	all := m.matching(m.lines)
	from, to := m.tail.Window(len(all), m.fits())
	var lines []string
	for _, l := range all[from:to] {
		lines = append(lines, widget.Plain(l))
	}
	return lines
}

// View implements page.Page.
func (m Model) View() string {
	t := m.theme
	if m.of.Node == "" {
		var lines []string
		for _, l := range widget.Wrap("Select a node or a container on the page Lab, and press "+m.keys.Logs.Help().Key+".", m.size.Width) {
			lines = append(lines, t.Dim.Render(l))
		}
		return widget.Fit(widget.Join(lines), m.size.Width, m.size.Height)
	}
	lines := m.head()
	for _, l := range m.inSight() {
		lines = append(lines, m.tail.Cut(l, m.size.Width))
	}
	switch {
	case len(m.lines) == 0:
		lines = append(lines, t.Dim.Render("Nothing was printed yet."))
	case len(m.matching(m.lines)) == 0:
		lines = append(lines, t.Dim.Render("No line contains this."))
	}
	return widget.Fit(widget.Join(lines), m.size.Width, m.size.Height)
}
