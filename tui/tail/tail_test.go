package tail_test

import (
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/tail"
)

const total, fits = 30, 10

func pressed(t tail.Tail, keys ...tea.KeyMsg) tail.Tail {
	for _, k := range keys {
		t, _ = t.Pressed(k, total, fits)
	}
	return t
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
			if from, to := pressed(tail.New(keymap.New()), tt.keys...).Window(total, fits); from != tt.from || to != tt.to {
				t.Errorf("%d to %d, want %d to %d", from, to, tt.from, tt.to)
			}
		})
	}
}

// What is read stays where it is when more comes; what is followed moves on.
func TestGrown(t *testing.T) {
	t.Parallel()
	following := tail.New(keymap.New())
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
	reading := pressed(tail.New(keymap.New()), runes("g"))
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
