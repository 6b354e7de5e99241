package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOffsetClock(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	// The container reads the file at each question.
	deaf := false
	container := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var off time.Duration
		if text, err := os.ReadFile(filepath.Join(folder, "offset")); err == nil && !deaf {
			off, _ = time.ParseDuration(strings.TrimSpace(string(text)))
		}
		fmt.Fprintln(w, time.Now().Add(off).UTC().Format(time.RFC3339Nano))
	}))
	t.Cleanup(container.Close)
	url := container.URL
	c := OffsetClock{Folder: folder, URL: func() string { return url }, Patience: 3 * time.Minute}
	v := skew{&Deps{OS: OS{Clock: c}}}
	r := Record{ID: "01234567", Spec: of("skew")}
	var err error
	if r.Before, err = v.prepare(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	if _, err := v.observe(t.Context(), r); err == nil {
		t.Error("seen before it happened")
	}
	if err := v.inject(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	evidence, err := v.observe(t.Context(), r)
	var off float64
	if _, scanErr := fmt.Sscanf(evidence, "the clock is off by %f s", &off); err != nil || scanErr != nil || off < -5.5 || off > -4.5 {
		t.Errorf("seen: %q, %v", evidence, err)
	}
	deaf = true
	if evidence, err := v.observe(t.Context(), r); err == nil {
		t.Errorf("seen, though the container does not read: %q", evidence)
	}
	deaf = false
	if err := v.verifyReverted(t.Context(), r); err == nil {
		t.Error("mended while the file is there")
	}
	for range 2 {
		if err := v.revert(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.verifyReverted(t.Context(), r); err != nil {
		t.Error(err)
	}
	container.Close()
	if err := v.verifyReverted(t.Context(), r); err == nil {
		t.Error("mended, though the container does not answer")
	}
	url = "" // it does not run, and reads no file when it does again
	if err := v.verifyReverted(t.Context(), r); err != nil {
		t.Error(err)
	}
	if _, err := v.prepare(t.Context(), r.Spec); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "its host's") {
		t.Errorf("without a container: %v", err)
	}
}

func TestContainersThatTellNoTime(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter){
		"nothing":       func(http.ResponseWriter) {},
		"an error":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"another thing": func(w http.ResponseWriter) { fmt.Fprint(w, "<html>", strings.Repeat("x", 1<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
			t.Cleanup(s.Close)
			if r, err := (OffsetClock{URL: func() string { return s.URL }}).Read(t.Context()); err == nil {
				t.Errorf("read %+v", r)
			}
		})
	}
}

// chrony is the service alone; the machine's clock is not touched by a test.
type chrony struct {
	units
	runs  bool
	calls []string
}

func (c *chrony) Stop(_ context.Context, units ...string) error {
	c.calls, c.runs = append(c.calls, "stop "+units[0]), false
	return nil
}

func (c *chrony) Start(_ context.Context, units ...string) error {
	c.calls, c.runs = append(c.calls, "start "+units[0]), true
	return nil
}

func (c *chrony) MainPID(context.Context, string) (int, error) {
	if c.runs {
		return 7, nil
	}
	return 0, nil
}

func TestSystemClock(t *testing.T) {
	t.Parallel()
	service, synchronised := &chrony{runs: true}, false
	c := SystemClock{Units: service, Chrony: "chrony.service", Synchronised: func(context.Context) bool { return synchronised }}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	right, err := c.Read(t.Context())
	if err != nil || right.Boot == "" || right.Ahead < time.Duration(1.6e18) {
		t.Fatalf("read %+v, %v", right, err)
	}
	if err := c.Check(t.Context(), right); err != nil {
		t.Error(err)
	}
	wrong := right
	wrong.Ahead += time.Second
	if err := c.Check(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "off by -1") {
		t.Errorf("a clock that is not as it was: %v", err)
	}
	synchronised = true
	if err := c.Check(t.Context(), wrong); err != nil {
		t.Errorf("chrony knows better: %v", err)
	}
	if err := c.Right(t.Context(), wrong); err != nil || len(service.calls) > 0 {
		t.Errorf("chrony has the last word: %v, %v", service.calls, err)
	}
	service.runs = false
	if err := c.Ready(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("without chrony: %v", err)
	}
	if err := c.Check(t.Context(), right); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("without chrony: %v", err)
	}
	// Of another life of the machine the clock is left alone, and chrony started.
	wrong.Boot = "before"
	if err := c.Right(t.Context(), wrong); err != nil || strings.Join(service.calls, ", ") != "start chrony.service" {
		t.Errorf("after a reboot: %v, %v", service.calls, err)
	}
	if err := c.Check(t.Context(), wrong); err != nil {
		t.Error(err)
	}
}

// An answer that was long on its way does not tell the time.
func TestAnAnswerThatTookLongIsAskedForAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			time.Sleep(clockTolerance + 50*time.Millisecond)
		}
		fmt.Fprintln(w, time.Now().UTC().Format(time.RFC3339Nano))
	}))
	t.Cleanup(s.Close)
	c := OffsetClock{URL: func() string { return s.URL }, Patience: 3 * time.Minute}
	if _, err := c.Read(t.Context()); err != nil || asked.Load() < 2 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}
