package scroll_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/google/go-cmp/cmp"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/scroll"
	"github.com/swarmlab/swarmlab/tui/theme"
)

func lines(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(i+1))
	}
	return all
}

// view is what is in sight, a word each.
func view(s scroll.Scroll, total, height int) []string {
	t := theme.New(lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii)), nil)
	var all []string
	for _, l := range strings.Split(s.View(t, lines(total), 30, height), "\n") {
		all = append(all, strings.TrimSpace(l))
	}
	return all
}

func TestView(t *testing.T) {
	t.Parallel()
	key := func(k tea.KeyType) tea.KeyMsg { return tea.KeyMsg{Type: k} }
	runes := func(text string) tea.KeyMsg { return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text)} }
	for name, tt := range map[string]struct {
		total int
		keys  []tea.KeyMsg
		want  []string
	}{
		"all fit":         {4, nil, []string{"1", "2", "3", "4"}},
		"fewer":           {2, []tea.KeyMsg{key(tea.KeyDown)}, []string{"1", "2", "", ""}},
		"more":            {9, nil, []string{"1", "2", "3", "lines 1-3 of 9  pgup pgdn"}},
		"down":            {9, []tea.KeyMsg{key(tea.KeyDown), runes("j")}, []string{"3", "4", "5", "lines 3-5 of 9  pgup pgdn"}},
		"up":              {9, []tea.KeyMsg{runes("G"), runes("k"), key(tea.KeyUp)}, []string{"5", "6", "7", "lines 5-7 of 9  pgup pgdn"}},
		"a page down":     {9, []tea.KeyMsg{key(tea.KeyPgDown)}, []string{"4", "5", "6", "lines 4-6 of 9  pgup pgdn"}},
		"a page up":       {9, []tea.KeyMsg{key(tea.KeyEnd), key(tea.KeyPgUp)}, []string{"4", "5", "6", "lines 4-6 of 9  pgup pgdn"}},
		"the end":         {9, []tea.KeyMsg{key(tea.KeyEnd)}, []string{"7", "8", "9", "lines 7-9 of 9  pgup pgdn"}},
		"G":               {9, []tea.KeyMsg{runes("G"), key(tea.KeyDown)}, []string{"7", "8", "9", "lines 7-9 of 9  pgup pgdn"}},
		"home":            {9, []tea.KeyMsg{runes("G"), key(tea.KeyHome), key(tea.KeyUp)}, []string{"1", "2", "3", "lines 1-3 of 9  pgup pgdn"}},
		"g":               {9, []tea.KeyMsg{runes("G"), runes("g")}, []string{"1", "2", "3", "lines 1-3 of 9  pgup pgdn"}},
		"a key of others": {9, []tea.KeyMsg{runes("x")}, []string{"1", "2", "3", "lines 1-3 of 9  pgup pgdn"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scroll.New(keymap.New())
			for _, k := range tt.keys {
				var taken bool
				if s, taken = s.Pressed(k, tt.total, 4); taken == (k.String() == "x") {
					t.Errorf("%s: taken %t", k, taken)
				}
			}
			if diff := cmp.Diff(tt.want, view(s, tt.total, 4)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is to be seen is brought into sight, from above and from below.
func TestShow(t *testing.T) {
	t.Parallel()
	s := scroll.New(keymap.New()).Show(6, 20, 4)
	if diff := cmp.Diff([]string{"5", "6", "7", "lines 5-7 of 20  pgup pgdn"}, view(s, 20, 4)); diff != "" {
		t.Error(diff)
	}
	s = s.Show(2, 20, 4)
	if diff := cmp.Diff([]string{"3", "4", "5", "lines 3-5 of 20  pgup pgdn"}, view(s, 20, 4)); diff != "" {
		t.Error(diff)
	}
	if s = s.To(19, 20, 4); !s.AtEnd(20, 4) {
		t.Error("the end is not in sight")
	}
}

// A view is exactly as large as it is to be.
func TestSize(t *testing.T) {
	t.Parallel()
	for total := range 6 {
		for height := 1; height < 6; height++ {
			if got := view(scroll.New(keymap.New()), total, height); len(got) != height {
				t.Errorf("%d lines at a height of %d: %q", total, height, got)
			}
		}
	}
}
