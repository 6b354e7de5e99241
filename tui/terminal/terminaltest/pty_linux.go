package terminaltest

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait. It costs only where something is broken.
const patience = 3 * time.Minute

// Manners are how a terminal answers.
type Manners int

const (
	// AtOnce is how most do.
	AtOnce Manners = iota
	// Late answers come when the program draws already.
	Late
	// InPieces come byte by byte, each when the one before was read.
	InPieces
	// Hesitant answers come byte by byte, with a pause between them that is longer than a key takes.
	Hesitant
	// Never is how a terminal does that knows no questions.
	Never
)

// All manners, by name.
func All() map[string]Manners {
	return map[string]Manners{"at once": AtOnce, "late": Late, "in pieces": InPieces, "hesitant": Hesitant, "never": Never}
}

// hesitation is the pause between two bytes of a hesitant terminal.
const hesitation = 70 * time.Millisecond

// Terminal is a terminal of its own.
type Terminal struct {
	// TTY is the program's side.
	TTY    *os.File
	t      testing.TB
	master *os.File
	how    Manners
	// ground is the background that it tells.
	ground string

	mu    sync.Mutex
	wrote []byte
	// busy is how many answers are on their way.
	busy int
	// asked are the questions, in order; told is how many of them were answered. seen is how far was looked for more.
	asked []string
	told  int
	seen  int
	over  sync.WaitGroup
}

// Open opens a terminal with a dark background, of 100 by 30 cells.
func Open(t testing.TB, how Manners) *Terminal { return OpenOn(t, how, "1e1e/1e1e/1e1e") }

// OpenOn opens a terminal with a background, as RRRR/GGGG/BBBB.
func OpenOn(t testing.TB, how Manners, ground string) *Terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &Terminal{TTY: tty, t: t, master: master, how: how, ground: ground}
	term.Resize(100, 30)
	term.over.Go(term.listen)
	t.Cleanup(func() {
		_ = tty.Close() // with the last of its kind the other side reads an error
		_ = master.Close()
		term.over.Wait()
	})
	return term
}

// Resize sets the size, in cells.
func (t *Terminal) Resize(width, height int) {
	t.t.Helper()
	size := &unix.Winsize{Col: uint16(width), Row: uint16(height)} //nolint:gosec // small
	if err := unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.t.Fatal(err)
	}
}

// question is what programs ask terminals: colours, what they are, where the cursor is.
var question = regexp.MustCompile(`\x1b\](1[0-2]|4;\d+);\?(\x07|\x1b\\)|\x1b\[[>=]?0?c|\x1b\[\??[56]n|\x1bP[+$]q[^\x1b]*\x1b\\|\x1b\[>0?q`)

// listen takes in what the program writes.
func (t *Terminal) listen() {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.master.Read(buf)
		if err != nil {
			return
		}
		t.mu.Lock()
		t.wrote = append(t.wrote, buf[:n]...)
		for {
			at := question.FindIndex(t.wrote[t.seen:])
			if at == nil {
				break
			}
			t.asked = append(t.asked, string(t.wrote[t.seen+at[0]:t.seen+at[1]]))
			t.seen += at[1]
		}
		drawn := bytes.Contains(t.wrote, []byte("\x1b[?1049h"))
		t.mu.Unlock()
		switch t.how {
		case AtOnce, InPieces, Hesitant:
			t.answer()
		case Late:
			if drawn {
				t.answer()
			}
		case Never:
		}
	}
}

// answer answers what was asked and not yet answered.
func (t *Terminal) answer() {
	t.mu.Lock()
	var answers strings.Builder
	for _, q := range t.asked[t.told:] {
		answers.WriteString(t.reply(q))
	}
	t.told = len(t.asked)
	t.busy++
	t.mu.Unlock()
	text := answers.String()
	t.over.Go(func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.busy--
		}()
		if t.how == AtOnce || t.how == Late {
			_, _ = t.master.WriteString(text) // a program that is gone reads nothing
			return
		}
		for i := range len(text) {
			if _, err := t.master.WriteString(text[i : i+1]); err != nil || !t.read() {
				return
			}
			if t.how == Hesitant {
				time.Sleep(hesitation)
			}
		}
	})
}

// reply is the answer to a question, as xterm gives it.
func (t *Terminal) reply(q string) string {
	switch {
	case strings.HasPrefix(q, "\x1b]11"):
		return "\x1b]11;rgb:" + t.ground + "\x1b\\"
	case strings.HasPrefix(q, "\x1b]"):
		return strings.Split(q, "?")[0] + "rgb:d8d8/dcdc/e3e3\x1b\\"
	case strings.HasPrefix(q, "\x1b[>") && strings.HasSuffix(q, "q"):
		return "\x1bP>|xterm(390)\x1b\\"
	case strings.HasPrefix(q, "\x1bP"):
		return "\x1bP0+r\x1b\\"
	case strings.HasSuffix(q, "6n"):
		return "\x1b[12;34R"
	case strings.HasSuffix(q, "5n"):
		return "\x1b[0n"
	case strings.HasPrefix(q, "\x1b[>"):
		return "\x1b[>41;390;0c"
	}
	return "\x1b[?64;1;2;6;9;15;18;21;22c"
}

// read waits until the program has read all that was written to it; it reports whether it has.
func (t *Terminal) read() bool { return t.until(func() bool { return t.Unread() <= 0 }) }

// Unread is how many bytes were sent to the program that it has not read; -1 when the terminal is gone.
func (t *Terminal) Unread() int {
	n, err := unix.IoctlGetInt(int(t.TTY.Fd()), unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}

func (t *Terminal) until(so func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if so() {
			return true
		}
	}
	return false
}

// Wrote is all that the program wrote.
func (t *Terminal) Wrote() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.wrote)
}

// Asked is what the program asked.
func (t *Terminal) Asked() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.asked...)
}

// Type sends keys, all at once.
func (t *Terminal) Type(keys string) {
	t.t.Helper()
	if _, err := t.master.WriteString(keys); err != nil {
		t.t.Fatal(err)
	}
	if !t.read() {
		t.t.Fatalf("nobody reads %q", keys)
	}
}

// Press sends a key until a text is written that was not before: what comes close behind something else is no key. Only for keys that may be
// pressed again.
func (t *Terminal) Press(key, text string) {
	t.t.Helper()
	from := t.Now()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		t.Type(key)
		for again := time.Now().Add(time.Second); time.Now().Before(again); time.Sleep(time.Millisecond) {
			if strings.Contains(t.Since(from), text) {
				return
			}
		}
	}
	t.t.Fatalf("%q does not lead to %q; this was written:\n%q", key, text, t.Since(from))
}

// Await waits until a text is written after what was written when from was taken, by Mark.
func (t *Terminal) Await(from Mark, text string) {
	t.t.Helper()
	if !t.until(func() bool { return strings.Contains(t.Since(from), text) }) {
		t.t.Fatalf("%q was not written; this was:\n%q", text, t.Since(from))
	}
}

// Answered waits until all that was asked is answered, and read.
func (t *Terminal) Answered() {
	t.t.Helper()
	if t.how == Never {
		return
	}
	t.until(func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.told == len(t.asked) && t.busy == 0
	})
	t.read()
}

// Settle waits until all that was written is known. What it writes for that is no part of it.
func (t *Terminal) Settle() {
	t.t.Helper()
	const end = "\x1b_end of it\x1b\\"
	if _, err := t.TTY.WriteString(end); err != nil {
		t.t.Fatal(err)
	}
	if !t.until(func() bool { return strings.HasSuffix(t.Wrote(), end) }) {
		t.t.Fatal("the terminal does not say what was written to it")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote = t.wrote[:len(t.wrote)-len(end)]
	t.seen = min(t.seen, len(t.wrote))
}

// Mark is a place in what was written.
type Mark int

// Now is the end of what was written.
func (t *Terminal) Now() Mark { return Mark(len(t.Wrote())) }

// Since is what was written after a place.
func (t *Terminal) Since(m Mark) string { return t.Wrote()[m:] }
