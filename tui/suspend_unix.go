//go:build unix

package tui

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/terminal"
)

// endsWithin is how long the program takes to end, at most.
const endsWithin = time.Second

// suspends has the UI give the terminal back when it is told to stop (SIGTSTP, as by `kill -TSTP`; ctrl-Z is a key), and take it over again when the
// shell continues it. It takes it over, too, when it was stopped by force (SIGSTOP), of which it knows only by the SIGCONT: the shell has set its own
// modes meanwhile. It does so until end is called, after the program has ended.
func suspends(p *tea.Program, in *terminal.Input) (end func()) {
	stops, continued := make(chan os.Signal, 1), make(chan os.Signal, 1)
	over, done := make(chan struct{}), make(chan struct{})
	signal.Notify(stops, syscall.SIGTSTP)
	signal.Notify(continued, syscall.SIGCONT)
	var took time.Time // when it was taken over again the last time
	go func() {
		defer close(done)
		p.Send(nil) // this waits until the program has the terminal, or has ended
		for {
			select {
			case <-over:
				return
			case <-stops:
				suspend(p, in, continued, over)
			case <-continued:
				release(p, in)
				retake(p, in.Raw)
			}
			took = time.Now()
		}
	}()
	return func() {
		signal.Stop(stops)
		signal.Stop(continued)
		close(over)
		<-done
		// It may have been taken over again while the program ended. Else all is given back, and this would draw once more.
		if time.Since(took) < endsWithin {
			_ = p.ReleaseTerminal() // what could not be given back is told when the input is closed
		}
	}
}

// release has the program let go of the terminal.
func release(p *tea.Program, in *terminal.Input) {
	released := make(chan struct{})
	go func() {
		_ = p.ReleaseTerminal() // what could not be given back is told when the UI ends
		close(released)
	}()
	// The program reads keys until one comes: let it see that it is to end.
	nudges := time.NewTicker(10 * time.Millisecond)
	defer nudges.Stop()
	for {
		select {
		case <-released:
			return
		case <-nudges.C:
			in.Nudge()
		}
	}
}

func suspend(p *tea.Program, in *terminal.Input, continued <-chan os.Signal, over <-chan struct{}) {
	release(p, in)
	_ = in.Release() // likewise
	select {
	case <-continued: // that was before
	default:
	}
	// Not SIGTSTP again: once Go has handled that, it does not let the kernel stop the process by it.
	if syscall.Kill(os.Getpid(), syscall.SIGSTOP) == nil {
		select {
		case <-continued:
		case <-over:
			return
		}
	}
	retake(p, in.Retake)
}

// retake has the program show itself again, once the terminal sends keys as they are pressed. In the background that stops it, until it is not.
func retake(p *tea.Program, raw func() error) {
	if raw() != nil || p.RestoreTerminal() != nil {
		p.Kill() // without a terminal nothing is left to do
		return
	}
	p.Send(tea.EnableMouseCellMotion()) // the program forgets it
}
