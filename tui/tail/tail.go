// Package tail is the state of a list whose newest line stands at the bottom: it follows its end until somebody scrolls up, and lets through
// what a filter does. It knows how many lines there are, not what they say.
package tail

import (
	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/filter"
	"github.com/swarmlab/swarmlab/tui/keymap"
)

// Tail is a value, as bubbletea's models are.
type Tail struct {
	keys   keymap.Map
	filter filter.Filter
	// below is how many lines there are below the last one shown; 0 follows what is new.
	below int
}

// New follows, and filters nothing.
func New(k keymap.Map) Tail { return Tail{keys: k, filter: filter.New()} }

// Typing reports whether keys are the filter's text now.
func (t Tail) Typing() bool { return t.filter.Typing() }

// Keys that it takes.
func (t Tail) Keys() []key.Binding {
	return []key.Binding{t.keys.Up, t.keys.Down, t.keys.Filter, t.keys.Follow, t.keys.Top, t.keys.Back}
}

// Lets reports whether the filter lets a line through.
func (t Tail) Lets(text string) bool { return t.filter.Lets(text) }

// Filter is what to show of the filter; empty: it lets everything through, and nobody types.
func (t Tail) Filter() string { return t.filter.String() }

// Filtered filters by a word, and follows.
func (t Tail) Filtered(word string) Tail {
	t.filter, t.below = t.filter.Set(word), 0
	return t
}

// Below is how many lines there are below the last one shown; 0: it follows.
func (t Tail) Below() int { return t.below }

// Grown takes in that lines came, which the filter lets through, so that there are so many now of which so many fit. What is read does not move.
func (t Tail) Grown(came, total, fits int) Tail {
	if t.below > 0 {
		t.below = min(t.below+came, last(total, fits))
	}
	return t
}

// Window is the range of the lines that are shown: from, and up to.
func (t Tail) Window(total, fits int) (from, to int) {
	to = max(total-t.below, 0)
	return max(to-fits, 0), to
}

func last(total, fits int) int { return max(total-fits, 0) }

// Pressed takes a key; total is how many lines the filter lets through, fits how many can be shown.
func (t Tail) Pressed(msg tea.KeyMsg, total, fits int) (Tail, tea.Cmd) {
	var cmd tea.Cmd
	if t.filter.Typing() {
		t.filter, cmd = t.filter.Pressed(msg)
		t.below = 0
		return t, cmd
	}
	k := t.keys
	move := func(by int) { t.below = min(max(t.below+by, 0), last(total, fits)) }
	switch {
	case key.Matches(msg, k.Filter):
		t.filter, cmd = t.filter.Begin()
	case key.Matches(msg, k.Back):
		t.filter = t.filter.Set("")
	case key.Matches(msg, k.Up):
		move(1)
	case key.Matches(msg, k.Down):
		move(-1)
	case key.Matches(msg, k.PageUp):
		move(fits)
	case key.Matches(msg, k.PageDown):
		move(-fits)
	case key.Matches(msg, k.Top):
		move(total)
	case key.Matches(msg, k.Bottom), key.Matches(msg, k.Follow):
		t.below = 0
	}
	return t, cmd
}
