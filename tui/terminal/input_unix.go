//go:build unix

package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"
)

// Input is a terminal's input, press by press. Close it to give the terminal back.
type Input struct {
	file  *os.File
	out   io.Writer
	state *term.State
	// wake ends the goroutine that reads: it writes there.
	wake, woken *os.File
	over        sync.WaitGroup
	scan        scanner
	// heard are answers, while somebody waits for them.
	heard chan []byte

	mu sync.Mutex
	// ready is what can be read, a press each; more tells that there is more of it, or that there will be none.
	ready [][]byte
	more  *sync.Cond
	err   error
	// nudged: a Read that waits is to return.
	nudged bool
	// asked is when the terminal was asked.
	asked time.Time
	// late is how long an answer is waited for that has not come when the terminal is given back.
	late time.Duration
	// answered is closed when it has said all.
	answered chan struct{}
}

// Open takes a terminal over: it sends keys as they are pressed, and shows nothing of them. Queries go to out.
func Open(file *os.File, out io.Writer) (*Input, error) {
	woken, wake, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	state, err := term.MakeRaw(file.Fd())
	if err != nil {
		_, _ = wake.Close(), woken.Close() // there is nothing in it
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	in := &Input{file: file, out: out, state: state, wake: wake, woken: woken, heard: make(chan []byte, 16), late: Patience, answered: make(chan struct{})}
	in.more = sync.NewCond(&in.mu)
	in.over.Go(in.listen)
	return in, nil
}

// Background asks the terminal for its background, and waits for as long as patience. ok: it has answered.
func (in *Input) Background(patience time.Duration) (dark, ok bool) {
	in.mu.Lock()
	in.asked = time.Now()
	in.mu.Unlock()
	if _, err := io.WriteString(in.out, askBackground+askAttributes); err != nil {
		return false, false
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case a := <-in.heard:
			if isAttributes(a) {
				return dark, ok
			}
			if d, is := background(a); is {
				dark, ok = d, true
			}
		case <-late.C:
			return dark, ok
		}
	}
}

// Read reads a press, or the beginning of one that is longer than p; nothing after a Nudge.
func (in *Input) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.ready) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		if in.nudged {
			in.nudged = false
			return 0, nil
		}
		in.more.Wait()
	}
	n := copy(p, in.ready[0])
	if in.ready[0] = in.ready[0][n:]; len(in.ready[0]) == 0 {
		in.ready = in.ready[1:]
	}
	return n, nil
}

// Nudge lets a Read that waits, or the next, return with nothing.
func (in *Input) Nudge() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.nudged = true
	in.more.Broadcast()
}

// Release gives the terminal back as it was, until Retake takes it over again.
func (in *Input) Release() error {
	if err := term.Restore(in.file.Fd(), in.state); err != nil {
		return fmt.Errorf("give the terminal back: %w", err)
	}
	return nil
}

// Retake takes the terminal over again after Release, as the shell left it.
func (in *Input) Retake() error {
	state, err := in.raw()
	if err == nil {
		in.state = state
	}
	return err
}

// Raw takes the terminal over again, where somebody else changed its modes without a Release: it will be given back as it was at first.
func (in *Input) Raw() error {
	_, err := in.raw()
	return err
}

func (in *Input) raw() (*term.State, error) {
	state, err := term.MakeRaw(in.file.Fd())
	if err != nil {
		return nil, fmt.Errorf("take the terminal over again: %w", err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.nudged = false
	return state, nil
}

// owed reports whether the terminal was asked not long ago.
func (in *Input) owed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return !in.asked.IsZero() && time.Since(in.asked) < lateWithin
}

// Close gives the terminal back. An answer that is still on its way is waited for a little: the shell would take it for something typed.
func (in *Input) Close() error {
	in.end(io.EOF)
	over := make(chan struct{})
	go func() { in.over.Wait(); close(over) }()
	if in.owed() {
		late := time.NewTimer(in.late)
		defer late.Stop()
		select {
		case <-in.answered:
		case <-over:
		case <-late.C:
		}
	}
	_ = in.wake.Close() // what is read there now is its end
	<-over
	_ = in.woken.Close() // only read from
	return in.Release()
}

// end lets Read return.
func (in *Input) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.more.Broadcast()
}

// listen reads the terminal until it is gone, or given back.
func (in *Input) listen() {
	buf := make([]byte, 4<<10)
	var (
		burst      []piece
		said       bool
		unfinished time.Time // since when something is that has no end
	)
	for {
		patience := time.Duration(-1)
		switch {
		case in.scan.pasting():
			patience = pasteWithin
		case in.scan.waiting() && !said && in.owed():
			patience = answerWithin
		case in.scan.waiting():
			patience = keyWithin
		case len(burst) > 0:
			patience = burstWithin
		case in.scan.unfinished():
			patience = min(lostWithin, max(0, lostAfter-time.Since(unfinished)))
		}
		there, err := in.wait(patience)
		switch {
		case errors.Is(err, errClosed):
			return
		case err != nil:
			in.end(err)
			return
		case !there && len(burst) == 0 && in.scan.unfinished():
			in.scan.drop()
			continue
		case !there:
			burst = append(burst, in.scan.quiet()...)
			in.give(presses(burst))
			burst = nil
			continue
		}
		n, err := in.file.Read(buf)
		if err != nil {
			in.end(err)
			return
		}
		if !in.scan.unfinished() {
			unfinished = time.Now()
		}
		pieces := in.scan.feed(buf[:n])
		if in.hear(pieces) && !said {
			said = true
			close(in.answered)
		}
		burst = append(burst, pieces...)
		if !in.scan.waiting() && !typed(burst) {
			in.give(presses(burst)) // nothing of it is a key that could be one of many
			burst = nil
		}
	}
}

// typed reports whether there are keys that may be the first of many.
func typed(burst []piece) bool {
	for _, p := range burst {
		if p.kind == text || p.kind == control {
			return true
		}
	}
	return false
}

func (in *Input) give(presses [][]byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ready = append(in.ready, presses...)
	in.more.Broadcast()
}

// hear passes answers on; what nobody waits for is forgotten. It reports whether the last one was among them.
func (in *Input) hear(pieces []piece) (last bool) {
	for _, p := range pieces {
		if p.kind != answer {
			continue
		}
		last = last || isAttributes(p.bytes)
		select {
		case in.heard <- p.bytes:
		default:
		}
	}
	return last
}

// errClosed ends listening.
var errClosed = errors.New("closed")

// wait waits for something to read; a negative patience has no end. select(2) and not poll: on macOS that one does not know terminals.
func (in *Input) wait(patience time.Duration) (bool, error) {
	terminal, woken := int(in.file.Fd()), int(in.woken.Fd())
	end := time.Now().Add(patience)
	for {
		var limit *unix.Timeval
		if patience >= 0 {
			left := unix.NsecToTimeval(int64(max(time.Until(end), 0)))
			limit = &left
		}
		var fds unix.FdSet
		fds.Set(terminal)
		fds.Set(woken)
		n, err := unix.Select(max(terminal, woken)+1, &fds, nil, nil, limit)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, fmt.Errorf("wait for the terminal: %w", err)
		case n == 0:
			return false, nil
		case fds.IsSet(woken):
			return false, errClosed
		default:
			return true, nil
		}
	}
}
