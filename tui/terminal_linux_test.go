package tui

import (
	"context"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/tui/terminal/terminaltest"
	"github.com/swarmlab/swarmlab/tui/world"
	"github.com/swarmlab/swarmlab/tui/world/worldtest"
)

// onTerminal runs the UI on a terminal; it returns what ends when the UI does.
func onTerminal(t *testing.T, tty *terminaltest.Terminal, environ ...string) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Terminal{In: tty.TTY, Out: tty.TTY, Environ: append([]string{utf8}, environ...), Tutorial: tutorialText}, &backend{},
			worldtest.Of("healthy"), make(chan world.Model))
	}()
	t.Cleanup(cancel)
	return ended
}

const colourful = "TERM=xterm-256color"

// shown is what only the page has that is shown first.
const shown = "6 of 6 nodes ready"

// elsewhere is what is drawn when a key was taken: other pages, help, questions, the line in which a page is named.
func elsewhere() []string {
	return []string{"What is broken", "votes a second", "HAPPENED", "Select a node", "Six nodes, by hand.", "any other key", "open the page", "y/N", "1e1e", "casting"}
}

// However and whenever a terminal answers what it is asked, the UI shows its first page, nothing is taken for a key, and keys are taken.
func TestTerminals(t *testing.T) {
	t.Parallel()
	for name, how := range terminaltest.All() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tty := terminaltest.Open(t, how)
			ended := onTerminal(t, tty, colourful)
			tty.Await(0, shown)
			tty.Answered()
			for _, text := range elsewhere() {
				if strings.Contains(tty.Wrote(), text) {
					t.Errorf("there is %q, and nobody pressed a key", text)
				}
			}
			if asked := tty.Asked(); strings.Join(asked, " ") != "\x1b]11;?\x1b\\ \x1b[c" {
				t.Errorf("it asked %q", asked)
			}
			tty.Press("4", "HAPPENED")
			tty.Type("q")
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n := tty.Unread(); n != 0 {
				t.Errorf("%d bytes are left for the shell", n)
			}
		})
	}
}

// Who has no colours, or several terminals, is not asked.
func TestNotAsked(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string][]string{
		"no colours wanted": {colourful, "NO_COLOR=1"}, "tmux": {"TERM=tmux-256color"}, "screen": {"TERM=screen-256color"}, "the console": {"TERM=linux"},
		"nothing known": {"TERM=vt100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tty := terminaltest.Open(t, terminaltest.AtOnce)
			ended := onTerminal(t, tty, environ...)
			tty.Await(0, shown)
			tty.Type("q")
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if asked := tty.Asked(); len(asked) > 0 {
				t.Errorf("it asked %q", asked)
			}
		})
	}
}

// The colours are those for the background that the terminal tells.
func TestColoursOfTheGround(t *testing.T) {
	t.Parallel()
	for ground, accent := range map[string]string{"ffff/ffff/ffff": "38;5;25m", "0000/0000/0000": "38;5;75m"} {
		tty := terminaltest.OpenOn(t, terminaltest.AtOnce, ground)
		ended := onTerminal(t, tty, colourful)
		tty.Await(0, shown)
		tty.Type("q")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !strings.Contains(tty.Wrote(), accent) {
			t.Errorf("on %s there is no %q", ground, accent)
		}
	}
}

// What comes in one burst is no command: not a paste, marked or not, nor an answer to what somebody else asked, whole or in part.
func TestBursts(t *testing.T) {
	t.Parallel()
	tty := terminaltest.Open(t, terminaltest.AtOnce)
	ended := onTerminal(t, tty, colourful)
	tty.Await(0, shown)
	tty.Answered()
	for _, burst := range []string{
		"qqq", "2\r", ":quit\r", "34?", "Hy", "+++", "\x1b[200~q\x1b[201~", "\x1b[200~4", "4\x1b[201~", "\x1b]10;rgb:1e1e/1e1e/1e1e\x1b\\", "]11;rgb:1e1e/1e1e/1e1e", "1e1e/1e1e",
		"\x1b[64;1;2c", "\x1b[12;34R", "\x1b[?12;4R", "\x1b[3;4;5t", "\x1bP1$r0m\x1b\\", "\x1b[<35;40;12M\x1b[<35;41;12M", "\x1b[I\x1b[O",
	} {
		tty.Type(burst)
	}
	tty.Press("?", "any other key") // alone: a key
	for _, text := range []string{"What is broken", "votes a second", "HAPPENED", "Select a node", "Six nodes, by hand.", "open the page", "y/N", "casting"} {
		if strings.Contains(tty.Wrote(), text) {
			t.Errorf("there is %q, and nobody pressed its key", text)
		}
	}
	tty.Type("\x03\x03")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Text that comes in one burst is text where text is typed.
func TestPastedText(t *testing.T) {
	t.Parallel()
	tty := terminaltest.Open(t, terminaltest.AtOnce)
	ended := onTerminal(t, tty, colourful)
	tty.Await(0, shown)
	tty.Answered()
	from := tty.Now()
	tty.Type(":")
	tty.Await(from, "open the page")
	from = tty.Now()
	tty.Type("even")
	tty.Await(from, "even")
	from = tty.Now()
	tty.Type("\r")
	tty.Await(from, "HAPPENED")
	tty.Type("q")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A terminal that does not know its size is taken for a usual one.
func TestNoSize(t *testing.T) {
	t.Parallel()
	tty := terminaltest.Open(t, terminaltest.AtOnce)
	tty.Resize(0, 0)
	ended := onTerminal(t, tty, colourful)
	tty.Await(0, shown)
	tty.Type("q")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
