package tail_test

import (
	"io"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/tail"
	"github.com/swarmlab/swarmlab/tui/theme"
)

const total, fits = 30, 10

func pressed(t tail.Tail, keys ...tea.KeyMsg) tail.Tail {
	for _, k := range keys {
		t, _ = t.Pressed(k, total, fits)
	}
	return t
}

// plain is a theme of no colours.
func plain() theme.Theme {
	return theme.New(lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii)), nil)
}

func runes(text string) tea.KeyMsg { return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text)} }

func TestWindow(t *testing.T) {
	t.Parallel()
	up, down := tea.KeyMsg{Type: tea.KeyUp}, tea.KeyMsg{Type: tea.KeyDown}
	for name, tt := range map[string]struct {
		keys     []tea.KeyMsg
		from, to int
	}{
		"follows":                   {nil, 20, 30},
		"up":                        {[]tea.KeyMsg{up, up}, 18, 28},
		"down is not below the end": {[]tea.KeyMsg{up, down, down}, 20, 30},
		"a page up":                 {[]tea.KeyMsg{{Type: tea.KeyPgUp}}, 10, 20},
		"up is not above the top":   {[]tea.KeyMsg{{Type: tea.KeyPgUp}, {Type: tea.KeyPgUp}, {Type: tea.KeyPgUp}, up}, 0, 10},
		"top":                       {[]tea.KeyMsg{runes("g")}, 0, 10},
		"a page down":               {[]tea.KeyMsg{runes("g"), {Type: tea.KeyPgDown}}, 10, 20},
		"bottom":                    {[]tea.KeyMsg{runes("g"), runes("G")}, 20, 30},
		"follows again":             {[]tea.KeyMsg{runes("g"), runes("f")}, 20, 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if from, to := pressed(tail.New(plain(), keymap.New()), tt.keys...).Window(total, fits); from != tt.from || to != tt.to {
				t.Errorf("%d to %d, want %d to %d", from, to, tt.from, tt.to)
			}
		})
	}
}

// Lines that are wider than the screen are read to their end, and no further.
func TestSideways(t *testing.T) {
	t.Parallel()
	const line, width = "0123456789012345678901234567890123456789", 30
	list := tail.New(plain(), keymap.New())
	right, left := tea.KeyMsg{Type: tea.KeyRight}, tea.KeyMsg{Type: tea.KeyLeft}
	if got := list.Cut(line, width); got != line {
		t.Errorf("got %q", got)
	}
	for range 3 {
		list = list.Sideways(right, len(line), width)
	}
	if got := list.Cut(line, width); got != line[10:] {
		t.Errorf("got %q", got)
	}
	if got := list.Sideways(left, len(line), width).Cut(line, width); got != line {
		t.Errorf("got %q", got)
	}
}

// Keys that are no text move also while somebody types.
func TestMovesWhileTyping(t *testing.T) {
	t.Parallel()
	typing := pressed(tail.New(plain(), keymap.New()), runes("/"), runes("r"), tea.KeyMsg{Type: tea.KeyPgUp})
	if !typing.Typing() || typing.Below() != fits {
		t.Errorf("%d below", typing.Below())
	}
}

// What is read stays where it is when more comes; what is followed moves on.
func TestGrown(t *testing.T) {
	t.Parallel()
	following := tail.New(plain(), keymap.New())
	if from, to := following.Grown(5, total+5, fits).Window(total+5, fits); from != 25 || to != 35 {
		t.Errorf("followed: %d to %d", from, to)
	}
	reading := pressed(following, tea.KeyMsg{Type: tea.KeyUp})
	if from, to := reading.Grown(5, total+5, fits).Window(total+5, fits); from != 19 || to != 29 {
		t.Errorf("read: %d to %d", from, to)
	}
	// Lines that are forgotten at the top take the window along.
	if from, to := reading.Grown(100, total, fits).Window(total, fits); from != 0 || to != 10 {
		t.Errorf("forgotten: %d to %d", from, to)
	}
}

// What is filtered by anew is followed.
func TestFilter(t *testing.T) {
	t.Parallel()
	reading := pressed(tail.New(plain(), keymap.New()), runes("g"))
	typing := pressed(reading, runes("/"), runes("r"))
	if !typing.Typing() || typing.Below() != 0 || typing.Lets("pg") || !typing.Lets("redis") {
		t.Errorf("%q, %d below", typing.Filter(), typing.Below())
	}
	if gone := pressed(typing, tea.KeyMsg{Type: tea.KeyEnter}, tea.KeyMsg{Type: tea.KeyEsc}); gone.Filter() != "" || !gone.Lets("pg") {
		t.Errorf("%q", gone.Filter())
	}
	if set := reading.Filtered("pg"); set.Below() != 0 || set.Filter() != "/pg" {
		t.Errorf("%q, %d below", set.Filter(), set.Below())
	}
}
