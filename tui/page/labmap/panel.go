package labmap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/watch"
	"github.com/swarmlab/swarmlab/tui/widget"
	"github.com/swarmlab/swarmlab/tui/world"
)

const (
	// leastPanel is the height below which the panel is left out.
	leastPanel = 4
	// tallestStrip bounds the height of a chart in the panel.
	tallestStrip = 10
)

// panel stands under the map: how votes were doing to the left, what is selected and what happened to the right.
func (m Model) panel(width, height int) string {
	left := (width - 2) / 2
	right := width - 2 - left
	charts, words := strings.Split(widget.Fit(m.charts(left, height), left, height), "\n"), strings.Split(widget.Fit(m.words(right, height), right, height), "\n")
	for i := range charts {
		charts[i] += "  " + words[i]
	}
	return strings.Join(charts, "\n")
}

func (m Model) charts(width, height int) string {
	t, samples := m.theme, m.seen.World.Samples
	strips := []struct {
		name  string
		style lipgloss.Style
		of    func(watch.Rates) float64
	}{
		{"captured/s", t.Accent, func(r watch.Rates) float64 { return r.Captured }},
		{"waiting", t.Warn, func(r watch.Rates) float64 { return float64(r.Waiting()) }},
		{"counted/s", t.Good, func(r watch.Rates) float64 { return r.Counted }},
	}
	// A line between two charts, so that one's top is not the other's floor.
	each := min(max((height+1)/len(strips)-1, 1), tallestStrip)
	var lines []string
	for i, s := range strips {
		if i > 0 && each > 1 {
			lines = append(lines, "")
		}
		lines = append(lines, widget.Strip(t, s.style, s.name, watch.Series(samples, s.of), nil, width, each)...)
	}
	return strings.Join(lines, "\n")
}

// words tell of what is selected, and below that what happened last.
func (m Model) words(width, height int) string {
	lines := m.details()
	if len(lines) > 0 && len(lines) < height {
		lines = append(lines, "")
	}
	room := max(height-len(lines), 0)
	var events []world.Event
	for _, e := range slices.Backward(m.seen.World.Events) {
		if len(events) >= room {
			break
		}
		if m.selected.Node == "" || e.Node == m.selected.Node {
			events = append(events, e)
		}
	}
	for _, e := range slices.Backward(events) {
		lines = append(lines, widget.Event(m.theme, e, width))
	}
	if len(lines) == 0 {
		lines = append(lines, m.theme.Dim.Render("Nothing happened yet."))
	}
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], width, m.theme.Glyphs.Ellipsis)
	}
	return strings.Join(lines, "\n")
}

// known is what is known of what is selected, and all that happened there, in full.
func (m Model) known() []string {
	var lines []string
	for _, l := range m.details() {
		lines = append(lines, m.theme.Wrap(l, m.size.Width)...)
	}
	lines = append(lines, "")
	for _, e := range m.seen.World.Events {
		if e.Node == m.selected.Node {
			lines = append(lines, m.theme.Wrap(widget.Event(m.theme, e, m.size.Width), m.size.Width)...)
		}
	}
	return lines
}

// details are what there is to say of what is selected, the most important first.
func (m Model) details() []string {
	n, ok := m.seen.World.View.Node(m.selected.Node)
	if !ok {
		return nil
	}
	if m.selected.Container == "" {
		return m.ofNode(n)
	}
	for _, c := range n.Snapshot.GetContainers() {
		if c.GetName() == m.selected.Container {
			return m.ofContainer(n, c)
		}
	}
	return []string{m.theme.Warn.Render(m.selected.Container + " is not on " + n.Node.Name)}
}

func (m Model) ofNode(n fleet.NodeView) []string {
	t, s := m.theme, n.Snapshot
	lines := []string{t.Bold.Render(n.Node.Name) + " " + t.Dim.Render(n.Node.Role+" "+n.Node.Address.String())}
	say := func(style lipgloss.Style, format string, args ...any) {
		lines = append(lines, style.Render(widget.Plain(fmt.Sprintf(format, args...))))
	}
	if s == nil {
		if n.Err != nil {
			say(t.Bad, "silent for %s: %s", widget.Ago(m.seen.At.Sub(m.seen.World.Silent[n.Node.Name])), n.Err.Reason)
		}
		return lines
	}
	if e := s.GetEngine(); !e.GetUp() {
		say(t.Bad, "Docker is down: %s", e.GetError())
	}
	switch r := s.GetRole(); {
	case !r.GetRunning():
		say(t.Bad, "its role is not running: %s", r.GetError())
	case r.GetChecked() && r.GetHealthy():
		say(t.Good, "check: %s", either(r.GetMessage(), "healthy"))
	case r.GetChecked():
		say(t.Bad, "check: %s", r.GetMessage())
	}
	for _, p := range s.GetPending() {
		say(t.Warn, "to do: %s%s", p.GetStep(), after(": ", p.GetReason()))
	}
	if c := s.GetClock(); c.GetOffset() != nil && !c.GetReference() {
		style, stale := t.Dim, ""
		if c.GetOff() {
			style = t.Bad
		}
		if c.GetStale() {
			stale = ", as of " + widget.Ago(m.seen.At.Sub(c.GetMeasuredAt().AsTime())) + " ago"
		}
		say(style, "clock: %+.1f ms to the manager's%s", float64(c.GetOffset().AsDuration().Microseconds())/1000, stale)
	}
	return lines
}

func (m Model) ofContainer(n fleet.NodeView, c *agentv1.ContainerStatus) []string {
	t := m.theme
	state := either(widget.Plain(c.GetState()), "missing")
	if since := c.GetSince(); since != nil {
		state += " for " + widget.Ago(m.seen.At.Sub(since.AsTime()))
	}
	lines := []string{
		t.Bold.Render(widget.Plain(c.GetName())) + " " + t.Dim.Render("on "+n.Node.Name),
		fmt.Sprintf("%s, started again %d times", state, c.GetRestarts()),
		t.Dim.Render(widget.Plain(c.GetImage())),
	}
	for _, name := range slices.Sorted(maps.Keys(c.GetNetworks())) {
		lines = append(lines, t.Dim.Render(widget.Plain(name+" "+c.GetNetworks()[name])))
	}
	for _, trouble := range append(slices.Clone(c.GetDifferences()), c.GetError()) {
		if trouble != "" {
			lines = append(lines, t.Warn.Render(widget.Plain(trouble)))
		}
	}
	return lines
}

func either(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// after sets text behind what it explains, if there is any.
func after(link, text string) string {
	if text == "" {
		return ""
	}
	return link + text
}
