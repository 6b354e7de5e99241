// Package widget holds small parts that pages are made of. All are functions of what they show: text in, text of a fixed size out.
package widget

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/world"
)

// Fit makes a text exactly so wide and high: it cuts what is more, and fills up what is less.
func Fit(text string, width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	lines := strings.Split(text, "\n")
	out := make([]string, height)
	for i := range out {
		line := ""
		if i < len(lines) {
			line = lines[i]
		}
		out[i] = Line(line, width)
	}
	return strings.Join(out, "\n")
}

// Line makes a line exactly so wide.
func Line(text string, width int) string {
	if width <= 0 {
		return ""
	}
	if ansi.StringWidth(text) > width {
		text = ansi.Truncate(text, width, "")
	}
	return text + strings.Repeat(" ", max(width-ansi.StringWidth(text), 0))
}

// Join makes lines one text.
func Join(lines []string) string { return strings.Join(lines, "\n") }

// Wrap breaks a text into lines that are not wider than width, between words where there are any.
func Wrap(text string, width int) []string {
	return strings.Split(ansi.Wrap(strings.TrimSpace(text), max(width, 1), ""), "\n")
}

// Ends sets one text to the left and one to the right of a line; the right one gives way.
func Ends(left, right string, width int) string {
	room := width - ansi.StringWidth(left) - 1
	if room < ansi.StringWidth(right) {
		right = ansi.Truncate(right, max(room, 0), "")
	}
	return Line(left+strings.Repeat(" ", max(width-ansi.StringWidth(left)-ansi.StringWidth(right), 0))+right, width)
}

// Box draws a border around lines; width is that of the whole.
func Box(t theme.Theme, border lipgloss.Style, title string, lines []string, width int) string {
	inner := max(width-2, 1)
	b := t.Border
	head := ansi.Truncate(title, max(inner-1, 0), t.Glyphs.Ellipsis)
	top := border.Render(b.TopLeft) + head + border.Render(strings.Repeat(b.Top, max(inner-ansi.StringWidth(head), 0))+b.TopRight)
	out := []string{top}
	for _, l := range lines {
		out = append(out, border.Render(b.Left)+Line(l, inner)+border.Render(b.Right))
	}
	return strings.Join(append(out, border.Render(b.BottomLeft+strings.Repeat(b.Bottom, inner)+b.BottomRight)), "\n")
}

// Ago says how long something is: 9s, 3m, 2h.
func Ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	default:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
}

// Number is short: 999, 12.3k, 4.5M; "?" for one that is not known, so negative.
func Number(n float64) string {
	switch {
	case n < 0:
		return "?"
	case n < 1000:
		return fmt.Sprintf("%.0f", n)
	case n < 100_000:
		return fmt.Sprintf("%.1fk", n/1000)
	case n < 1_000_000:
		return fmt.Sprintf("%.0fk", n/1000)
	default:
		return fmt.Sprintf("%.1fM", n/1_000_000)
	}
}

// Plain takes what others wrote for a line: no control characters, no line breaks.
func Plain(text string) string { return plain.Line(text) }

// blocks fill a cell by eighths from below.
var blocks = []string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// Chart draws a bar for each of the last values that fit, width columns and height rows; negative values, which nobody knows, leave a gap.
// unicode false draws whole cells only.
func Chart(values []float64, width, height int, top float64, unicode bool) []string {
	if len(values) > width {
		values = values[len(values)-width:]
	}
	rows := make([]string, height)
	for r := range rows {
		var b strings.Builder
		b.WriteString(strings.Repeat(" ", max(width-len(values), 0)))
		for _, v := range values {
			eighths := 0
			if v > 0 && top > 0 {
				eighths = max(int(v/top*float64(8*height)+0.5), 1)
			}
			cell := min(max(eighths-8*(height-1-r), 0), 8)
			switch {
			case unicode:
				b.WriteString(blocks[cell])
			case cell >= 4 || cell > 0 && r == height-1:
				b.WriteString("#")
			default:
				b.WriteString(" ")
			}
		}
		rows[r] = b.String()
	}
	return rows
}

// stripLabel is the width of what stands beside a strip.
const stripLabel = 18

// Strip is a small chart with its name and its latest value beside its first row, and below that what its full height means. Unknown values
// are negative. Behind values that are shaded, of which there may be none, the ground is filled.
func Strip(t theme.Theme, style lipgloss.Style, name string, values []float64, shaded []bool, width, height int) []string {
	room := max(width-stripLabel, 1)
	if skip := len(values) - room; skip > 0 {
		values, shaded = values[skip:], shaded[min(skip, len(shaded)):]
	}
	top, now := 1.0, -1.0
	for _, v := range values {
		top, now = max(top, v), v
	}
	rows := Chart(values, room, height, top, t.Blocks)
	for i, row := range rows {
		label := ""
		switch i {
		case 0:
			label = fmt.Sprintf("%-11s%6s", name, Number(now))
		case 1:
			label = t.Dim.Render(fmt.Sprintf("%11s%6s", "at most", Number(top)))
		}
		rows[i] = Line(Line(label, stripLabel)+shade(t, style, row, shaded), width)
	}
	return rows
}

// shade draws a row of a chart, and fills the ground of the columns that are shaded, which are the last ones.
func shade(t theme.Theme, style lipgloss.Style, row string, shaded []bool) string {
	cells := []rune(row)
	from := len(cells) - len(shaded)
	var b strings.Builder
	for i := 0; i < len(cells); {
		filled := func(i int) bool { return i >= from && shaded[i-from] && cells[i] == ' ' }
		j := i
		for j < len(cells) && filled(j) == filled(i) {
			j++
		}
		if filled(i) {
			b.WriteString(t.Shade.Render(strings.Repeat(t.Glyphs.Shade, j-i)))
		} else {
			b.WriteString(style.Render(string(cells[i:j])))
		}
		i = j
	}
	return b.String()
}

// wideEvent is the width from which an event's parts stand in columns.
const wideEvent = 60

// EventHead names the columns of events.
func EventHead(t theme.Theme) string {
	return t.Dim.Render("TIME      NODE        WHAT         HAPPENED")
}

// Event is a line on what happened.
func Event(t theme.Theme, e world.Event, width int) string {
	style := t.Dim
	switch e.Action {
	case "die", "oom", "unreachable", "unhealthy", "fault-injected":
		style = t.Bad
	case "start", "reachable", "healthy", "fault-ended":
		style = t.Good
	}
	node, subject, text := Plain(e.Node), Plain(e.Subject), Plain(e.Action)
	if e.Message != "" {
		text += ": " + Plain(e.Message)
	}
	at := t.Dim.Render(e.At.Local().Format(time.TimeOnly))
	if width >= wideEvent {
		return at + "  " + Line(node, 11) + " " + Line(subject, 12) + " " + style.Render(text)
	}
	if subject != node {
		node += " " + subject
	}
	return at + " " + node + " " + style.Render(text)
}
