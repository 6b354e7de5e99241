// Package scroll is the state of a text that may be longer than its space: which of its lines are in sight. It knows how many there are, not
// what they say. For lists whose newest line stands at the bottom there is package tail.
package scroll

import (
	"fmt"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

// Scroll is a value, as bubbletea's models are.
type Scroll struct {
	keys keymap.Map
	from int
}

// New begins at the top.
func New(k keymap.Map) Scroll { return Scroll{keys: k} }

// Keys that it takes.
func (s Scroll) Keys() []key.Binding {
	k := s.keys
	return []key.Binding{k.Up, k.Down, k.PageUp, k.PageDown, k.Top, k.Bottom}
}

// fits is how many lines of a text are seen at a height. Where not all are, the last line tells which are.
func fits(total, height int) int {
	if total <= height {
		return height
	}
	return max(height-1, 1)
}

// within is the first line that is seen.
func (s Scroll) within(total, height int) int { return max(min(s.from, total-fits(total, height)), 0) }

// Pressed takes a key, if it is one of those that scroll.
func (s Scroll) Pressed(msg tea.KeyMsg, total, height int) (Scroll, bool) {
	k, page := s.keys, fits(total, height)
	s.from = s.within(total, height)
	switch {
	case key.Matches(msg, k.Up):
		s.from--
	case key.Matches(msg, k.Down):
		s.from++
	case key.Matches(msg, k.PageUp):
		s.from -= page
	case key.Matches(msg, k.PageDown):
		s.from += page
	case key.Matches(msg, k.Top):
		s.from = 0
	case key.Matches(msg, k.Bottom):
		s.from = total
	default:
		return s, false
	}
	s.from = s.within(total, height)
	return s, true
}

// To begins with a line, as far as there are enough below it.
func (s Scroll) To(line, total, height int) Scroll {
	s.from = line
	s.from = s.within(total, height)
	return s
}

// Show moves as little as needed for a line to be in sight.
func (s Scroll) Show(line, total, height int) Scroll {
	s.from = s.within(total, height)
	s.from = max(min(s.from, line), line-fits(total, height)+1)
	return s
}

// AtEnd reports whether the last line is in sight.
func (s Scroll) AtEnd(total, height int) bool {
	return s.within(total, height)+fits(total, height) >= total
}

// View is what is in sight of lines, exactly so wide and high.
func (s Scroll) View(t theme.Theme, lines []string, width, height int) string {
	total := len(lines)
	from := s.within(total, height)
	to := min(from+fits(total, height), total)
	body := widget.Fit(widget.Join(lines[from:to]), width, min(fits(total, height), height))
	if total <= height || height < 2 {
		return body
	}
	k := s.keys
	where := fmt.Sprintf("lines %d-%d of %d", from+1, to, total)
	keys := fmt.Sprintf("  %s %s", k.PageUp.Help().Key, k.PageDown.Help().Key)
	return body + "\n" + widget.Line(t.Dim.Render(where+keys), width)
}
