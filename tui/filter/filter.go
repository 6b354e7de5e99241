// Package filter is the line in which people type what they look for.
package filter

import (
	"strings"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/theme"
)

// maxWord bounds what is looked for, in characters.
const maxWord = 60

// Filter is a value, as bubbletea's models are.
type Filter struct{ input textinput.Model }

// shown is how much of the word is seen while it is typed, in cells: with what stands before it, and the cursor behind it, as much as the narrowest
// list has.
const shown = 26

// New lets everything through.
func New(t theme.Theme) Filter {
	input := t.Input("/", maxWord)
	input.Width = shown
	return Filter{input}
}

// Typing reports whether keys are its text now.
func (f Filter) Typing() bool { return f.input.Focused() }

// Lets reports whether it lets a text through: what is looked for is part of it, in whatever case.
func (f Filter) Lets(text string) bool {
	word := strings.ToLower(strings.TrimSpace(f.input.Value()))
	return word == "" || strings.Contains(strings.ToLower(text), word)
}

// String is what to show of it; empty: it lets everything through, and nobody types.
func (f Filter) String() string {
	switch {
	case f.input.Focused():
		return f.input.View()
	case f.input.Value() != "":
		return "/" + f.input.Value()
	}
	return ""
}

// Set looks for a word; none lets everything through.
func (f Filter) Set(word string) Filter {
	f.input.SetValue(word)
	return f
}

// Begin has somebody type.
func (f Filter) Begin() (Filter, tea.Cmd) {
	cmd := f.input.Focus()
	return f, cmd
}

// Pressed takes a key while somebody types: enter keeps what was typed, esc does not.
func (f Filter) Pressed(msg tea.KeyMsg) (Filter, tea.Cmd) {
	switch msg.Type {
	case tea.KeyEsc:
		f.input.SetValue("")
		f.input.Blur()
		return f, nil
	case tea.KeyEnter:
		f.input.Blur()
		return f, nil
	}
	var cmd tea.Cmd
	f.input, cmd = f.input.Update(msg)
	return f, cmd
}
