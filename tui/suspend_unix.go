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

// suspends has the UI give the terminal back when it is told to stop (SIGTSTP, as by `kill -TSTP`; ctrl-Z is a key), and take it over again when the
// shell continues it. It does so until end is called.
func suspends(p *tea.Program, in *terminal.Input) (end func()) {
	stops, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(stops, syscall.SIGTSTP)
	go func() {
		for {
			select {
			case <-over:
				return
			case <-stops:
				suspend(p, in)
			}
		}
	}()
	return func() { signal.Stop(stops); close(over) }
}

func suspend(p *tea.Program, in *terminal.Input) {
	released := make(chan struct{})
	go func() {
		_ = p.ReleaseTerminal() // what could not be given back is told when the UI ends
		close(released)
	}()
	// The program reads keys until one comes: let it see that it is to end.
	nudges := time.NewTicker(10 * time.Millisecond)
	defer nudges.Stop()
	for waits := true; waits; {
		select {
		case <-released:
			waits = false
		case <-nudges.C:
			in.Nudge()
		}
	}
	_ = in.Release() // likewise
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	// Not SIGTSTP again: once Go has handled that, it does not let the kernel stop the process by it.
	if syscall.Kill(os.Getpid(), syscall.SIGSTOP) == nil {
		<-continued
	}
	if in.Retake() != nil || p.RestoreTerminal() != nil {
		p.Kill() // without a terminal nothing is left to do
		return
	}
	p.Send(tea.EnableMouseCellMotion()) // the program forgets it
}
