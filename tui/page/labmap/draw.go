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

// Draw draws the map, exactly so wide and high.
func Draw(w world.World, t theme.Theme, now time.Time, selected Place, width, height int) string {
	gap := max(leastGap, min(width/16, 12))
	d := drawing{world: w, theme: t, now: now, selected: selected, box: min(max((width-gap*(boxes-1))/boxes, leastBox), 34)}
	gap = min(max((width-d.box*boxes)/(boxes-1), leastGap), 16)
	all := columns(w)
	votes := w.Now()
	rates := []float64{votes.Captured, votes.Counted, votes.Counted}
	var parts []string
	tallest := 0
	var texts []string
	for _, nodes := range all {
		text := d.column(nodes, height-2)
		texts = append(texts, text)
		tallest = max(tallest, strings.Count(text, "\n")+1)
	}
	for i, text := range texts {
		if i > 0 {
			parts = append(parts, widget.Fit(d.arrow(rates[i-1], gap), gap, tallest))
		}
		parts = append(parts, widget.Fit(text, d.box, tallest))
	}
	body := lipgloss.JoinHorizontal(lipgloss.Top, parts...)
	return widget.Fit(body+"\n\n"+d.summary(width), width, height)
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

// column draws nodes one under the other; without borders where they would not fit.
func (d *drawing) column(nodes []fleet.NodeView, height int) string {
	lines := 0
	for _, n := range nodes {
		lines += 2 + len(d.inside(n))
	}
	var texts []string
	for _, n := range nodes {
		title, border := d.title(n)
		if lines <= height {
			texts = append(texts, widget.Box(d.theme, border, title, d.inside(n), d.box))
			continue
		}
		texts = append(texts, title)
		for _, l := range d.inside(n) {
			texts = append(texts, " "+l)
		}
	}
	all := strings.Split(strings.Join(texts, "\n"), "\n")
	if len(all) > height && height > 0 {
		all = append(all[:height-1], d.theme.Dim.Render(fmt.Sprintf("%d lines more", len(all)-height+1)))
	}
	return strings.Join(all, "\n")
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
func (d *drawing) inside(n fleet.NodeView) []string {
	t := d.theme
	var lines []string
	for _, o := range d.world.Outages {
		if o.Node == n.Node.Name {
			lines = append(lines, t.Bad.Render(fmt.Sprintf("%s %s %s", t.Glyphs.Fault, widget.Ago(o.Deadline.Sub(d.now)), o.Kind)))
		}
	}
	if n.Snapshot == nil {
		reason := "not heard of yet"
		if n.Err != nil {
			reason = n.Err.Reason
		}
		return append(lines, t.Dim.Render(ansi.Truncate(widget.Plain(reason), d.box-2, t.Glyphs.Ellipsis)))
	}
	for _, c := range n.Snapshot.GetContainers() {
		lines = append(lines, d.container(n, c))
	}
	switch up, known := d.world.Servers[n.Node.Name]; {
	case n.Node.Role != topology.RoleFrontend || d.world.Servers == nil:
	case !known:
		lines = append(lines, t.Warn.Render("not registered"))
	case !up:
		lines = append(lines, t.Bad.Render("no voters come"))
	}
	for _, f := range n.Snapshot.GetFaults() {
		left := widget.Ago(f.GetLeft().AsDuration() - d.now.Sub(n.Snapshot.GetTakenAt().AsTime()))
		if f.GetEnding() {
			left = "ending"
		}
		lines = append(lines, t.Bad.Render(ansi.Truncate(fmt.Sprintf("%s %s %s", t.Glyphs.Fault, left, faultkind.TextOf(f)), d.box-2, t.Glyphs.Ellipsis)))
	}
	if !n.Snapshot.GetEngine().GetUp() {
		lines = append(lines, t.Bad.Render("engine is down"))
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
