// Package votes is the page that draws how votes are doing: captured, waiting, counted.
package votes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Model is the page.
type Model struct {
	theme   theme.Theme
	keys    keymap.Map
	unicode bool
	seen    page.Seen
	size    page.Size
}

// New makes the page; unicode draws with finer blocks.
func New(t theme.Theme, k keymap.Map, unicode bool) Model {
	return Model{theme: t, keys: k, unicode: unicode}
}

// Title implements page.Page.
func (m Model) Title() string { return "Votes" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return false }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding { return []key.Binding{m.keys.Faster, m.keys.Slower} }

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.Seen:
		m.seen = msg
	}
	return m, nil
}

// scale is the width of the numbers beside a chart.
const scale = 8

// View implements page.Page.
func (m Model) View() string {
	samples := m.seen.World.Samples
	charts := []chart{
		{"captured", "votes a second", m.theme.Accent, values(samples, func(s world.Sample) float64 { return s.Captured })},
		{"counted", "votes a second", m.theme.Good, values(samples, func(s world.Sample) float64 { return s.Counted })},
	}
	for _, name := range queues(samples) {
		charts = append(charts, chart{"queue of " + name, "votes that wait", m.theme.Warn, values(samples, func(s world.Sample) float64 {
			if n, ok := s.Queued[name]; ok {
				return float64(n)
			}
			return -1
		})})
	}
	height := min(max((m.size.Height-len(charts))/len(charts), 1), 9)
	var b strings.Builder
	for _, c := range charts {
		b.WriteString(m.draw(c, height) + "\n")
	}
	return widget.Fit(strings.TrimSuffix(b.String(), "\n"), m.size.Width, m.size.Height)
}

type chart struct {
	name, unit string
	style      lipgloss.Style
	values     []float64
}

func values(samples []world.Sample, of func(world.Sample) float64) []float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	return all
}

// queues are the frontends that ever told of theirs.
func queues(samples []world.Sample) []string {
	names := map[string]bool{}
	for _, s := range samples {
		for name := range s.Queued {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// draw draws a chart with its name above and its scale beside.
func (m Model) draw(c chart, height int) string {
	width := max(m.size.Width-scale-1, 1)
	shown := c.values[max(len(c.values)-width, 0):]
	top, now := 1.0, -1.0
	for _, v := range shown {
		top = max(top, v)
	}
	if len(shown) > 0 {
		now = shown[len(shown)-1]
	}
	head := widget.Ends(m.theme.Bold.Render(c.name)+" "+m.theme.Dim.Render(c.unit), fmt.Sprintf("now %s, at most %s in %d s", widget.Number(now), widget.Number(top), len(shown)), m.size.Width)
	lines := []string{head}
	for i, row := range widget.Chart(shown, width, height, top, m.unicode) {
		label := ""
		switch i {
		case 0:
			label = widget.Number(top)
		case height - 1:
			label = "0"
		}
		lines = append(lines, m.theme.Dim.Render(fmt.Sprintf("%*s ", scale, label))+c.style.Render(row))
	}
	return strings.Join(lines, "\n")
}
