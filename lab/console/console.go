// Package console is how the lab command looks: colours that mean something, and a board that shows the phases of a
// long piece of work while it runs. On a terminal phases are lines that move; in a pipe they are plain lines, one for
// each thing that happens. Colour never carries a meaning alone: it goes when NO_COLOR is set or nobody looks.
package console

import (
	"io"
	"os"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/term"
	"github.com/muesli/termenv"
)

// Console is a place to write to.
type Console struct {
	w io.Writer
	// live: a terminal, whose lines can be written over.
	live  bool
	width int
	Style
}

// Style colours words.
type Style struct {
	good, warn, bad, dim, bold, accent lipgloss.Style
}

// Good colours what is as it should be.
func (s Style) Good(text string) string { return s.good.Render(text) }

// Warn colours what may become, or is on the way out of, a problem.
func (s Style) Warn(text string) string { return s.warn.Render(text) }

// Bad colours what is wrong.
func (s Style) Bad(text string) string { return s.bad.Render(text) }

// Dim takes emphasis away.
func (s Style) Dim(text string) string { return s.dim.Render(text) }

// Bold adds emphasis.
func (s Style) Bold(text string) string { return s.bold.Render(text) }

// Accent colours names and addresses.
func (s Style) Accent(text string) string { return s.accent.Render(text) }

// defaultWidth is what is assumed where nobody knows the width.
const defaultWidth = 80

// New returns a console on w; environ is os.Environ outside tests.
func New(w io.Writer, environ []string) *Console {
	c := &Console{w: w, width: defaultWidth}
	if f, ok := w.(*os.File); ok && term.IsTerminal(f.Fd()) {
		c.live = !dumb(environ)
		if width, _, err := term.GetSize(f.Fd()); err == nil && width > 20 {
			c.width = width
		}
	}
	r := lipgloss.NewRenderer(w, termenv.WithEnvironment(Environment(environ)))
	if !c.live {
		r.SetColorProfile(termenv.Ascii)
	}
	// The terminal's own sixteen colours, which its theme makes readable on its background; finer ones would mean to ask
	// the terminal for that background and to wait for its answer.
	color := func(ansi string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(ansi)) }
	c.Style = Style{
		good: color("2"), warn: color("3"), bad: color("1").Bold(true),
		dim: r.NewStyle().Faint(true), bold: r.NewStyle().Bold(true), accent: color("6"),
	}
	return c
}

// Write implements io.Writer.
func (c *Console) Write(p []byte) (int, error) { return c.w.Write(p) }

// Live says whether somebody looks at a terminal.
func (c *Console) Live() bool { return c.live }

// Width in columns.
func (c *Console) Width() int { return c.width }

func dumb(environ []string) bool { return Environment(environ).Getenv("TERM") == "dumb" }

// Environment is a given environment, as os.Environ gives it: of a variable that stands there twice the last counts. Termenv looks in it for
// NO_COLOR and its like.
type Environment []string

// Environ implements termenv.Environ.
func (e Environment) Environ() []string { return e }

// Getenv implements termenv.Environ.
func (e Environment) Getenv(name string) string {
	for i := len(e) - 1; i >= 0; i-- {
		if len(e[i]) > len(name) && e[i][:len(name)] == name && e[i][len(name)] == '=' {
			return e[i][len(name)+1:]
		}
	}
	return ""
}
