//go:build integration

package integration

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// terminal is a terminal of its own, by tmux.
type terminal struct {
	t      *testing.T
	socket string
}

// openTerminal runs bin/lab in a terminal of a size.
func (l *lab) openTerminal(t *testing.T, width, height int, args string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is missing: `make test-prerequisites` installs it on Debian and Ubuntu")
	}
	term := &terminal{t: t, socket: fmt.Sprintf("swarmlab-%d", time.Now().UnixNano())}
	term.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "-c", l.Dir,
		"env LANG=C.UTF-8 "+l.Dir+"/bin/lab "+args)
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", term.socket, "kill-server").Run() }) // it may have ended by itself
	return term
}

func (t *terminal) tmux(args ...string) string {
	t.t.Helper()
	out, err := exec.CommandContext(t.t.Context(), "tmux", append([]string{"-L", t.socket}, args...)...).CombinedOutput()
	if err != nil {
		t.t.Fatalf("tmux %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// press sends a key, or arrows. Keys that come at once nobody pressed: between two of them something has to be seen that was not there before.
func (t *terminal) press(keys ...string) {
	t.t.Helper()
	t.tmux(append([]string{"send-keys"}, keys...)...)
}

// shows waits until all texts stand on the screen.
func (t *terminal) shows(texts ...string) {
	t.t.Helper()
	waitFor(t.t, patience, "the screen shows "+strings.Join(texts, ", "), func(context.Context) error {
		screen := t.tmux("capture-pane", "-p")
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return fmt.Errorf("there is no %q:\n%s", text, screen)
			}
		}
		return nil
	})
}

// heal ends all faults from the map. It goes there by another page, so that what it waits for was not on the screen before.
func (t *terminal) heal(l *lab) {
	t.t.Helper()
	t.press("2")
	t.shows("What is broken")
	t.press("1")
	t.shows("nodes ready")
	t.press("H")
	t.shows("End all faults now?")
	t.press("y")
	t.shows("all faults are over", fmt.Sprintf("%d of %d nodes ready", len(l.Topology.Nodes), len(l.Topology.Nodes)))
}

// choose goes to a drill, and to its questions.
func (t *terminal) choose(drill string) {
	t.t.Helper()
	t.press("2")
	t.shows("What is broken")
	t.press("/")
	t.shows("keep the filter")
	t.press("-l", drill)
	t.shows("/" + drill)
	t.press("Enter")
	t.shows("enter run")
	t.press("Enter")
	t.shows("your prediction")
}

// A learner opens the terminal UI, breaks a container from the map, heals it, and runs a drill.
func TestTerminalUI(t *testing.T) {
	l := open(t)
	term := l.openTerminal(t, 100, 32, "tui --untimed")
	term.shows(fmt.Sprintf("%d of %d nodes ready", len(l.Topology.Nodes), len(l.Topology.Nodes)), "frontend02", "results-app")

	// The second column is the frontends', and below the node's name stands its Redis.
	term.press("Right", "Right", "Down")
	term.shows("redis01 on frontend01")
	term.press("s")
	term.shows("stop redis01, for 30s?", "y/N")
	term.press("y")
	term.shows("1 in force", "server down", "redis01")
	term.press("4")
	term.shows("follows what is new", "die", "fault-injected") // the map has events, too, but does not follow
	term.heal(l)

	// From the queue's name up to its node, which is marked, and on to the worker, which is cut off from it alone.
	term.press("Up")
	term.shows("frontend01 frontend 1")
	term.press("Space")
	term.shows("frontend01 ◆")
	term.press("Right")
	term.shows("worker01 worker 1")
	term.press("c")
	term.shows("Cut worker01 off from frontend01, for 30s?")
	term.press("y")
	term.shows("1 in force", "it ends by itself")
	term.press("e")
	term.shows("/worker01", "fault-injected: partition")
	term.heal(l)

	term.choose("web-kill")
	term.shows("How many voters see an error?", "your prediction")
	term.press("-l", "hardly any")
	term.shows("> hardly any")
	term.press("Enter")
	term.shows("Run web-kill: kill frontend01?")
	term.press("y")
	term.shows("kill frontend01", "accepted/s")
	term.shows("PASSED", "were measured in this run, and not judged", "you said: hardly any", "Debrief")

	// Any size, at any moment.
	term.tmux("resize-window", "-x", "80", "-y", "24")
	term.press("3")
	term.shows("captured", "queue of frontend01")
	term.press("v")
	term.shows("acknowledged")
	term.press("q")
	waitFor(t, l.patience, "the command ends", func(ctx context.Context) error {
		if exec.CommandContext(ctx, "tmux", "-L", term.socket, "has-session").Run() == nil {
			return fmt.Errorf("it has not")
		}
		return nil
	})
	l.waitReady(t)
}

// The whole lab goes and comes back while somebody looks on: the UI says since when nobody answers, and goes on by itself.
func TestTerminalUIOutlivesTheLab(t *testing.T) {
	l := open(t)
	nodes := len(l.Topology.Nodes)
	term := l.openTerminal(t, 80, 24, "tui --read-only")
	term.shows(fmt.Sprintf("%d of %d nodes ready", nodes, nodes), "voting answers", "results answers")
	if err := l.suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	term.shows(fmt.Sprintf("0 of %d nodes ready", nodes), "voting silent", "results silent", "captured ?/s")
	if err := l.resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	term.shows(fmt.Sprintf("%d of %d nodes ready", nodes, nodes), "voting answers", "results answers")
	term.press("q")
	l.waitReady(t)
}
