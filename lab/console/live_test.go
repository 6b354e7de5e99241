package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/muesli/termenv"
)

// TestBoardOnTerminal: moving lines are erased before what stays is printed, and fit the width.
func TestBoardOnTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := New(&out, nil)
	c.live, c.width = true, 40
	b := &Board{c: c, stop: make(chan struct{})}
	p := b.Begin("nodes")
	p.Say(strings.Repeat("long ", 20))
	b.draw()
	if last := lastLine(out.String()); len([]rune(last)) > 39 || !strings.HasSuffix(last, "…") {
		t.Errorf("%q does not fit", last)
	}
	p.Done("six")
	if got := out.String(); !strings.Contains(got, "\x1b[1A\x1b[J✓ nodes") || b.drawn != 0 {
		t.Errorf("%q", got)
	}
	b.Close()
}

func lastLine(text string) string {
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.TrimPrefix(all[len(all)-1], "\x1b[1A\x1b[J")
}

// TestEnvironment: colour follows the environment that was given, not the process's.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	e := Environment{"TERM=dumb", "NO_COLOR=1", "TERM=xterm"}
	if e.Getenv("TERM") != "xterm" || e.Getenv("NO_COLOR") != "1" || e.Getenv("NO") != "" || dumb(e) {
		t.Error("the last of a name counts")
	}
	if !dumb([]string{"TERM=dumb"}) {
		t.Error("a dumb terminal can be written over")
	}
	if p := termenv.NewOutput(&bytes.Buffer{}, termenv.WithEnvironment(e), termenv.WithTTY(true)).EnvColorProfile(); p != termenv.Ascii {
		t.Errorf("NO_COLOR gives profile %v", p)
	}
}
