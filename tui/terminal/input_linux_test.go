package terminal_test

import (
	"io"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"

	"github.com/swarmlab/swarmlab/tui/terminal"
	"github.com/swarmlab/swarmlab/tui/terminal/terminaltest"
)

// reader reads presses until there are no more.
func reader(t *testing.T, in *terminal.Input) <-chan string {
	t.Helper()
	presses := make(chan string, 100)
	go func() {
		defer close(presses)
		buf := make([]byte, 256)
		for {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			presses <- string(buf[:n])
		}
	}()
	return presses
}

// However a terminal answers: its background is known if it says it in time, no part of the answer is a key, and keys are.
func TestInput(t *testing.T) {
	t.Parallel()
	for name, how := range terminaltest.All() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tty := terminaltest.OpenOn(t, how, "ffff/ffff/ffff")
			before, err := term.GetState(tty.TTY.Fd())
			if err != nil {
				t.Fatal(err)
			}
			in, err := terminal.Open(tty.TTY, tty.TTY)
			if err != nil {
				t.Fatal(err)
			}
			presses := reader(t, in)
			said := how != terminaltest.Late && how != terminaltest.Never
			patience := time.Duration(0)
			if said {
				patience = time.Minute
			}
			if dark, ok := in.Background(patience); ok != said || dark {
				t.Errorf("dark %t, known %t", dark, ok)
			}
			// What makes a late one answer.
			if _, err := io.WriteString(tty.TTY, "\x1b[?1049h"); err != nil {
				t.Fatal(err)
			}
			tty.Answered()
			tty.Type("q")
			for p := range presses {
				if p == "q" {
					break
				}
				// Nobody can tell the key esc from the first byte of an answer, when the second one is very late.
				if p != "\x1b" || how != terminaltest.Hesitant && how != terminaltest.InPieces {
					t.Errorf("nobody pressed %q", p)
				}
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			after, err := term.GetState(tty.TTY.Fd())
			if err != nil {
				t.Fatal(err)
			}
			if *before != *after {
				t.Error("the terminal is not as it was")
			}
			for range presses {
			}
		})
	}
}

// An answer that is on its way when the terminal is given back is not left to the shell.
func TestGivenBack(t *testing.T) {
	t.Parallel()
	tty := terminaltest.Open(t, terminaltest.Late)
	if _, err := term.MakeRaw(tty.TTY.Fd()); err != nil { // so that it tells of what is left
		t.Fatal(err)
	}
	in, err := terminal.Open(tty.TTY, tty.TTY)
	if err != nil {
		t.Fatal(err)
	}
	in.WaitFor(time.Minute)
	if _, ok := in.Background(0); ok {
		t.Fatal("nobody said it")
	}
	if _, err := io.WriteString(tty.TTY, "\x1b[?1049h"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	tty.Answered()
	if n := tty.Unread(); n > 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// An answer whose end was lost on the way keeps no key for long.
func TestLostEnd(t *testing.T) {
	t.Parallel()
	for _, cut := range []string{"\x1b]11;rgb:ff", "\x1bP1$r", "\x1b[?62;"} {
		t.Run(cut, func(t *testing.T) {
			t.Parallel()
			tty := terminaltest.Open(t, terminaltest.Never)
			in, err := terminal.Open(tty.TTY, tty.TTY)
			if err != nil {
				t.Fatal(err)
			}
			presses := reader(t, in)
			tty.Type(cut)
			again := time.NewTicker(3 * time.Second)
			defer again.Stop()
			deadline := time.After(time.Minute)
			for quit := false; !quit; {
				select {
				case p := <-presses:
					if quit = p == "q"; !quit {
						t.Errorf("nobody pressed %q", p)
					}
				case <-again.C:
					tty.Type("q")
				case <-deadline:
					t.Fatal("no key comes")
				}
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
