package filter_test

import (
	"io"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/tui/filter"
	"github.com/swarmlab/swarmlab/tui/theme"
)

func typed(f filter.Filter, keys ...tea.KeyMsg) filter.Filter {
	f, _ = f.Begin()
	for _, k := range keys {
		f, _ = f.Pressed(k)
	}
	return f
}

func TestFilter(t *testing.T) {
	t.Parallel()
	word := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("Req ")}
	all := filter.New(theme.New(lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii)), nil))
	if all.Typing() || all.String() != "" || !all.Lets("anything") {
		t.Errorf("%q", all)
	}
	some := typed(all, word)
	if !some.Typing() || some.String() == "" || some.Lets("redis") || !some.Lets("a REQUEST") {
		t.Errorf("%q", some)
	}
	kept := typed(all, word, tea.KeyMsg{Type: tea.KeyEnter})
	if kept.Typing() || kept.String() != "/Req " || kept.Lets("redis") {
		t.Errorf("%q", kept)
	}
	if gone := typed(all, word, tea.KeyMsg{Type: tea.KeyEsc}); gone.Typing() || gone.String() != "" || !gone.Lets("redis") {
		t.Errorf("%q", gone)
	}
	if set := all.Set("pg"); set.Typing() || set.String() != "/pg" || set.Lets("redis") {
		t.Errorf("%q", set)
	}
}
