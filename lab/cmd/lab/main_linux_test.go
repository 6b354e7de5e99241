package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/tui/noquery"
	"github.com/swarmlab/swarmlab/tui/terminal/terminaltest"
)

// played has this binary be the lab command, with all that is linked into it.
const played = "SWARMLAB_PLAYS_LAB"

func TestMain(m *testing.M) {
	if os.Getenv(played) != "" {
		os.Exit(run())
	}
	noquery.Restore()
	os.Exit(m.Run())
}

// patience bounds every command.
const patience = 5 * time.Minute

// lab is the command in a folder. It does not know that a test, or CI, runs it, nor which lab those are about.
func lab(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = dir
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "LAB_") && !slices.Contains([]string{"PROVIDER", "CI", "TERM", "COLORTERM", "NO_COLOR", "LC_ALL", "LANG"}, name) {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, played+"=1", "TERM=xterm-256color", "LANG=C.UTF-8", "GORACE=atexit_sleep_ms=0", timescale.Variable+"=20")
	return cmd
}

// on has a command run on a terminal, as its own.
func on(tty *terminaltest.Terminal, cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.TTY, tty.TTY, tty.TTY
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return cmd
}

// commands are all commands, with those below them, as completion knows them.
func commands(t *testing.T, path ...string) [][]string {
	t.Helper()
	out, err := lab(t.Context(), t.TempDir(), append(append([]string{"__complete"}, path...), "")...).Output()
	if err != nil {
		t.Fatalf("complete %q: %v", path, err)
	}
	var all [][]string
	for line := range strings.Lines(string(out)) {
		name, does, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || does == "" || name == "help" {
			continue
		}
		below := append(slices.Clone(path), name)
		if help, err := lab(t.Context(), t.TempDir(), append(slices.Clone(below), "--help")...).Output(); err != nil || !bytes.Contains(help, []byte("Usage:\n  lab "+strings.Join(below, " "))) {
			break // these are arguments
		}
		all = append(append(all, below), commands(t, below...)...)
	}
	return all
}

// No command asks the terminal anything, whatever becomes of it: a terminal that does not answer would let each of them wait, and the answer of one
// that is far away would stand at the prompt.
func TestNoCommandAsks(t *testing.T) {
	t.Parallel()
	all := commands(t)
	if len(all) < 25 || !slices.ContainsFunc(all, func(c []string) bool { return strings.Join(c, " ") == "drill run" }) {
		t.Fatalf("these are not all commands: %q", all)
	}
	var calls [][]string
	for _, c := range all {
		calls = append(calls, c, append(slices.Clone(c), "--help"))
	}
	calls = append(calls, nil, []string{"--help"}, []string{"help"}, []string{"no-such-command"}, []string{"__complete", "tui", ""}, []string{"__complete", "logs", ""}, []string{"reap"})
	folder := t.TempDir() // no clone: a command says so, and does nothing
	running := fleettest.New(t)
	for _, c := range calls {
		asksNothing(t, folder, c...)
	}
	for _, c := range [][]string{{"version"}, {"status"}, {"status", "--json"}, {"tui", "--help"}, {"drill", "list"}, {"drill", "show", "redis-stop"}, {"logs", "manager"}, {"report", "list"}, {"doctor"}, {"__complete", "logs", ""}} {
		asksNothing(t, running.Dir, c...)
	}
}

func asksNothing(t *testing.T, dir string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tty := terminaltest.Open(t, terminaltest.Never)
	err := on(tty, lab(ctx, dir, args...)).Run()
	if ctx.Err() != nil {
		t.Errorf("lab %s does not end: %v", strings.Join(args, " "), err)
	}
	tty.Settle()
	if tty.Wrote() == "" {
		t.Errorf("lab %s says nothing", strings.Join(args, " "))
	}
	if asked := tty.Asked(); len(asked) > 0 {
		t.Errorf("lab %s asks the terminal %q", strings.Join(args, " "), asked)
	}
}

// `lab tui` asks for the background, once, and works on whatever terminal.
func TestUIOnTerminals(t *testing.T) {
	t.Parallel()
	running := fleettest.New(t)
	fleettest.StartApp(t, running.Lab)
	for name, how := range terminaltest.All() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tty := terminaltest.Open(t, how)
			cmd := on(tty, lab(ctx, running.Dir, "tui"))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			tty.Await(0, "6 of 6 nodes ready")
			tty.Answered()
			if strings.Contains(tty.Wrote(), "1e1e") || strings.Contains(tty.Wrote(), "open the page") {
				t.Errorf("an answer is taken for keys: %q", tty.Wrote())
			}
			if asked := strings.Join(tty.Asked(), " "); asked != "\x1b]11;?\x1b\\ \x1b[c" {
				t.Errorf("it asked %q", asked)
			}
			tty.Press("4", "HAPPENED")
			tty.Type("q")
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A terminal that cannot move its cursor, or does not say what it is, is told so, and nothing is drawn.
func TestUIOnATerminalThatCannot(t *testing.T) {
	t.Parallel()
	running := fleettest.New(t)
	for _, name := range []string{"", "dumb"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience) // a UI that is drawn does not end by itself
		defer cancel()
		tty := terminaltest.Open(t, terminaltest.AtOnce)
		cmd := on(tty, lab(ctx, running.Dir, "tui"))
		cmd.Env = append(cmd.Env, "TERM="+name)
		_ = cmd.Run() // its status says more
		tty.Settle()
		if status := cmd.ProcessState.ExitCode(); status != 2 || !strings.Contains(tty.Wrote(), "`lab watch`") || strings.Contains(tty.Wrote(), "\x1b[?1049h") {
			t.Errorf("TERM=%s: status %d, %q", name, status, tty.Wrote())
		}
	}
}

// startUI starts the UI of the lab in dir on a terminal of its own, and waits until it shows the lab. before is how the terminal was until then.
func startUI(ctx context.Context, t *testing.T, dir string) (tty *terminaltest.Terminal, before *term.State, cmd *exec.Cmd) {
	t.Helper()
	tty = terminaltest.Open(t, terminaltest.AtOnce)
	before, err := term.GetState(tty.TTY.Fd())
	if err != nil {
		t.Fatal(err)
	}
	cmd = on(tty, lab(ctx, dir, "tui"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Await(0, "6 of 6 nodes ready")
	tty.Answered()
	return tty, before, cmd
}

// However the UI ends, the terminal is as it was, and its screen is the one from before.
func TestTerminalIsGivenBack(t *testing.T) {
	t.Parallel()
	running := fleettest.New(t)
	fleettest.StartApp(t, running.Lab)
	for name, end := range map[string]func(*terminaltest.Terminal, *os.Process) error{
		"q":          func(tty *terminaltest.Terminal, _ *os.Process) error { tty.Type("q"); return nil },
		"ctrl-c":     func(tty *terminaltest.Terminal, _ *os.Process) error { tty.Type("\x03"); return nil },
		"terminated": func(_ *terminaltest.Terminal, p *os.Process) error { return p.Signal(syscall.SIGTERM) },
		"hung up":    func(_ *terminaltest.Terminal, p *os.Process) error { return p.Signal(syscall.SIGHUP) },
		"quit":       func(_ *terminaltest.Terminal, p *os.Process) error { return p.Signal(syscall.SIGQUIT) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tty, before, cmd := startUI(ctx, t, running.Dir)
			if err := end(tty, cmd.Process); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			tty.Settle()
			isGivenBack(t, tty, before)
		})
	}
}

// A drill that is under way when the UI ends is waited for, which is told on the screen from before.
func TestADrillIsWaitedFor(t *testing.T) {
	t.Parallel()
	running := fleettest.New(t)
	fleettest.StartApp(t, running.Lab)
	all, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(*terminaltest.Terminal, *os.Process) error{
		"q": func(tty *terminaltest.Terminal, _ *os.Process) error {
			from := tty.Now()
			tty.Type("q")
			tty.Await(from, "Quit, and abort the drill")
			tty.Type("y")
			return nil
		},
		"terminated": func(_ *terminaltest.Terminal, p *os.Process) error { return p.Signal(syscall.SIGTERM) },
		"hung up":    func(_ *terminaltest.Terminal, p *os.Process) error { return p.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tty, before, cmd := startUI(ctx, t, running.Dir)
			tty.Press("2", "What is broken")
			from := tty.Now()
			tty.Type("\r")
			tty.Await(from, "our prediction") // the cursor is on its first letter
			for range all[0].Predict {
				time.Sleep(100 * time.Millisecond) // keys that come at once nobody pressed
				tty.Type("\r")
			}
			tty.Await(from, "Run "+all[0].ID)
			from = tty.Now()
			tty.Type("y")
			tty.Await(from, "steady state") // these agents have no balancer, so that the drill waits for it
			from = tty.Now()
			if err := end(tty, cmd.Process); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			tty.Settle()
			isGivenBack(t, tty, before)
			if _, after, _ := strings.Cut(tty.Since(from), "\x1b[?1049l"); !strings.Contains(after, "The drill "+all[0].ID+" is aborted") {
				t.Errorf("it is not told: %q", tty.Since(from))
			}
		})
	}
}

// modes are what the UI switches on, and how it is switched off.
var modes = map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?1002h": "\x1b[?1002l", "\x1b[?2004h": "\x1b[?2004l"}

// isGivenBack checks that the terminal is as it was before.
func isGivenBack(t *testing.T, tty *terminaltest.Terminal, before *term.State) {
	t.Helper()
	if after, err := term.GetState(tty.TTY.Fd()); err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %v", err)
	}
	wrote := tty.Wrote()
	for on, off := range modes {
		if strings.LastIndex(wrote, off) < strings.LastIndex(wrote, on) {
			t.Errorf("%q is not taken back", on)
		}
	}
}

// A UI that is stopped gives the terminal to the shell, and takes it again when the shell continues it.
func TestUIIsStoppedAndContinued(t *testing.T) {
	t.Parallel()
	running := fleettest.New(t)
	fleettest.StartApp(t, running.Lab)
	for name, stop := range map[string]syscall.Signal{"asked to": syscall.SIGTSTP, "by force": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) { stopAndContinue(t, running.Dir, stop) })
	}
}

func stopAndContinue(t *testing.T, dir string, stop syscall.Signal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tty := terminaltest.Open(t, terminaltest.AtOnce)
	before, err := term.GetState(tty.TTY.Fd())
	if err != nil {
		t.Fatal(err)
	}
	shell := lab(ctx, dir)
	// With -m the shell does to its jobs what one does that somebody types in; but for the modes of the terminal, which that one sets anew.
	shell.Path, shell.Args = "/bin/bash", []string{"bash", "-mc", `modes=$(stty -g); "$0" tui; stty "$modes"; echo "it is stopped"; read -r; fg`, os.Args[0]}
	if err := on(tty, shell).Start(); err != nil {
		t.Fatal(err)
	}
	tty.Await(0, "6 of 6 nodes ready")
	tty.Answered()
	mark := tty.Now()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", shell.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	ui, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(ui, stop); err != nil {
		t.Fatal(err)
	}
	tty.Await(mark, "it is stopped")
	if stop == syscall.SIGTSTP { // by force nothing can be given back
		isGivenBack(t, tty, before)
	}
	mark = tty.Now()
	tty.Type("\n")
	tty.Await(mark, "6 of 6 nodes ready")
	for on, off := range modes {
		tty.Await(mark, on)
		if strings.LastIndex(tty.Wrote(), on) < strings.LastIndex(tty.Wrote(), off) {
			t.Errorf("%q is not switched on again", on)
		}
	}
	raw := false
	for end := time.Now().Add(patience); !raw && time.Now().Before(end); time.Sleep(time.Millisecond) {
		modes, err := unix.IoctlGetTermios(int(tty.TTY.Fd()), unix.TCGETS)
		raw = err == nil && modes.Lflag&(unix.ICANON|unix.ECHO) == 0
	}
	if !raw {
		t.Error("the terminal waits for whole lines, or shows what is typed")
	}
	tty.Press("4", "HAPPENED")
	time.Sleep(2 * time.Second) // long after it was continued, ending is what it always is
	tty.Type("q")
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
	tty.Settle()
	isGivenBack(t, tty, before)
	if wrote := tty.Wrote(); strings.Contains(wrote[strings.LastIndex(wrote, "\x1b[?1049l"):], "quit") {
		t.Errorf("it draws on the screen from before: %q", wrote[strings.LastIndex(wrote, "\x1b[?1049l"):])
	}
}

// What cannot be written is an error: a full disk, for one.
func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }() // nothing is in it
	running := fleettest.New(t)
	fleettest.StartApp(t, running.Lab)
	for _, args := range [][]string{
		{"version"},
		{"--help"},
		{"help"},
		{"drill", "list"},
		{"drill", "show", "redis-stop"},
		{"drill", "run", "--help"},
		{"completion", "bash"},
		{"status"},
		{"status", "--json"},
		{"logs", "--help"},
	} {
		cmd := lab(t.Context(), running.Dir, args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &said
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "no space left on device") {
			t.Errorf("lab %s: %v, %q", strings.Join(args, " "), err, said.String())
		}
	}
}
