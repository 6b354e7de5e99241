package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/engine/enginetest"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

const (
	socket    = "/var/run/docker.sock"
	testLabel = "agent-test"
	patience  = roletest.Patience
)

// testImage is this process's own: a run beside it, or what a run before it left, is in nobody's way.
var testImage = fmt.Sprintf("agent-test-image-%d:latest", os.Getpid())

// testName is a container's or a volume's that one test makes.
func testName(t *testing.T) string {
	return fmt.Sprintf("agent-test-%d-%s", os.Getpid(), strings.ToLower(t.Name()))
}

// TestMain removes the image that the tests share.
func TestMain(m *testing.M) {
	roletest.RunBeside(8)
	code := m.Run()
	if err := removeImage(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func removeImage() error {
	e, err := engine.Dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.RemoveImage(ctx, testImage); err != nil && !errors.Is(err, engine.ErrNotFound) && !errors.Is(err, engine.ErrUnavailable) {
		return err
	}
	return nil
}

// program waits, says what reaches it, and ends by SIGTERM with 0 and by SIGUSR1 with 3.
const program = `package main

import ("fmt"; "os"; "os/signal"; "syscall")

func main() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	fmt.Println("up"); fmt.Fprintln(os.Stderr, "and well")
	for s := range got {
		fmt.Println("got", s)
		switch s {
		case syscall.SIGTERM: os.Exit(0)
		case syscall.SIGUSR1: os.Exit(3)
		}
	}
}
`

// real connects to this machine's engine, with the test image in it; without an engine the test is skipped. The test waits for the engine
// most of the time, and so does so beside others.
func real(t *testing.T) *engine.Engine {
	t.Helper()
	t.Parallel()
	e, err := engine.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Ping(t.Context()); err != nil {
		t.Skipf("no engine to test against: %v", err)
	}
	if err := image(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Remove(context.WithoutCancel(t.Context()), testName(t)); err != nil && !errors.Is(err, engine.ErrNotFound) {
			t.Error(err)
		}
	})
	return e
}

// image builds the test image, once.
var image = sync.OnceValue(func() error {
	e, err := engine.Dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	content, err := folder()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return e.Build(ctx, testImage, bytes.NewReader(content), map[string]string{testLabel: "yes"})
})

// folder is the build context of the test image, a tar archive.
func folder() ([]byte, error) {
	dir, err := os.MkdirTemp("", "agent-test-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "main")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		return nil, err
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-ldflags", "-s -w", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, file := range map[string][]byte{
		"main": content, "Dockerfile": []byte("FROM scratch\nCOPY main /main\nENTRYPOINT [\"/main\"]\n"),
	} {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(file))})
		if err == nil {
			_, err = w.Write(file)
		}
		if err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// freePort is a port of this machine's that was free a moment ago.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func testSpec(t *testing.T) engine.Spec {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return engine.Spec{
		Name: testName(t), Image: testImage, Hostname: "tester", Env: map[string]string{"A": "1", "B": "x=y"},
		Command: []string{"--flag"}, Labels: map[string]string{testLabel: "yes"}, Restart: engine.RestartOnFailure,
		Ports:    []engine.Port{{HostAddress: "127.0.0.1", HostPort: freePort(t), ContainerPort: 80}},
		Networks: []engine.Attachment{{Network: "bridge"}}, StopSignal: "SIGTERM", StopTimeout: 3 * time.Second, User: "65532",
		Hardened: true, Tmpfs: []string{"/tmp"},
		Mounts: []engine.Mount{
			{Source: file, Target: "/run/secret", ReadOnly: true}, {Volume: testName(t), Target: "/data"},
		},
	}
}

// What was asked for is what is reported: the agent compares the two.
func TestInspectRepeatsWhatWasCreated(t *testing.T) {
	e := real(t)
	spec := testSpec(t)
	if err := e.CreateVolume(t.Context(), testName(t), map[string]string{testLabel: "yes"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(e.Remove(ctx, testName(t)), e.RemoveVolume(ctx, testName(t))); err != nil {
			t.Error(err)
		}
		if err := e.RemoveVolume(ctx, testName(t)); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	id, err := e.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Create(t.Context(), spec); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("the name is taken: %v", err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got, err := e.Container(t.Context(), testName(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.State != engine.StateRunning || got.PID == 0 || got.StartedAt.IsZero() || got.Endpoints["bridge"].Address == "" {
		t.Errorf("%+v", got)
	}
	have := got.Spec
	delete(have.Env, "PATH")
	slices.SortFunc(have.Mounts, func(a, b engine.Mount) int { return strings.Compare(b.Target, a.Target) })
	have.Networks[0].Aliases = nil
	if diff := cmp.Diff(spec, have); diff != "" {
		t.Errorf("(-asked +reported)\n%s", diff)
	}
	if names, err := e.Volumes(t.Context(), testLabel, "yes"); err != nil || !slices.Contains(names, testName(t)) {
		t.Errorf("%v, %v", names, err)
	}
}

func TestNotThere(t *testing.T) {
	e := real(t)
	if _, err := e.Container(t.Context(), "agent-test-none"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := e.Image(t.Context(), "agent-test-none:1"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := e.RemoveNetwork(t.Context(), "agent-test-none"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if image, err := e.Image(t.Context(), testImage); err != nil || image.Labels[testLabel] != "yes" {
		t.Errorf("%v, %v", image, err)
	}
	if err := e.Load(t.Context(), strings.NewReader("no archive")); err == nil {
		t.Error("loaded no archive")
	}
	nowhere, err := engine.Dial(filepath.Join(t.TempDir(), "no.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nowhere.Containers(t.Context()); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := nowhere.Ping(t.Context()); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestSignalAndLogs(t *testing.T) {
	e := real(t)
	spec := engine.Spec{Name: testName(t), Image: testImage, Networks: []engine.Attachment{{Network: "none"}}}
	id, err := e.Create(t.Context(), spec)
	if err == nil {
		err = e.Signal(t.Context(), id, "USR2")
	}
	if !errors.Is(err, engine.ErrConflict) {
		t.Fatalf("signalled a container that does not run: %v", err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Signal(t.Context(), id, "NONE"); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var lines []string
	enough := errors.New("enough")
	err = e.Logs(ctx, id, engine.LogOptions{Tail: 100, Follow: true}, func(text string, stderr bool) error {
		lines = append(lines, fmt.Sprint(text, " ", stderr))
		switch {
		case len(lines) == 2:
			if err := e.Signal(ctx, id, "SIGUSR2"); err != nil {
				return err
			}
		case len(lines) > 2:
			return enough
		}
		return nil
	})
	slices.Sort(lines)
	want := []string{"and well true", "got user defined signal 2 false", "up false"}
	if !errors.Is(err, enough) || !slices.Equal(lines, want) {
		t.Errorf("got %q, %v", lines, err)
	}
}

// target is an engine, real or fake, with the means of a hand.
type target interface {
	Create(ctx context.Context, spec engine.Spec) (string, error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Signal(ctx context.Context, id, signal string) error
	Container(ctx context.Context, id string) (engine.Container, error)
	Events(ctx context.Context, since time.Time, handle func(engine.Event)) error
}

// life takes a container through a life and returns what the engine tells of it: its events and its states.
func life(t *testing.T, e target, crash func(id string) error) []string {
	t.Helper()
	var mu sync.Mutex
	var told []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	var followed sync.WaitGroup
	followed.Go(func() {
		_ = e.Events(ctx, began, func(ev engine.Event) {
			mu.Lock()
			defer mu.Unlock()
			if ev.Type == "container" && ev.Name == testName(t) {
				text := ev.Action
				if ev.Signal != "" {
					text += " " + ev.Signal
				}
				told = append(told, text)
			}
		})
	})
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				mu.Lock()
				defer mu.Unlock()
				t.Fatalf("waited in vain for %s; told %q", what, told)
			}
		}
	}
	heard := func(text string, times int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			n := 0
			for _, e := range told {
				if e == text {
					n++
				}
			}
			return n >= times
		}
	}
	note := func(id string) {
		c, err := e.Container(t.Context(), id)
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprintf("(%s, restarts %d, %t)", c.State, c.Restarts, errors.Is(err, engine.ErrNotFound)))
	}
	id, err := e.Create(t.Context(), engine.Spec{
		Name: testName(t), Image: testImage, Restart: engine.RestartOnFailure, StopSignal: "SIGTERM", StopTimeout: 3 * time.Second,
		Networks: []engine.Attachment{{Network: "bridge"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	await("create", heard("create", 1))
	note(id)
	steps := []struct {
		name  string
		do    func() error
		until func() bool
	}{
		{"start", func() error { return e.Start(t.Context(), id) }, heard("start", 1)},
		{"start of one that runs", func() error { return e.Start(t.Context(), id) }, func() bool { return true }},
		{"reload", func() error { return e.Signal(t.Context(), id, "USR2") }, func() bool { return true }},
		{"crash", func() error { return crash(id) }, heard("start", 2)},
		{"stop", func() error { return e.Stop(t.Context(), id) }, heard("stop", 1)},
		{"start again", func() error { return e.Start(t.Context(), id) }, heard("start", 3)},
		{"remove", func() error { return e.Remove(t.Context(), id) }, heard("destroy", 1)},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		await(s.name, s.until)
		note(id)
	}
	cancel()
	followed.Wait()
	return told
}

// The fake, by which everything else is tested, tells the same story as a real engine.
func TestFakeBehavesLikeDocker(t *testing.T) {
	e := real(t)
	ofReal := life(t, e, func(id string) error {
		// Before it has asked for the signal, the program's runtime swallows it.
		up := errors.New("up")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := e.Logs(ctx, id, engine.LogOptions{Tail: 10, Follow: true}, func(text string, _ bool) error {
			if text == "up" {
				return up
			}
			return nil
		})
		if !errors.Is(err, up) {
			return err
		}
		return e.Signal(t.Context(), id, "USR1") // exit code 3
	})
	fake := enginetest.New()
	fake.AddImage(testImage, nil)
	ofFake := life(t, fake, func(id string) error { return fake.Crash(id, 3) })
	if diff := cmp.Diff(ofReal, ofFake); diff != "" {
		t.Errorf("(-Docker +fake)\n%s", diff)
	}
}

func TestReference(t *testing.T) {
	same := [][2]string{
		{"redis:8.0", engine.Reference("redis:8.0")},
		{"web-vote-app", "web-vote-app:latest"},
		{"hashicorp/consul:1.22.0", engine.Reference("hashicorp/consul:1.22.0")},
		{"Not A Reference", "Not A Reference"},
	}
	for _, pair := range same {
		if !engine.SameReference(pair[0], pair[1]) {
			t.Errorf("%s and %s are the same", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"redis:8.0", "redis:8.2"}, {"redis", "example.org/redis"}} {
		if engine.SameReference(pair[0], pair[1]) {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
}
