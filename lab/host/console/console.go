// Package console is how the lab command looks: colours that mean something, and a board that shows the phases of a
// long piece of work while it runs. On a terminal phases are lines that move; in a pipe they are plain lines, one for
// each thing that happens. Colour never carries a meaning alone: it goes when NO_COLOR is set or nobody looks.
//
// All that is written to a Console passes lab/host/plain: a text of whomever commands no terminal, and where the locale says that there is no UTF-8 it is
// ASCII. Only the colours of the console's own Style get through.
package console

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/lab/host/plain"
)

// Console is a place to write to.
type Console struct {
	w io.Writer
	// live: a terminal, whose lines can be written over.
	live bool
	// ascii: what reads it shows nothing else.
	ascii bool
	// reflows: a terminal that breaks lines which are too long when it is made narrower, and does not cut them.
	reflows bool
	// measure asks the terminal for its size in columns and rows; nil where there is none to ask.
	measure func() (width, height int, err error)
	// failed is the first error of a write.
	failed atomic.Pointer[error]
	Style
}

// Style colours words. What it colours is shown in colour by its own Console only.
type Style struct {
	// mark stands in the sequences of this style and of no other: it is what tells them from those that a coloured text brings along. Empty: there
	// are no colours.
	mark string
}

// The terminal's own sixteen colours, which its theme makes readable on its background; finer ones would mean to ask
// the terminal for that background and to wait for its answer.
const (
	sgrReset  = "0"
	sgrGood   = "32"
	sgrWarn   = "33"
	sgrBad    = "1;31"
	sgrDim    = "2"
	sgrBold   = "1"
	sgrAccent = "36"
)

func (s Style) render(sgr, text string) string {
	if s.mark == "" || text == "" {
		return text
	}
	return s.begin() + sgr + "m" + text + s.begin() + sgrReset + "m"
}

// begin is how the sequences of this style begin.
func (s Style) begin() string { return "\x1b[" + s.mark + ";" }

// Good colours what is as it should be.
func (s Style) Good(text string) string { return s.render(sgrGood, text) }

// Warn colours what may become, or is on the way out of, a problem.
func (s Style) Warn(text string) string { return s.render(sgrWarn, text) }

// Bad colours what is wrong.
func (s Style) Bad(text string) string { return s.render(sgrBad, text) }

// Dim takes emphasis away.
func (s Style) Dim(text string) string { return s.render(sgrDim, text) }

// Bold adds emphasis.
func (s Style) Bold(text string) string { return s.render(sgrBold, text) }

// Accent colours names and addresses.
func (s Style) Accent(text string) string { return s.render(sgrAccent, text) }

// What is assumed where nobody knows the size.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// New returns a console on w; environ is os.Environ outside tests.
func New(w io.Writer, environ []string) *Console {
	env := Environment(environ)
	c := &Console{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(f.Fd()) {
		c.live = env.Getenv("TERM") != "dumb"
		c.reflows = reflows(env)
		c.measure = func() (width, height int, err error) { return term.GetSize(f.Fd()) }
	}
	// Where no locale is set nothing is said: pipes, containers and Windows set none, and take UTF-8.
	utf8, known := plain.Unicode(env.Getenv)
	c.ascii = known && !utf8
	if c.live && termenv.NewOutput(w, termenv.WithEnvironment(env)).EnvColorProfile() != termenv.Ascii {
		c.mark = fmt.Sprint(rand.Uint64()) //nolint:gosec // nobody who writes a text can know it, that is enough
	}
	return c
}

// Write implements io.Writer. Each call takes whole characters and whole sequences.
func (c *Console) Write(p []byte) (int, error) {
	if err := c.write([]byte(c.shown(string(p)))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *Console) write(p []byte) error {
	_, err := c.w.Write(p)
	if err != nil {
		c.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// Err returns the first error of a write since New: most of who writes leaves it to the end.
func (c *Console) Err() error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// shown is a text as it is written: harmless, with the own colours, in characters that can be shown.
func (c *Console) shown(text string) string {
	text = plain.Keep(text, func(sequence string) (string, bool) {
		if c.mark == "" {
			return "", false
		}
		sgr, own := strings.CutPrefix(sequence, c.begin())
		return "\x1b[" + sgr, own
	})
	if c.ascii {
		return plain.ASCII(text)
	}
	return text
}

// JSON writes encoded JSON, and nothing of it is lost: what a terminal would obey stands in escapes of JSON.
func (c *Console) JSON(encoded []byte) error {
	return c.write(plain.JSON(encoded, c.ascii))
}

// Fit makes a text one line of at most width columns, cut where it is longer. Colours go.
func (c *Console) Fit(text string, width int) string {
	text = plain.Line(text)
	if c.ascii {
		text = plain.ASCII(text)
	}
	return c.cut(text, width)
}

// cut makes a line that is as it will be written fit.
func (c *Console) cut(line string, width int) string {
	width = max(width, 1)
	tail := "…"
	if c.ascii {
		tail = plain.ASCII(tail)
	}
	if width < 2*ansi.StringWidth(tail) {
		tail = ""
	}
	return ansi.Truncate(line, width, tail)
}

// Live says whether somebody looks at a terminal.
func (c *Console) Live() bool { return c.live }

// Width in columns, at this moment.
func (c *Console) Width() int {
	width, _ := c.size()
	return width
}

// size of the terminal at this moment, in columns and rows. One that does not know its own is as large as the first ones were.
func (c *Console) size() (width, height int) {
	if c.measure == nil {
		return defaultWidth, defaultHeight
	}
	width, height, err := c.measure()
	if err != nil || width <= 0 {
		width = defaultWidth
	}
	if err != nil || height <= 0 {
		height = defaultHeight
	}
	return width, height
}

// reflows reports whether a terminal says that it is one of those that break lines when they are made narrower: tmux, and those that have a variable of
// their own. Of others, xterm among them, it is taken that they cut lines; where that is wrong a piece of a line is left, where it were wrong the other
// way lines would be erased that are to stay.
func reflows(env Environment) bool {
	if env.Getenv("TMUX") != "" {
		return true
	}
	if env.Getenv("STY") != "" { // GNU screen, in whatever
		return false
	}
	for _, name := range []string{"VTE_VERSION", "TERM_PROGRAM", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "ALACRITTY_WINDOW_ID", "WT_SESSION"} {
		if env.Getenv(name) != "" {
			return true
		}
	}
	term := env.Getenv("TERM")
	return strings.HasPrefix(term, "foot") || strings.HasPrefix(term, "alacritty")
}

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
