package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

// asking is an app whose people type what is in.
func asking(in io.Reader) (*App, *bytes.Buffer) {
	var out bytes.Buffer
	c := console.New(&out, nil)
	return &App{out: c, err: c, answers: &answers{in: in}}, &out
}

// TestConfirm: only yes is a yes, and no answer is none.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"y\n": "", "Yes\r\n": "", " y ": "", "n\n": "nothing was done", "\n": "nothing was done", "yesno\n": "nothing was done",
		"": "nobody answered", strings.Repeat("y", 5000) + "\n": "nothing was done",
	} {
		a, out := asking(strings.NewReader(typed))
		err := a.confirm(t.Context(), "Go on?")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", typed, err, want)
		}
		if !strings.HasPrefix(out.String(), "Go on? [y/N] ") {
			t.Errorf("asked %q", out)
		}
	}
}

// TestAnswersAreForTheirQuestions: each question takes its own line and leaves the rest, however the input comes.
func TestAnswersAreForTheirQuestions(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with the end": iotest.DataErrReader,
	} {
		rest := strings.NewReader("y\nn\nyes\nheld\nfor somebody else")
		a, _ := asking(wrap(rest))
		if err := a.confirm(t.Context(), "1?"); err != nil {
			t.Errorf("%s: first: %v", name, err)
		}
		if err := a.confirm(t.Context(), "2?"); err == nil {
			t.Errorf("%s: the second is no yes", name)
		}
		if err := a.confirm(t.Context(), "3?"); err != nil {
			t.Errorf("%s: third: %v", name, err)
		}
		<-a.enter()
		if name == "at once" {
			left, err := io.ReadAll(rest)
			if err != nil || string(left) != "for somebody else" {
				t.Errorf("left %q, %v", left, err)
			}
		}
	}
}

// TestInterruptedQuestion: an interrupt does not wait for Enter.
func TestInterruptedQuestion(t *testing.T) {
	t.Parallel()
	in, typing := io.Pipe()
	t.Cleanup(func() { _ = typing.Close() })
	a, out := asking(in)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := a.confirm(ctx, "Go on?")
	var usage usageError
	if err == nil || errors.As(err, &usage) || err.Error() != "interrupted, so nothing was done" || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("%v, %q", err, out)
	}
}

// TestUntilSecondInterrupt: the first one ends the work in order, the second leaves it.
func TestUntilSecondInterrupt(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := untilSecondInterrupt(t.Context(), func() { t.Error("nobody interrupted") }, func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer close(ended)
	cancel()
	err = untilSecondInterrupt(ctx, func() {
		if err := self.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
	}, func() error {
		<-ended
		return nil
	})
	if !errors.Is(err, errLeft) {
		t.Errorf("%v", err)
	}
	// One that ends by the first interrupt is waited for.
	ctx, cancel = context.WithCancel(t.Context())
	told := make(chan struct{})
	cancel()
	if err := untilSecondInterrupt(ctx, func() { close(told) }, func() error {
		<-told
		return io.EOF
	}); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
