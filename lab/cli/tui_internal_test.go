package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

// A drill that the terminal UI left is waited for, until somebody interrupts.
func TestAwaitDrill(t *testing.T) {
	for name, tt := range map[string]struct {
		none, interrupted bool
		says, err         string
	}{
		"there is none":         {none: true},
		"it heals":              {says: "The drill mine is aborted"},
		"nobody waits any more": {interrupted: true, says: "does not wait; then it ends by itself", err: "not all that the drill mine broke was seen to be over"},
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			var said bytes.Buffer
			app := &App{err: console.New(&said, nil)}
			abandoned := false
			abandon := func() { abandoned = true; close(over) }
			switch {
			case tt.none:
				over = nil
			case tt.interrupted:
				app.err = console.New(interrupts{&said}, nil)
			default:
				close(over)
			}
			err := app.AwaitDrill("mine", over, abandon)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%v, want %q", err, tt.err)
			}
			if !strings.Contains(said.String(), tt.says) || tt.says == "" && said.Len() > 0 || abandoned != tt.interrupted {
				t.Errorf("%q, abandoned: %v", said.String(), abandoned)
			}
		})
	}
}

// interrupts interrupts this process when something is said.
type interrupts struct{ *bytes.Buffer }

func (i interrupts) Write(text []byte) (int, error) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return 0, err
	}
	if err := self.Signal(os.Interrupt); err != nil {
		return 0, err
	}
	return i.Buffer.Write(text)
}
