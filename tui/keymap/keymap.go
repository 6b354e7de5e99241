// Package keymap holds the keys of the terminal UI, by their meaning. What a page shows in its help is what it takes.
package keymap

import (
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/key"
)

// Map is all keys.
type Map struct {
	Quit, Help, Filter, Back, Next, Previous, Jump key.Binding
	Up, Down, Left, Right, Top, Bottom             key.Binding
	Kill, Stop, Pause, PowerOff, Partition, Logs   key.Binding
	Heal, Faster, Slower, Run, Abort, Follow       key.Binding
	Judge, Go, Mark, Events, PageUp, PageDown      key.Binding
	// Enter takes what was typed, or opens what is selected.
	Enter key.Binding
	// Interrupt quits whatever else is going on.
	Interrupt key.Binding
	// Yes answers a question, No is every other answer.
	Yes, No key.Binding
}

// New is the keys as people know them from other terminal UIs.
func New() Map {
	bind := func(help, what string, keys ...string) key.Binding {
		return key.NewBinding(key.WithKeys(keys...), key.WithHelp(help, what))
	}
	return Map{
		Quit: bind("q", "quit", "q"), Help: bind("?", "help", "?"), Filter: bind("/", "filter", "/"), Back: bind("esc", "back", "esc"),
		Next: bind("tab", "next page", "tab"), Previous: bind("shift+tab", "page before", "shift+tab"), Jump: bind("1-6", "page", "1", "2", "3", "4", "5", "6"),
		Up: bind("↑", "up", "up", "k"), Down: bind("↓", "down", "down", "j"), Left: bind("←", "left", "left", "h"), Right: bind("→", "right", "right", "l"),
		Top: bind("g", "top", "g", "home"), Bottom: bind("G", "bottom", "G", "end"),
		PageUp: bind("pgup", "page up", "pgup", "ctrl+b"), PageDown: bind("pgdn", "page down", "pgdown", "ctrl+f"),
		Kill: bind("x", "kill", "x"), Stop: bind("s", "stop", "s"), Pause: bind("p", "freeze", "p"), PowerOff: bind("o", "power off", "o"),
		Partition: bind("c", "cut off", "c"), Logs: bind("L", "logs", "L"), Mark: bind("space", "mark", " "), Events: bind("e", "events", "e"), Heal: bind("H", "heal all", "H"),
		Faster: bind("+", "more votes", "+", "="), Slower: bind("-", "fewer votes", "-"), Run: bind("enter", "run", "enter"), Abort: bind("A", "abort", "A"),
		Follow: bind("f", "follow", "f"), Judge: bind("v", "verify", "v"), Go: bind(":", "page by name", ":"),
		Enter: bind("enter", "open", "enter"), Interrupt: bind("ctrl+c", "quit", "ctrl+c"),
		Yes: bind("y", "yes", "y", "Y"), No: bind("any other key", "no", "n", "N"),
	}
}

// Without leaves out keys that change the lab, for a screen that only shows it.
func (m Map) Without() Map {
	for _, b := range []*key.Binding{&m.Kill, &m.Stop, &m.Pause, &m.PowerOff, &m.Partition, &m.Mark, &m.Heal, &m.Faster, &m.Slower, &m.Run, &m.Abort} {
		b.SetEnabled(false)
	}
	return m
}

// As is a key by what it does here.
func As(b key.Binding, what string) key.Binding {
	b.SetHelp(b.Help().Key, what)
	return b
}

// Name is all that a key may be pressed by, as a help lists it: its short name, and what else does the same.
func Name(b key.Binding) string {
	names := []string{b.Help().Key}
	if len(b.Keys()) > 2 || b.Help().Key == "any other key" {
		return names[0]
	}
	for _, k := range b.Keys() {
		k = strings.NewReplacer("pgdown", "pgdn").Replace(k)
		if arrow, ok := map[string]string{"up": "↑", "down": "↓", "left": "←", "right": "→", " ": "space"}[k]; ok {
			k = arrow
		}
		if !slices.Contains(names, k) {
			names = append(names, k)
		}
	}
	return strings.Join(names, " ")
}
