package role

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-plugin"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// patience ends a wait that is in vain; a plugin of the test's is up in half a second on an idle machine.
const patience = 3 * time.Minute

// supervise installs this test binary as role-NAME and supervises it.
func supervise(t *testing.T, name string, change ...func(*Config)) (*Supervisor, *buffer) {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "role-"+name)); err != nil {
		t.Fatal(err)
	}
	return superviseIn(t, dir, name, change...)
}

func superviseIn(t *testing.T, dir, name string, change ...func(*Config)) (*Supervisor, *buffer) {
	t.Helper()
	var log buffer
	cfg := Config{
		Name: name, Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		StartTimeout: patience, pulse: 100 * time.Millisecond, pulseTimeout: patience,
		backOff: func() backoff.BackOff { return backoff.NewConstantBackOff(20 * time.Millisecond) },
	}
	for _, c := range change {
		c(&cfg)
	}
	s := Supervise(cfg)
	t.Cleanup(func() {
		s.Close()
		if st := s.Status(); st.Running || st.PID != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
	return s, &log
}

// await waits for a status.
func await(t *testing.T, s *Supervisor, what string, ok func(Status) bool) Status {
	t.Helper()
	deadline := time.After(patience)
	for {
		if st := s.Status(); ok(st) {
			return st
		}
		select {
		case <-s.Changed():
		case <-deadline:
			t.Fatalf("no status that is %s: %+v", what, s.Status())
		}
	}
}

func running(st Status) bool { return st.Running }

func TestSupervisorPassesCalls(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "good")
	st := await(t, s, "running", running)
	if st.Version != "1.2.3" || st.Summary == "" || st.PID == 0 || st.Err != nil || st.Respawns != 0 {
		t.Errorf("status: %+v", st)
	}
	plan, err := s.Plan(t.Context(), &Facts{Node: &rolev1.Node{Name: "frontend01"}})
	if err != nil || plan.GetContainers()[0].GetName() != "on-frontend01" {
		t.Errorf("plan: %v, %v", plan, err)
	}
	_, err = s.Plan(t.Context(), nil)
	if err == nil || err.Error() != "plan role good: no node in the facts" || errors.Is(err, ErrNotRunning) {
		t.Errorf("a role's own error arrives as %q", err)
	}
	_, err = s.Plan(t.Context(), &Facts{Node: &rolev1.Node{Name: "n"}})
	if err == nil || !strings.Contains(err.Error(), `followed service "No Name"`) {
		t.Errorf("a plan that is not valid: %v", err)
	}
	health, err := s.Check(t.Context(), &Facts{}, "/etc/secrets")
	if err != nil || !health.GetHealthy() || health.GetMessage() != "all is well in /etc/secrets" || health.GetMeasures()["votes_captured"] != 3 {
		t.Errorf("check: %v, %v", health, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = s.Check(ctx, &Facts{}, "wait"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a check without answer: %v", err)
	}
}

func TestSupervisorReplacesAKilledProcess(t *testing.T) {
	t.Parallel()
	s, log := supervise(t, "good")
	_, second := replaced(t, s, log, syscall.SIGKILL, "killed")
	if second.Respawns != 1 || second.Err != nil {
		t.Errorf("status: %+v", second)
	}
	if _, err := s.Plan(t.Context(), &Facts{Node: &rolev1.Node{Name: "worker01"}}); err != nil {
		t.Errorf("the second process does not plan: %v", err)
	}
}

func TestSupervisorReplacesAFrozenProcess(t *testing.T) {
	t.Parallel()
	s, log := supervise(t, "good", func(cfg *Config) { cfg.pulseTimeout = 2 * time.Second })
	first, second := replaced(t, s, log, syscall.SIGSTOP, "frozen")
	if second.Respawns < 1 || second.Err != nil {
		t.Errorf("status: %+v", second)
	}
	// On a machine that is slow enough the next process is taken for frozen too, and replaced.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_, err := s.Plan(t.Context(), &Facts{Node: &rolev1.Node{Name: "worker01"}})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no process after the first plans: %v", err)
		}
	}
	if now := s.Status(); now.PID == first.PID {
		t.Errorf("the first process is back: %+v", now)
	}
}

// replaced sends a running plugin a signal and waits until another runs in its place.
func replaced(t *testing.T, s *Supervisor, log *buffer, signal syscall.Signal, says string) (first, second Status) {
	t.Helper()
	first = await(t, s, "running", running)
	mustDo(t, syscall.Kill(first.PID, signal))
	second = await(t, s, "another process", func(st Status) bool { return st.Running && st.PID != first.PID })
	if !strings.Contains(log.String(), says) {
		t.Errorf("the log does not say that the plugin was %s:\n%s", says, log.String())
	}
	if err := syscall.Kill(first.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the first process is still there: %v", err)
	}
	return first, second
}

func TestSupervisorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		is    error
		words []string
	}{
		"dies":     {ErrEnded, []string{"exit status 3", "cannot find my configuration"}},
		"garbage":  {ErrHandshake, []string{`printed "Hello, world!"`}},
		"future":   {ErrVersion, []string{"speaks version 1", "Plugin version: 7"}},
		"stranger": {ErrEnded, []string{"exit status 1", "not meant to be executed directly"}},
		"impostor": {nil, []string{`says that it is role "good"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := supervise(t, name)
			st := await(t, s, "an error", func(st Status) bool { return st.Err != nil && strings.Contains(st.Err.Error(), "role-") })
			if want.is != nil && !errors.Is(st.Err, want.is) {
				t.Errorf("not %q: %v", want.is, st.Err)
			}
			for _, w := range want.words {
				if !strings.Contains(st.Err.Error(), w) {
					t.Errorf("the error lacks %q: %v", w, st.Err)
				}
			}
			_, err := s.Plan(t.Context(), &Facts{})
			if !errors.Is(err, ErrNotRunning) || (want.is != nil && !errors.Is(err, want.is)) {
				t.Errorf("plan without a plugin: %v", err)
			}
		})
	}
}

func TestSupervisorBinaryTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"missing":    {func(*testing.T, string) {}, "does not exist"},
		"folder":     {func(t *testing.T, path string) { mustDo(t, os.Mkdir(path, 0o755)) }, "is not a file"},
		"closed":     {func(t *testing.T, path string) { mustDo(t, os.WriteFile(path, []byte("x"), 0o644)) }, "chmod 755"},
		"no-program": {func(t *testing.T, path string) { mustDo(t, os.WriteFile(path, []byte("\x7fELF…"), 0o755)) }, "another architecture"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "role-"+name)
			c.make(t, path)
			s, _ := superviseIn(t, dir, name)
			st := await(t, s, "an error", func(st Status) bool { return errors.Is(st.Err, ErrMissing) })
			if !strings.Contains(st.Err.Error(), c.want) || !strings.Contains(st.Err.Error(), path) {
				t.Errorf("the error lacks %q or the path: %v", c.want, st.Err)
			}
		})
	}
}

func TestSupervisorSurvivesPanics(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "panics")
	first := await(t, s, "running", running)
	if _, err := s.Plan(t.Context(), &Facts{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("plan of a panicking role: %v", err)
	}
	st := await(t, s, "down or replaced", func(st Status) bool { return st.PID != first.PID })
	if st.Err != nil && !strings.Contains(st.Err.Error(), "panic: a workshop's bug in PLAN") {
		t.Errorf("the error does not say what it died of: %v", st.Err)
	}
	await(t, s, "running again", func(st Status) bool { return st.Running && st.Respawns == 1 })
}

func TestSupervisorForwardsLogs(t *testing.T) {
	t.Parallel()
	s, log := supervise(t, "chatty")
	await(t, s, "running", running)
	for _, want := range []string{`level=WARN msg="the queue is long" role=chatty votes_queued=12`, "printed where one should not", "@message"} {
		for deadline := time.Now().Add(patience); !strings.Contains(log.String(), want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log lacks %q:\n%s", want, log.String())
			}
		}
	}
}

// systemd stops a service by a signal to each of its processes. The plugin leaves with its agent, not before.
func TestPluginIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "good")
	st := await(t, s, "running", running)
	mustDo(t, syscall.Kill(st.PID, syscall.SIGTERM))
	if _, err := s.Describe(t.Context()); err != nil {
		t.Error(err)
	}
	if now := s.Status(); now.PID != st.PID || !now.Running {
		t.Errorf("after SIGTERM: %+v", now)
	}
}

// A plugin whose agent is killed leaves by itself: here the agent's end of the lifeline is closed.
func TestPluginLeavesWithItsAgent(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "good")
	await(t, s, "running", running)
	p, err := launch(s.path, patience, slog.New(slog.DiscardHandler))
	mustDo(t, err)
	mustDo(t, p.lifeline.Close())
	select {
	case <-p.role.done:
	case <-time.After(patience):
		t.Error("the plugin is still there")
	}
	p.end()
}

// A binary that is dropped in later is found without any restart.
func TestSupervisorFindsALateBinary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := superviseIn(t, dir, "good")
	await(t, s, "missing", func(st Status) bool { return errors.Is(st.Err, ErrMissing) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mustDo(t, os.Symlink(self, filepath.Join(dir, "role-good")))
	await(t, s, "running", running)
}

func TestOverGRPC(t *testing.T) {
	t.Parallel()
	conn, _ := plugin.TestPluginGRPCConn(t, false, versions(&good{name: "good"})[Version])
	defer func() { _ = conn.Close() }() // stops the server too
	raw, err := conn.Dispense(pluginName)
	if err != nil {
		t.Fatal(err)
	}
	r := raw.(Role)
	if d, err := r.Describe(t.Context()); err != nil || d.GetName() != "good" {
		t.Errorf("describe: %v, %v", d, err)
	}
	if _, err := r.Plan(t.Context(), nil); err == nil || err.Error() != "no node in the facts" {
		t.Errorf("plan: %v", err)
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"level":"WARN","msg":"m","a":{"b":[1,null]}}`))
	f.Add([]byte(`{"@level":"trace","@message":"m"}`))
	f.Add([]byte(`{"@level":1,"@message":[]}`))
	f.Add([]byte("panic: x\n\ngoroutine 1\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLines(slog.New(slog.DiscardHandler))
		if n, err := l.Write(in); n != len(in) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(in), err)
		}
		_, _ = l.Write([]byte("\n"))
		for _, line := range l.last() {
			if len(line) > clipAt+len("…") {
				t.Errorf("a line of %d bytes is kept", len(line))
			}
		}
	})
}
