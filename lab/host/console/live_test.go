package console

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

// screen is a terminal that a board is drawn on: as many lines as it takes, of which the last height can be reached. It knows what boards write.
type screen struct {
	width, height int
	lines         []string
	row, saved    int
	// fresh: the cursor is at the beginning of its row.
	fresh  bool
	nowrap bool
	// kept counts how often the whole screen was erased, which tmux keeps a copy of.
	kept   int
	failed error
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		var sequence string
		if strings.HasPrefix(text, "\x1b7") || strings.HasPrefix(text, "\x1b8") {
			sequence, text = text[:2], text[2:]
		} else if strings.HasPrefix(text, "\x1b[") {
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' && r <= '~' })
			sequence, text = text[:end+3], text[end+3:]
		} else {
			end := strings.IndexAny(text, "\x1b\r\n")
			switch {
			case end < 0:
				end = len(text)
			case end == 0:
				end = 1
			}
			sequence, text = text[:end], text[end:]
		}
		s.take(sequence)
	}
	return len(p), nil
}

func (s *screen) take(sequence string) {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, "")
	}
	var up int
	switch {
	case sequence == "\n":
		s.row++
		s.fresh = true
	case sequence == "\r":
		s.fresh = true
	case sequence == "\x1b7":
		s.saved = s.row
	case sequence == "\x1b8":
		s.row, s.fresh = s.saved, true
	case sequence == "\x1b[B":
		s.row = min(s.row+1, max(len(s.lines)-1, s.top()+s.height-1))
	case sequence == "\x1b[K":
		if s.fresh {
			s.lines[s.row] = ""
		}
	case sequence == "\x1b[J":
		if s.fresh && s.row == s.top() {
			s.kept++
		}
		s.lines = s.lines[:s.row+1]
		if s.fresh {
			s.lines[s.row] = ""
		}
	case sequence == "\x1b[?7l":
		s.nowrap = true
	case sequence == "\x1b[?7h":
		s.nowrap = false
	case strings.HasSuffix(sequence, "m") && sequence[0] == '\x1b':
	case sequence[0] == '\x1b':
		if _, err := fmt.Sscanf(sequence, "\x1b[%dA", &up); err != nil {
			s.failed = fmt.Errorf("what is %q?", sequence)
			return
		}
		s.row = max(s.row-up, s.top())
	case s.nowrap:
		s.lines[s.row] = ansi.Truncate(s.before()+sequence, s.width, "")
	default:
		for rest := s.before() + sequence; ; s.row++ {
			for len(s.lines) <= s.row {
				s.lines = append(s.lines, "")
			}
			s.lines[s.row] = ansi.Truncate(rest, s.width, "")
			if rest = ansi.TruncateLeft(rest, s.width, ""); rest == "" {
				break
			}
		}
	}
}

// top is the first row that can be reached.
func (s *screen) top() int { return max(len(s.lines)-s.height, 0) }

// before is what stands before the cursor: what is written at the beginning of a row takes the place of all of it, as each row of a board is erased
// behind what is written.
func (s *screen) before() string {
	if s.fresh {
		s.fresh = false
		return ""
	}
	return s.lines[s.row]
}

// resize makes the screen narrower or wider; one that reflows breaks lines that are too long, with the cursor in what it stood on, one that does not
// cuts them.
func (s *screen) resize(width int, reflow bool) {
	var lines []string
	row := s.row
	for i, line := range s.lines {
		if i == s.row {
			row = len(lines)
		}
		lines = append(lines, ansi.Truncate(line, width, ""))
		for line = ansi.TruncateLeft(line, width, ""); reflow && line != ""; line = ansi.TruncateLeft(line, width, "") {
			lines = append(lines, ansi.Truncate(line, width, ""))
		}
	}
	s.width, s.lines, s.row = width, lines, row
}

// with counts the lines that hold a word.
func (s *screen) with(word string) int {
	n := 0
	for _, line := range s.lines {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}

func newScreen(width, height int) (*screen, *Console) {
	s := &screen{width: width, height: height}
	c := &Console{w: s, live: true, measure: func() (int, int, error) { return s.width, s.height, nil }}
	return s, c
}

func newBoard(c *Console) *Board { return &Board{c: c, stop: make(chan struct{})} }

// TestBoardFollowsTheSize: whatever becomes of the terminal's width, each phase has one line, and what was printed stays.
func TestBoardFollowsTheSize(t *testing.T) {
	t.Parallel()
	for _, reflow := range []bool{false, true} {
		s, c := newScreen(80, 24)
		c.reflows = reflow
		b := newBoard(c)
		b.Note("-")
		first, second := b.Begin("first"), b.Begin("second")
		first.Say("11" + strings.Repeat(" long", 30))
		second.Say("22" + strings.Repeat(" long", 30))
		for _, width := range []int{80, 40, 19, 12, 5, 1, 2, 30, 120, 80} {
			s.resize(width, reflow)
			for range 5 {
				b.draw()
			}
			if got := len(s.lines); got != 4 || s.failed != nil {
				t.Errorf("reflow %t, %d columns: %d lines, %v:\n%s", reflow, width, got, s.failed, strings.Join(s.lines, "\n"))
			}
			for _, line := range s.lines {
				if ansi.StringWidth(line) > width {
					t.Errorf("%d columns: %q", width, line)
				}
			}
		}
		b.Note("between")
		first.Done("well")
		second.Done("well")
		b.Close()
		want := []string{"between", "✓ first", "✓ second"}
		for _, word := range want {
			if s.with(word) != 1 {
				t.Errorf("reflow %t: %d lines with %q:\n%s", reflow, s.with(word), word, strings.Join(s.lines, "\n"))
			}
		}
		if s.kept > 0 {
			t.Errorf("reflow %t: the whole screen was erased %d times", reflow, s.kept)
		}
		if s.with("long") != 0 {
			t.Errorf("reflow %t: moving lines are left:\n%s", reflow, strings.Join(s.lines, "\n"))
		}
	}
}

// TestBoardMadeNarrowerMeanwhile: the size that was asked for may be an old one by the time of the writing.
func TestBoardMadeNarrowerMeanwhile(t *testing.T) {
	t.Parallel()
	s, c := newScreen(30, 24)
	c.measure = func() (int, int, error) { return 80, 24, nil }
	b := newBoard(c)
	b.Begin("first").Say(strings.Repeat("long ", 20))
	b.Begin("second").Say(strings.Repeat("long ", 20))
	for range 5 {
		b.draw()
	}
	b.phases[0].Done("well")
	if len(s.lines) != 3 || s.failed != nil || s.kept > 0 {
		t.Errorf("%v, erased %d times\n%s", s.failed, s.kept, strings.Join(s.lines, "\n"))
	}
	b.Close()
	if s.with("long") != 0 || s.with("✓ first") != 1 || s.kept > 0 {
		t.Errorf("erased %d times\n%s", s.kept, strings.Join(s.lines, "\n"))
	}
}

// TestBoardOnALowTerminal: what scrolls out of a terminal cannot be erased.
func TestBoardOnALowTerminal(t *testing.T) {
	t.Parallel()
	s, c := newScreen(80, 3)
	b := newBoard(c)
	b.Note("before")
	for i := range 6 {
		b.Begin(fmt.Sprintf("phase%d", i))
	}
	for range 5 {
		b.draw()
	}
	if s.with("before") != 1 || s.with("phase") != 2 {
		t.Errorf("\n%s", strings.Join(s.lines, "\n"))
	}
}

func TestReflows(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]bool{
		"": false, "TERM=xterm-256color": false, "XTERM_VERSION=XTerm(379) TERM=xterm": false, "TMUX=/tmp/t,1,0 XTERM_VERSION=XTerm(379)": true,
		"VTE_VERSION=7006": true, "STY=1.pts VTE_VERSION=7006": false, "TERM_PROGRAM=iTerm.app": true, "WT_SESSION=a": true, "TERM=foot-extra": true,
	} {
		if got := reflows(Environment(strings.Fields(environ))); got != want {
			t.Errorf("%s: %t", environ, got)
		}
	}
}

// TestSizeUnknown: a terminal that says 0 by 0 is as large as the first ones were.
func TestSizeUnknown(t *testing.T) {
	t.Parallel()
	_, c := newScreen(0, 0)
	if width, height := c.size(); width != 80 || height != 24 || c.Width() != 80 {
		t.Errorf("%d×%d", width, height)
	}
}

// TestBoardInASCII: a locale without UTF-8 gets none, neither of ours nor of others, and lines fit all the same.
func TestBoardInASCII(t *testing.T) {
	t.Parallel()
	for _, width := range []int{60, 5} {
		s, c := newScreen(width, 24)
		c.ascii = true
		var all bytes.Buffer
		c.w = &both{&all, s}
		b := newBoard(c)
		for range 12 {
			b.frame++
			b.draw()
		}
		p := b.Begin("nodes")
		p.Say("größer · " + Gauge(0.5, 10) + strings.Repeat(" 表", 30))
		b.Note("… " + Spark([]int64{1, 2, 3, 4, 5, 6, 7, 8}, 8))
		p.Done("→ six")
		b.Close()
		for _, r := range all.String() {
			if r >= 0x80 {
				t.Errorf("%q in %q", r, &all)
				break
			}
		}
		if width == 60 && (!strings.Contains(all.String(), "#####.....") || !strings.Contains(all.String(), "... ") || s.with("+ nodes") != 1) {
			t.Errorf("%q", &all)
		}
	}
}

type both struct {
	a *bytes.Buffer
	b *screen
}

func (w *both) Write(p []byte) (int, error) {
	w.a.Write(p)
	return w.b.Write(p)
}

// TestColoursOfOthers: only what the console's own style coloured is in colour.
func TestColoursOfOthers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &Console{w: &out, Style: Style{mark: "123"}}
	other := Style{mark: "124"}
	fmt.Fprintf(c, "%s %s %s\n", c.Good("good"), "\x1b[32mtheirs\x1b[0m", other.Bad("bad"))
	fmt.Fprintln(c, c.Dim("a \x1b[8mhidden\x1b]52;c;x\a\u202e b"))
	want := "\x1b[32mgood\x1b[0m theirs bad\n\x1b[2ma hidden b\x1b[0m\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	c.mark = ""
	fmt.Fprintf(c, "%s %s\n", c.Good("good"), "\x1b[32mtheirs\x1b[;32m")
	if got := out.String(); got != "good theirs\n" {
		t.Errorf("without colours: %q", got)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	c := &Console{w: &bytes.Buffer{}}
	for _, tt := range []struct {
		text  string
		width int
		ascii bool
		want  string
	}{
		{"short", 10, false, "short"},
		{"two\nlines\x1b[2J", 20, false, "two lines"},
		{"a bit longer", 6, false, "a bit…"},
		{"a bit longer", 8, true, "a bit..."},
		{"größer", 10, true, "gr??er"},
		{"x表表表", 5, false, "x表…"},
		{"longer", 1, false, "l"},
		{"longer", 3, true, "lon"},
		{"longer", -7, false, "l"},
	} {
		c.ascii = tt.ascii
		if got := c.Fit(tt.text, tt.width); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

// TestEnvironment: colour follows the environment that was given, not the process's.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	e := Environment{"TERM=dumb", "NO_COLOR=1", "TERM=xterm"}
	if e.Getenv("TERM") != "xterm" || e.Getenv("NO_COLOR") != "1" || e.Getenv("NO") != "" {
		t.Error("the last of a name counts")
	}
	if p := termenv.NewOutput(&bytes.Buffer{}, termenv.WithEnvironment(e), termenv.WithTTY(true)).EnvColorProfile(); p != termenv.Ascii {
		t.Errorf("NO_COLOR gives profile %v", p)
	}
}
