// Package theme says what the terminal UI looks like: colours that suit light and dark terminals, and the glyphs that say the same where there
// are no colours, or no Unicode.
package theme

import (
	"strings"

	"github.com/charmbracelet/lipgloss"

	"github.com/swarmlab/swarmlab/lab/console"
	"github.com/swarmlab/swarmlab/lab/plain"
)

// Theme is the one place for looks. Its styles do nothing where NO_COLOR is set.
type Theme struct {
	Good, Warn, Bad, Dim, Bold, Accent, Title, Selected, Shade lipgloss.Style
	Border                                                     lipgloss.Border
	Glyphs                                                     Glyphs
	// Blocks: charts are drawn by eighths of a cell.
	Blocks bool
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
	t := Theme{
		Good: colour("28", "42"), Warn: colour("130", "214"), Bad: colour("160", "203").Bold(true), Dim: colour("243", "245"), Bold: r.NewStyle().Bold(true),
		Accent: colour("25", "75"), Title: r.NewStyle().Bold(true).Reverse(true), Selected: r.NewStyle().Reverse(true),
		Shade:  r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: "217", Dark: "88"}),
		Border: lipgloss.RoundedBorder(), Blocks: true,
		Glyphs: Glyphs{
			Good: "●", Warn: "◐", Bad: "✗", Unknown: "?", Paused: "‖", Fault: "↯", Marked: "◆", Arrow: "▶", Line: "─", Cursor: "›", Shade: "░", Ellipsis: "…",
		},
	}
	if !Unicode(environ) {
		t.Border, t.Blocks = lipgloss.ASCIIBorder(), false
		t.Glyphs = Glyphs{
			Good: "o", Warn: "~", Bad: "x", Unknown: "?", Paused: "=", Fault: "!", Marked: "*", Arrow: ">", Line: "-", Cursor: ">", Shade: ":", Ellipsis: "~",
		}
	}
	return t
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
