package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// answers are what people type, a line for each question.
type answers struct {
	in io.Reader
	mu sync.Mutex
}

// maxAnswer bounds what is kept of a line, in bytes.
const maxAnswer = 1000

// line reads a line without its end. It reads no byte more: what follows is the answer to the next question, of this command or of another one
// that has the same input. At the end of the input a line that has no end counts; io.EOF says that there is none.
func (a *answers) line() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var text []byte
	one := make([]byte, 1)
	for {
		n, err := a.in.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return strings.TrimSuffix(string(text), "\r"), nil
		case n == 1 && len(text) < maxAnswer:
			text = append(text, one[0])
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) && len(text) > 0 {
			return string(text), nil
		}
		return "", err
	}
}

// wait waits for a line, unless ctx ends. Then the reading is left to itself: the command is about to end.
func (a *answers) wait(ctx context.Context) (string, error) {
	type line struct {
		text string
		err  error
	}
	typed := make(chan line, 1)
	go func() {
		text, err := a.line()
		typed <- line{text, err}
	}()
	select {
	case l := <-typed:
		return l.text, l.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// confirm asks; without an answer nothing is done.
func (a *App) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, err := a.answers.wait(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(a.err)
		return errors.New("interrupted, so nothing was done")
	case err != nil:
		fmt.Fprintln(a.err)
		return usageError{errors.New("nobody answered, so nothing was done; --yes goes on without asking")}
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	default:
		return errors.New("nothing was done")
	}
}

// secondInterrupt calls first when ctx ends, which is the first interrupt's doing, and second at the next one.
func secondInterrupt(ctx context.Context, ended <-chan struct{}, first, second func()) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	first()
	select {
	case <-interrupts:
		second()
	case <-ended:
	}
}

// errLeft says that a command did not wait for what it had begun.
var errLeft = errors.New("interrupted twice: not all that is broken was seen to be over; it ends by itself, and `lab status` shows what is left")

// untilSecondInterrupt does a work that ctx ends in order, and leaves it at the second interrupt.
func untilSecondInterrupt(ctx context.Context, first func(), work func() error) error {
	ended, left := make(chan struct{}), make(chan struct{})
	defer close(ended)
	go secondInterrupt(ctx, ended, first, func() { close(left) })
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-left:
		return errLeft
	}
}
