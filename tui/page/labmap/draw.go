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
	"github.com/swarmlab/swarmlab/lab/topology"
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
func columns(w world.World) [][]fleet.NodeView {
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
	world    world.World
	theme    theme.Theme
	now      time.Time
	selected Place
	box      int
}

// shape is where the parts of the map stand: boxes of a width, a gap between them.
func shape(width int) (box, gap int) {
	gap = max(leastGap, min(width/16, 12))
	box = min(max((width-gap*(boxes-1))/boxes, leastBox), 34)
	return box, min(max((width-box*boxes)/(boxes-1), leastGap), 16)
}

// Draw draws the map, exactly so wide and high.
func Draw(w world.World, t theme.Theme, now time.Time, selected Place, width, height int) string {
	box, gap := shape(width)
	d := drawing{world: w, theme: t, now: now, selected: selected, box: box}
	votes := w.Now()
	rates := []float64{votes.Captured, votes.Counted, votes.Counted}
	tallest := 0
	var texts []string
	for _, nodes := range columns(w) {
		lines, _ := d.column(nodes, height-2)
		texts = append(texts, strings.Join(lines, "\n"))
		tallest = max(tallest, len(lines))
	}
	var parts []string
	for i, text := range texts {
		if i > 0 {
			parts = append(parts, widget.Fit(d.arrow(rates[i-1], gap), gap, tallest))
		}
		parts = append(parts, widget.Fit(text, box, tallest))
	}
	body := lipgloss.JoinHorizontal(lipgloss.Top, parts...)
	return widget.Fit(body+"\n\n"+d.summary(width), width, height)
}

// at is what stands in a cell of the map.
func at(w world.World, t theme.Theme, now time.Time, width, height, x, y int) (Place, bool) {
	box, gap := shape(width)
	column := x / (box + gap)
	all := columns(w)
	if x < 0 || y < 0 || column >= len(all) || x%(box+gap) >= box {
		return Place{}, false
	}
	d := drawing{world: w, theme: t, now: now, box: box}
	_, hits := d.column(all[column], height-2)
	if y >= len(hits) {
		return Place{}, false
	}
	return hits[y], hits[y] != (Place{})
}

// arrow stands beside the first box of a column.
func (d *drawing) arrow(rate float64, width int) string {
	text := widget.Number(rate)
	if width >= len(text)+2 {
		text += "/s"
	}
	pad := max((width-ansi.StringWidth(text))/2, 0)
	line := strings.Repeat(d.theme.Glyphs.Line, max(width-2, 0)) + d.theme.Glyphs.Arrow
	style := d.theme.Accent
	if rate <= 0 {
		style = d.theme.Dim
	}
	return "\n" + strings.Repeat(" ", pad) + style.Render(text) + "\n" + " " + style.Render(line)
}

// column draws nodes one under the other, without borders where they would not fit; hits are what stands on each line.
func (d *drawing) column(nodes []fleet.NodeView, height int) (lines []string, hits []Place) {
	all := 0
	for _, n := range nodes {
		all += 2 + len(d.inside(n))
	}
	for _, n := range nodes {
		title, border := d.title(n)
		inside := d.inside(n)
		node := Place{Node: n.Node.Name}
		hits = append(hits, node)
		for _, l := range inside {
			hits = append(hits, l.place)
		}
		if all <= height {
			var texts []string
			for _, l := range inside {
				texts = append(texts, l.text)
			}
			lines = append(lines, strings.Split(widget.Box(d.theme, border, title, texts, d.box), "\n")...)
			hits = append(hits, node)
			continue
		}
		lines = append(lines, title)
		for _, l := range inside {
			lines = append(lines, " "+l.text)
		}
	}
	if len(lines) > height && height > 0 {
		lines = append(lines[:height-1], d.theme.Dim.Render(fmt.Sprintf("%d lines more", len(lines)-height+1)))
		hits = append(hits[:height-1], Place{})
	}
	return lines, hits
}

// line of a box, and what it is about.
type line struct {
	text  string
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
	case !n.Whole(d.world.Stage):
		glyph, style, border = t.Glyphs.Warn, t.Warn, t.Warn
	}
	name := n.Node.Name
	if d.selected == (Place{Node: name}) {
		name = t.Selected.Render(name)
	}
	return style.Render(glyph) + " " + name + style.Render(since), border
}

// inside is what stands in a node's box.
func (d *drawing) inside(n fleet.NodeView) []line {
	t, node := d.theme, Place{Node: n.Node.Name}
	var lines []line
	say := func(text string) { lines = append(lines, line{text, node}) }
	for _, o := range d.world.Outages {
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
		lines = append(lines, line{d.container(n, c), Place{n.Node.Name, c.GetName()}})
	}
	switch up, known := d.world.Servers[n.Node.Name]; {
	case n.Node.Role != topology.RoleFrontend || d.world.Servers == nil:
	case !known:
		say(t.Warn.Render("not registered"))
	case !up:
		say(t.Bad.Render("no voters come"))
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
	name := c.GetName()
	if d.selected == (Place{n.Node.Name, name}) {
		name = t.Selected.Render(name)
	}
	text := style.Render(glyph) + " " + name
	right := ""
	switch {
	case strings.HasPrefix(c.GetName(), "redis") && c.GetState() == "running":
		right = widget.Number(float64(d.world.Waiting(n.Node.Name)))
	case c.GetState() != "running":
		right = c.GetState()
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

// summary is the lab in a line or two.
func (d *drawing) summary(width int) string {
	t := d.theme
	whole := 0
	for _, n := range d.world.View.Nodes {
		if n.Whole(d.world.Stage) {
			whole++
		}
	}
	state := t.Good.Render(fmt.Sprintf("%d of %d nodes whole", whole, len(d.world.View.Nodes)))
	if whole < len(d.world.View.Nodes) {
		state = t.Warn.Render(fmt.Sprintf("%d of %d nodes whole", whole, len(d.world.View.Nodes)))
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
	queued := int64(0)
	for _, n := range votes.Queued {
		queued += n
	}
	line := strings.Join([]string{
		state, page("voting", d.world.Voting), page("results", d.world.Results),
		fmt.Sprintf("captured %s/s  queued %s  counted %s/s", widget.Number(votes.Captured), widget.Number(float64(queued)), widget.Number(votes.Counted)),
	}, "   ")
	return widget.Line(line, width)
}
