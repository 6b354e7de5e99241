package labmap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Place is a node, or a container on one.
type Place struct{ Node, Container string }

func (p Place) String() string {
	if p.Container == "" {
		return p.Node
	}
	return p.Container
}

// columns are the nodes in the order in which a vote meets them; who carries no votes stands under the balancer.
func columns(w world.Model) [][]fleet.NodeView {
	var all [][]fleet.NodeView
	for _, role := range world.Roles() {
		all = append(all, w.OfRole(role))
	}
	for _, n := range w.View.Nodes {
		if !slices.Contains(world.Roles(), n.Node.Role) {
			all[0] = append(all[0], n)
		}
	}
	return all
}

// places are what can be selected in a column, from the top.
func places(nodes []fleet.NodeView) []Place {
	var all []Place
	for _, n := range nodes {
		all = append(all, Place{Node: n.Node.Name})
		for _, c := range n.Snapshot.GetContainers() {
			all = append(all, Place{n.Node.Name, c.GetName()})
		}
	}
	return all
}

// What the map needs to be of use.
const (
	boxes    = 4
	leastBox = 12
	leastGap = 3
)

// drawing is the map on its way to the screen.
type drawing struct {
	world    world.Model
	theme    theme.Theme
	now      time.Time
	selected Place
	// marked nodes are those from which another one is to be cut off.
	marked []string
	// width and height of what may be filled; box and gap are the widths that follow from it.
	width, height, box, gap int
}

// shape is where the parts of the map stand: boxes of a width, a gap between them.
func shape(width int) (box, gap int) {
	gap = max(leastGap, min(width/16, 12))
	box = min(max((width-gap*(boxes-1))/boxes, leastBox), 40)
	return box, min(max((width-box*boxes)/(boxes-1), leastGap), 16)
}

// headings say what the columns are, where there is room.
func headings() []string {
	return []string{"balancer", "voting, queue", "worker", "results"}
}

// headingLines is the height of the headings.
const headingLines = 1

// leastMap is the height below which the map needs every line for itself.
const leastMap = 18

// headed is how many lines stand above the boxes.
func (d *drawing) headed() int {
	if d.height < leastMap {
		return 0
	}
	return headingLines
}

// room is the height that the summary and the headings leave for the boxes.
func (d *drawing) room(summary []string) int { return d.height - len(summary) - 1 - d.headed() }

// draw draws the map, and the lab in a line or two below it; the text is as wide as it may be, and at most so high.
func (d *drawing) draw() string {
	votes := d.world.Now()
	rates := []float64{votes.Captured, votes.Counted, votes.Counted}
	summary := d.summary()
	room, tallest := d.room(summary), 0
	var texts []string
	for i, nodes := range columns(d.world) {
		lines, _ := d.column(nodes, room)
		if d.headed() > 0 {
			lines = append([]string{d.theme.Dim.Render(ansi.Truncate(" "+headings()[i], d.box, ""))}, lines...)
		}
		texts = append(texts, strings.Join(lines, "\n"))
		tallest = max(tallest, len(lines))
	}
	var parts []string
	for i, text := range texts {
		if i > 0 {
			arrow := strings.Repeat("\n", d.headed()) + d.arrow(rates[i-1])
			parts = append(parts, widget.Fit(arrow, d.gap, tallest))
		}
		parts = append(parts, widget.Fit(text, d.box, tallest))
	}
	body := lipgloss.JoinHorizontal(lipgloss.Top, parts...)
	return body + "\n\n" + strings.Join(summary, "\n")
}

// at is what stands in a cell of the map.
func (d *drawing) at(x, y int) (Place, bool) {
	column := x / (d.box + d.gap)
	all := columns(d.world)
	y -= d.headed()
	if x < 0 || y < 0 || column >= len(all) || x%(d.box+d.gap) >= d.box {
		return Place{}, false
	}
	_, hits := d.column(all[column], d.room(d.summary()))
	if y >= len(hits) {
		return Place{}, false
	}
	return hits[y], hits[y] != (Place{})
}

// arrow stands beside the first box of a column.
func (d *drawing) arrow(rate float64) string {
	text := widget.Number(rate)
	if d.gap >= len(text)+2 {
		text += "/s"
	}
	pad := max((d.gap-ansi.StringWidth(text))/2, 0)
	line := strings.Repeat(d.theme.Glyphs.Line, max(d.gap-2, 0)) + d.theme.Glyphs.Arrow
	style := d.theme.Accent
	if rate <= 0 {
		style = d.theme.Dim
	}
	return "\n" + strings.Repeat(" ", pad) + style.Render(text) + "\n" + " " + style.Render(line)
}

// column draws nodes one under the other, in boxes where these fit; hits are what stands on each line.
func (d *drawing) column(nodes []fleet.NodeView, height int) (lines []string, hits []Place) {
	inside := make([][]line, len(nodes))
	all := 0
	for i, n := range nodes {
		inside[i] = d.inside(n)
		all += 2 + len(inside[i])
	}
	if all > height {
		return d.list(nodes, inside, max(height, 1))
	}
	for i, n := range nodes {
		title, border := d.title(n)
		node := Place{Node: n.Node.Name}
		hits = append(hits, node)
		var texts []string
		for _, l := range inside[i] {
			texts, hits = append(texts, l.text()), append(hits, l.place)
		}
		lines = append(lines, strings.Split(widget.Box(d.theme, border, title, texts, d.box), "\n")...)
		hits = append(hits, node)
	}
	return lines, hits
}

// list draws nodes without boxes: so many lines of them as fit, with what is selected in sight.
func (d *drawing) list(nodes []fleet.NodeView, inside [][]line, height int) (lines []string, hits []Place) {
	var rows []line
	for i, n := range nodes {
		title := func() string { text, _ := d.title(n); return text }
		rows = append(rows, line{title, Place{Node: n.Node.Name}})
		for _, l := range inside[i] {
			rows = append(rows, line{func() string { return " " + l.text() }, l.place})
		}
	}
	at := slices.IndexFunc(rows, func(l line) bool { return l.place == d.selected })
	from := min(max(at-height/2, 0), max(len(rows)-height, 0))
	to := min(from+height, len(rows))
	for i := from; i < to; i++ {
		text, place := "", Place{}
		switch {
		case i == from && from > 0:
			text = d.theme.Dim.Render(fmt.Sprintf("%d lines above", from+1))
		case i == to-1 && to < len(rows):
			text = d.theme.Dim.Render(fmt.Sprintf("%d lines more", len(rows)-to+1))
		default:
			text, place = rows[i].text(), rows[i].place
		}
		lines, hits = append(lines, text), append(hits, place)
	}
	return lines, hits
}

// line of a box, and what it is about. It is drawn only where it is seen: a large lab has a thousand of them.
type line struct {
	text  func() string
	place Place
}

// title says how a node is.
func (d *drawing) title(n fleet.NodeView) (string, lipgloss.Style) {
	t := d.theme
	glyph, style, border := t.Glyphs.Good, t.Good, t.Dim
	since := ""
	switch {
	case n.Snapshot == nil && n.Err == nil:
		glyph, style = t.Glyphs.Unknown, t.Dim
	case n.Snapshot == nil:
		glyph, style, border = t.Glyphs.Bad, t.Bad, t.Bad
		since = " " + widget.Ago(d.now.Sub(d.world.Silent[n.Node.Name]))
	case !n.Ready(d.world.Stage):
		glyph, style, border = t.Glyphs.Warn, t.Warn, t.Warn
	}
	name := n.Node.Name
	if d.selected == (Place{Node: name}) {
		name = t.Selected.Render(name)
	}
	if slices.Contains(d.marked, n.Node.Name) {
		since = " " + t.Glyphs.Marked + since
	}
	return style.Render(glyph) + " " + name + style.Render(since), border
}

// inside is what stands in a node's box.
func (d *drawing) inside(n fleet.NodeView) []line {
	t, node := d.theme, Place{Node: n.Node.Name}
	var lines []line
	say := func(text string) { lines = append(lines, line{func() string { return text }, node}) }
	for _, o := range d.world.PowerFaults {
		if o.Node == n.Node.Name {
			say(t.Bad.Render(fmt.Sprintf("%s %s %s", t.Glyphs.Fault, widget.Ago(o.Deadline.Sub(d.now)), o.Kind)))
		}
	}
	if n.Snapshot == nil {
		reason := "not heard of yet"
		if n.Err != nil {
			reason = n.Err.Reason
		}
		say(t.Dim.Render(ansi.Truncate(widget.Plain(reason), d.box-2, t.Glyphs.Ellipsis)))
		return lines
	}
	for _, c := range n.Snapshot.GetContainers() {
		lines = append(lines, line{func() string { return d.container(n, c) }, Place{n.Node.Name, c.GetName()}})
	}
	switch up, known := d.world.Servers[n.Node.Name]; {
	case n.Node.Role != topology.RoleFrontend || d.world.Servers == nil:
	case !known:
		say(t.Warn.Render("not registered"))
	case !up:
		say(t.Bad.Render("server down"))
	}
	for _, f := range n.Snapshot.GetFaults() {
		left := widget.Ago(f.GetLeft().AsDuration() - d.now.Sub(n.Snapshot.GetTakenAt().AsTime()))
		if f.GetEnding() {
			left = "ending"
		}
		say(t.Bad.Render(ansi.Truncate(fmt.Sprintf("%s %s %s", t.Glyphs.Fault, left, faultkind.TextOf(f)), d.box-2, t.Glyphs.Ellipsis)))
	}
	if !n.Snapshot.GetEngine().GetUp() {
		say(t.Bad.Render("engine is down"))
	}
	return lines
}

// container says how a container is; of a queue, how many votes wait.
func (d *drawing) container(n fleet.NodeView, c *agentv1.ContainerStatus) string {
	t := d.theme
	glyph, style := t.Glyphs.Bad, t.Bad
	switch {
	case !n.Snapshot.GetEngine().GetUp():
		glyph, style = t.Glyphs.Unknown, t.Dim
	case c.GetState() == "running":
		glyph, style = t.Glyphs.Good, t.Good
	case c.GetState() == "paused":
		glyph, style = t.Glyphs.Paused, t.Warn
	case c.GetState() == "restarting" || c.GetState() == "created":
		glyph, style = t.Glyphs.Warn, t.Warn
	}
	name := widget.Plain(c.GetName())
	if d.selected == (Place{n.Node.Name, name}) {
		name = t.Selected.Render(name)
	}
	text := style.Render(glyph) + " " + name
	right := ""
	switch {
	case strings.HasPrefix(c.GetName(), "redis") && c.GetState() == "running":
		right = widget.Number(float64(d.world.Waiting(n.Node.Name)))
	case c.GetState() != "running":
		right = widget.Plain(c.GetState())
		if right == "" {
			right = "missing"
		}
		if since := c.GetSince(); since != nil {
			ago := widget.Ago(d.now.Sub(since.AsTime()))
			right += " " + ago
			if ansi.StringWidth(text)+1+len(right) > d.box-2 {
				right = ago // the glyph says the rest
			}
		}
		right = style.Render(right)
	}
	return widget.Ends(text, right, d.box-2)
}

// summary is the lab in a line, or in as many as it takes where one is too narrow.
func (d *drawing) summary() []string {
	t := d.theme
	ready := 0
	for _, n := range d.world.View.Nodes {
		if n.Ready(d.world.Stage) {
			ready++
		}
	}
	state := t.Good.Render(fmt.Sprintf("%d of %d nodes ready", ready, len(d.world.View.Nodes)))
	if ready < len(d.world.View.Nodes) {
		state = t.Warn.Render(fmt.Sprintf("%d of %d nodes ready", ready, len(d.world.View.Nodes)))
	}
	page := func(name string, status int) string {
		switch status {
		case 200:
			return name + " " + t.Good.Render("answers")
		case 0:
			return name + " " + t.Bad.Render("silent")
		}
		return name + " " + t.Bad.Render(fmt.Sprint(status))
	}
	votes := d.world.Now()
	lab := []string{state, page("voting", d.world.Voting), page("results", d.world.Results)}
	flow := []string{"captured " + widget.Number(votes.Captured) + "/s", "waiting " + widget.Number(float64(votes.Waiting())), "counted " + widget.Number(votes.Counted) + "/s"}
	if lines := filled(append(slices.Clone(lab), flow...), d.width); len(lines) == 1 {
		return lines
	}
	return append(filled(lab, d.width), filled(flow, d.width)...)
}

// filled sets words beside each other, in lines of a width.
func filled(words []string, width int) []string {
	const between = "   "
	lines := []string{words[0]}
	for _, w := range words[1:] {
		last := &lines[len(lines)-1]
		if ansi.StringWidth(*last)+len(between)+ansi.StringWidth(w) <= width {
			*last += between + w
		} else {
			lines = append(lines, w)
		}
	}
	for i := range lines {
		lines[i] = widget.Line(lines[i], width)
	}
	return lines
}
