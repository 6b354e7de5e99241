// Package labmap is the page that shows the lab as a map of what a vote passes, and lets people break it.
package labmap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/scroll"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

// lease is how long what is broken from here stays so.
const lease = 30 * time.Second

// Breaker breaks things, and mends them.
type Breaker interface {
	// Break breaks a container, or, if none is named, a node; peers are for a partition.
	Break(ctx context.Context, kind, node, container string, peers []string, lease time.Duration) error
	// Heal ends all faults.
	Heal(ctx context.Context) error
}

// Model is the page.
type Model struct {
	theme   theme.Theme
	keys    keymap.Map
	breaker Breaker
	seen    page.Seen
	size    page.Size
	// selected is kept by its name, since what stands on the map moves.
	selected Place
	// marked nodes are those from which the selected one is to be cut off; none: from all.
	marked []string
	// open: all that is known of what is selected stands in place of the map.
	open   bool
	scroll scroll.Scroll
}

// New makes the page.
func New(t theme.Theme, k keymap.Map, b Breaker) Model {
	return Model{theme: t, keys: k, breaker: b, scroll: scroll.New(k)}
}

// Title implements page.Page.
func (m Model) Title() string { return "Lab" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return false }

// View implements page.Page: the map, and what room it leaves is the panel's.
func (m Model) View() string {
	if m.open {
		return m.scroll.View(m.theme, m.known(), m.size.Width, m.size.Height)
	}
	top := m.drawing().draw()
	room := m.size.Height - strings.Count(top, "\n") - 2
	if room >= leastPanel {
		top += "\n\n" + m.panel(m.size.Width, room)
	}
	return widget.Fit(top, m.size.Width, m.size.Height)
}

func (m Model) drawing() *drawing {
	box, gap := shape(m.size.Width)
	return &drawing{
		world: m.seen.World, theme: m.theme, now: m.seen.At, selected: m.selected, marked: m.marked,
		width: m.size.Width, height: m.size.Height, box: box, gap: gap,
	}
}

// Keys implements page.Page.
func (m Model) Keys() []key.Binding {
	k := m.keys
	open := keymap.As(k.Enter, "details")
	switch {
	case m.selected == (Place{}):
		return []key.Binding{k.Down, k.Right, k.Faster, k.Slower, k.Heal}
	case m.open:
		return []key.Binding{keymap.As(k.Back, "map"), k.Up, k.Down, k.PageUp, k.PageDown, k.Logs, k.Events}
	case m.selected.Container == "":
		return []key.Binding{k.PowerOff, k.Pause, k.Stop, k.Kill, k.Partition, k.Mark, open, k.Logs, k.Events, k.Heal, k.Back}
	}
	return []key.Binding{k.Kill, k.Stop, k.Pause, open, k.Logs, k.Events, k.Heal, k.Faster, k.Slower, k.Back}
}

// Help implements page.Page. The keys that break something are told also when nothing is selected that they could break.
func (m Model) Help() []key.Binding {
	k := m.keys
	return []key.Binding{
		keymap.As(k.Kill, "kill: SIGKILL to the main process of the container, or to the Docker engine of the node. It crashes and is started again at once"),
		keymap.As(k.Stop, "stop: stops the container in order, or the Docker engine of the node with its containers. It stays down until the fault ends"),
		keymap.As(k.Pause, "freeze: pauses all processes of the container, or of the whole node. Connections stay open, and nothing answers"),
		keymap.As(k.PowerOff, "power off: cuts the power of the node, without a shutdown. It starts again when the fault ends. For nodes only"),
		keymap.As(k.Partition, "cut off: drops all packets between the node and the marked nodes, or all other nodes if none is marked. For nodes only"),
		keymap.As(k.Mark, "mark or unmark the node, for cutting off another one from it"),
		keymap.As(k.Heal, fmt.Sprintf("end all faults now. Each fault started here ends by itself after %s", lease)),
		keymap.As(k.Enter, "details of the selected container or node"),
		keymap.As(k.Logs, "logs of the container, or of the node's agent"),
		keymap.As(k.Events, "events of the node"),
		k.Up, k.Down, k.Left, k.Right, k.PageUp, k.PageDown, k.Top, k.Bottom,
		keymap.As(k.Back, "clear the selection and the marks"),
	}
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.Seen:
		m.seen = msg
	case tea.KeyMsg:
		return m.pressed(msg)
	case tea.MouseMsg:
		if !m.open && msg.Action == tea.MouseActionPress && msg.Button == tea.MouseButtonLeft {
			if hit, ok := m.drawing().at(msg.X, msg.Y); ok {
				m.selected = hit
			}
		}
	}
	return m, nil
}

func (m Model) pressed(msg tea.KeyMsg) (page.Page, tea.Cmd) {
	k := m.keys
	if m.open {
		if key.Matches(msg, k.Back, k.Enter) {
			m.open = false
			return m, nil
		}
		var taken bool
		if m.scroll, taken = m.scroll.Pressed(msg, len(m.known()), m.size.Height); taken {
			return m, nil
		}
	}
	switch {
	case key.Matches(msg, k.Up):
		m.selected = m.move(0, -1)
	case key.Matches(msg, k.Down):
		m.selected = m.move(0, 1)
	case key.Matches(msg, k.Left):
		m.selected = m.move(-1, 0)
	case key.Matches(msg, k.Right):
		m.selected = m.move(1, 0)
	case key.Matches(msg, k.PageUp):
		m.selected = m.move(0, -aPage)
	case key.Matches(msg, k.PageDown):
		m.selected = m.move(0, aPage)
	case key.Matches(msg, k.Top):
		m.selected = m.move(0, -toEnd)
	case key.Matches(msg, k.Bottom):
		m.selected = m.move(0, toEnd)
	case key.Matches(msg, k.Back):
		m.selected, m.marked = Place{}, nil
	case key.Matches(msg, k.Heal):
		return m, m.ask("End all faults now?", func(ctx context.Context) (string, error) { return "all faults are over", m.breaker.Heal(ctx) })
	case m.selected == (Place{}):
	case key.Matches(msg, k.Enter):
		m.open, m.scroll = true, scroll.New(k)
	case key.Matches(msg, k.Logs):
		return m, func() tea.Msg { return page.ShowLogs{Node: m.selected.Node, Container: m.selected.Container} }
	case key.Matches(msg, k.Events):
		return m, func() tea.Msg { return page.ShowEvents{Node: m.selected.Node} }
	case key.Matches(msg, k.Mark):
		m.marked = toggled(m.marked, m.selected.Node)
	default:
		if kind := m.kind(msg); kind != "" {
			return m, m.breakIt(kind)
		}
	}
	return m, nil
}

// kind is the fault that a key means for what is selected.
func (m Model) kind(msg tea.KeyMsg) string {
	k, node := m.keys, m.selected.Container == ""
	for _, f := range []struct {
		key               key.Binding
		ofNode, container string
	}{
		{k.Kill, string(faultkind.EngineKill), string(faultkind.Kill)},
		{k.Stop, string(faultkind.EngineStop), string(faultkind.Stop)},
		{k.Pause, string(powerfault.Freeze), string(faultkind.Pause)},
		{k.PowerOff, string(powerfault.PowerOff), ""},
		{k.Partition, string(faultkind.Partition), ""},
	} {
		if !key.Matches(msg, f.key) {
			continue
		}
		if node {
			return f.ofNode
		}
		return f.container
	}
	return ""
}

func (m Model) breakIt(kind string) tea.Cmd {
	target := m.selected
	var peers []string
	question := fmt.Sprintf("%s %s, for %s?", kind, target, lease)
	if kind == string(faultkind.Partition) {
		from := "all other nodes"
		peers = m.peers(target.Node)
		if len(peers) < len(m.seen.World.View.Nodes)-1 {
			from = strings.Join(peers, ", ")
		}
		question = fmt.Sprintf("Cut %s off from %s, for %s?", target, from, lease)
	}
	return m.ask(question, func(ctx context.Context) (string, error) {
		return fmt.Sprintf("%s %s: it ends by itself in %s", kind, target, lease), m.breaker.Break(ctx, kind, target.Node, target.Container, peers, lease)
	})
}

// peers are the marked nodes, or, if no other one is, all others.
func (m Model) peers(of string) []string {
	var all, marked []string
	for _, n := range m.seen.World.View.Nodes {
		if name := n.Node.Name; name != of {
			all = append(all, name)
			if slices.Contains(m.marked, name) {
				marked = append(marked, name)
			}
		}
	}
	if len(marked) > 0 {
		return marked
	}
	return all
}

// toggled takes a name in, or out if it is there.
func toggled(names []string, name string) []string {
	if i := slices.Index(names, name); i >= 0 {
		return slices.Delete(slices.Clone(names), i, i+1)
	}
	return append(slices.Clone(names), name)
}

// ask has the root ask, and tells what became of it.
func (m Model) ask(question string, do func(context.Context) (string, error)) tea.Cmd {
	return func() tea.Msg {
		return page.Ask{Question: question, Do: func() tea.Msg {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			text, err := do(ctx)
			if err != nil {
				return page.Told{Text: err.Error(), Bad: true}
			}
			return page.Told{Text: text}
		}}
	}
}

// How far keys move in a column, in lines: a page, and to its end, which is not that far away.
const (
	aPage = 10
	toEnd = 1 << 20
)

// move goes from what is selected to what stands beside it.
func (m Model) move(columnsOn, on int) Place {
	var all [][]Place
	for _, nodes := range columns(m.seen.World) {
		if p := places(nodes); len(p) > 0 {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return Place{}
	}
	column, row := -1, 0
	for c, ps := range all {
		if i := slices.Index(ps, m.selected); i >= 0 {
			column, row = c, i
		}
	}
	if column < 0 {
		return all[0][0]
	}
	column = min(max(column+columnsOn, 0), len(all)-1)
	row = min(max(row+on, 0), len(all[column])-1)
	return all[column][row]
}
