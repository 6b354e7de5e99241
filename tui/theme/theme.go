// Package theme says what the terminal UI looks like: colours that suit light and dark terminals, and the glyphs that say the same where there
// are no colours, or no Unicode.
package theme

import (
	"strings"

	"github.com/charmbracelet/bubbles/textinput"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/plain"
)

// Theme is the one place for looks. Where there are no colours (NO_COLOR, or a terminal that has none), bold and reverse still say what is selected.
type Theme struct {
	Good, Warn, Bad, Dim, Bold, Accent, Title, Selected, Shade lipgloss.Style
	Border                                                     lipgloss.Border
	Glyphs                                                     Glyphs
	// Blocks: charts are drawn by eighths of a cell.
	Blocks bool
	// Plain is text as it is.
	Plain lipgloss.Style
	// keys are the names of keys, where these are not written as they are everywhere.
	keys *strings.Replacer
}

// Glyphs stand for states and directions.
type Glyphs struct {
	Good, Warn, Bad, Unknown, Paused, Fault, Marked, Arrow, Line, Cursor, Shade, Ellipsis string
}

// New makes the theme of a terminal. environ is as os.Environ gives it.
func New(r *lipgloss.Renderer, environ []string) Theme {
	colour := func(light, dark string) lipgloss.Style {
		return r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	if r.ColorProfile() == termenv.Ascii && attributes(environ) {
		r.SetColorProfile(termenv.ANSI)
		colour = func(string, string) lipgloss.Style { return r.NewStyle() }
	}
	t := Theme{
		Good: colour("28", "42"), Warn: colour("130", "214"), Bad: colour("160", "203").Bold(true), Dim: colour("243", "245"), Bold: r.NewStyle().Bold(true),
		Accent: colour("25", "75"), Title: r.NewStyle().Bold(true).Reverse(true), Selected: r.NewStyle().Reverse(true),
		Shade:  colour("217", "88"),
		Plain:  r.NewStyle(),
		keys:   strings.NewReplacer(),
		Border: lipgloss.RoundedBorder(), Blocks: true,
		Glyphs: Glyphs{
			Good: "●", Warn: "◐", Bad: "✗", Unknown: "?", Paused: "‖", Fault: "↯", Marked: "◆", Arrow: "▶", Line: "─", Cursor: "›", Shade: "░", Ellipsis: "…",
		},
	}
	if !Unicode(environ) {
		t.Border, t.Blocks = lipgloss.ASCIIBorder(), false
		t.keys = strings.NewReplacer("↑", "up", "↓", "down", "←", "left", "→", "right")
		t.Glyphs = Glyphs{
			Good: "o", Warn: "~", Bad: "x", Unknown: "?", Paused: "=", Fault: "!", Marked: "*", Arrow: ">", Line: "-", Cursor: ">", Shade: ":", Ellipsis: "~",
		}
	}
	return t
}

// attributes reports whether the terminal shows bold and reverse: all do that have a name, but for the one that can do nothing.
func attributes(environ []string) bool {
	term := console.Environment(environ).Getenv("TERM")
	return term != "" && term != "dumb"
}

// Key is the name of a key, as this terminal can show it.
func (t Theme) Key(name string) string { return t.keys.Replace(name) }

// Wrap breaks a line that may have colours into lines that are not wider than width. Each has its own colours, so that one can be drawn alone.
func (t Theme) Wrap(line string, width int) []string {
	return strings.Split(t.Plain.Width(max(width, 1)).Render(line), "\n")
}

// Input is a line to type in, whose cursor is seen.
func (t Theme) Input(prompt string, limit int) textinput.Model {
	input := textinput.New()
	input.Prompt, input.CharLimit = prompt, limit
	input.PromptStyle, input.TextStyle, input.PlaceholderStyle, input.Cursor.Style, input.Cursor.TextStyle = t.Plain, t.Plain, t.Dim, t.Plain, t.Plain
	return input
}

// Unicode reports whether the terminal shows more than ASCII, by its locale (POSIX, section 8.2: LC_ALL before LC_CTYPE before LANG).
func Unicode(environ []string) bool {
	values := console.Environment(environ)
	if term := values.Getenv("TERM"); term == "linux" || term == "dumb" || strings.HasPrefix(term, "vt") {
		return false
	}
	utf8, _ := plain.Unicode(values.Getenv)
	return utf8
}
