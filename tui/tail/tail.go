// Package tail is the state of a list whose newest line stands at the bottom: it follows its end until somebody scrolls up, and lets through
// what a filter does. It knows how many lines there are, not what they say.
package tail

import (
	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/tui/filter"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/theme"
)

// Tail is a value, as bubbletea's models are.
type Tail struct {
	keys   keymap.Map
	filter filter.Filter
	// below is how many lines there are below the last one shown; 0 follows what is new.
	below int
	// left is how many cells of each line are out of sight on the left.
	left int
}

// New follows, and filters nothing.
func New(t theme.Theme, k keymap.Map) Tail { return Tail{keys: k, filter: filter.New(t)} }

// Typing reports whether keys are the filter's text now.
func (t Tail) Typing() bool { return t.filter.Typing() }

// Keys that it takes now.
func (t Tail) Keys() []key.Binding {
	k := t.keys
	if t.Typing() {
		return []key.Binding{keymap.As(k.Enter, "keep the filter"), keymap.As(k.Back, "clear the filter")}
	}
	if t.Filter() != "" {
		return []key.Binding{k.Up, k.Down, k.Filter, keymap.As(k.Back, "clear the filter"), k.Follow, k.Top}
	}
	return []key.Binding{k.Up, k.Down, k.Filter, k.Follow, k.Top}
}

// Help is all keys that it ever takes.
func (t Tail) Help() []key.Binding {
	k := t.keys
	return []key.Binding{
		k.Up, k.Down, k.PageUp, k.PageDown, k.Top, k.Bottom, keymap.As(k.Left, "scroll left, in long lines"), keymap.As(k.Right, "scroll right, in long lines"),
		keymap.As(k.Follow, "follow what is new"), keymap.As(k.Filter, "show only lines that contain a word"), keymap.As(k.Back, "clear the filter"),
	}
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

// sideways is how far a key moves to a side, in cells.
const sideways = 20

// Sideways takes a key that moves to a side, when the widest line in sight takes so many cells of so many.
func (t Tail) Sideways(msg tea.KeyMsg, widest, width int) Tail {
	switch {
	case t.filter.Typing():
	case key.Matches(msg, t.keys.Left):
		t.left = max(t.left-sideways, 0)
	case key.Matches(msg, t.keys.Right):
		t.left = min(t.left+sideways, max(widest-width, 0))
	}
	return t
}

// Cut is what is in sight of a line.
func (t Tail) Cut(line string, width int) string {
	if t.left == 0 {
		return line
	}
	return ansi.Cut(line, t.left, t.left+width)
}

// Pressed takes a key; total is how many lines the filter lets through, fits how many can be shown.
func (t Tail) Pressed(msg tea.KeyMsg, total, fits int) (Tail, tea.Cmd) {
	var cmd tea.Cmd
	k := t.keys
	if t.filter.Typing() && !moves(msg) {
		t.filter, cmd = t.filter.Pressed(msg)
		t.below = 0
		return t, cmd
	}
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

// moves reports whether a key moves also while somebody types: it is none of those that a text field takes.
func moves(msg tea.KeyMsg) bool {
	switch msg.Type {
	case tea.KeyUp, tea.KeyDown, tea.KeyPgUp, tea.KeyPgDown:
		return true
	}
	return false
}
