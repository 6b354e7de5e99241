package cli_test

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/cli"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
)

// TestStatusOfALateNode: a node that is late is asked again; of one that never answers it is told that nothing could be
// told, which is another thing than one that is down.
func TestStatusOfALateNode(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	lab.Agents["store"].Stop()
	var asked, answers atomic.Int64
	lab.Agents["worker01"].Hook(func(h *fleettest.Hooks) {
		h.OnSnapshot = func(ctx context.Context) error {
			if asked.Add(1) > answers.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	status := func(hear time.Duration) (out, errs string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		asked.Store(0)
		app := cli.App{Out: &stdout, Err: &stderr, Dir: lab.Dir, Ask: 300 * time.Millisecond, Hear: hear}
		if code := cli.Main(t.Context(), app, []string{"status"}); code != 1 {
			t.Errorf("status %d\n%s%s", code, &stdout, &stderr)
		}
		return stdout.String(), stderr.String()
	}
	lineOf := func(out, node string) string {
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, node) {
				return line
			}
		}
		return ""
	}
	answers.Store(1)
	out, errs := status(5 * time.Minute)
	if !strings.Contains(errs, "no answer from") || !strings.Contains(errs, "worker01") || !strings.Contains(lineOf(out, "worker01"), " whole ") {
		t.Errorf("late:\n%s%s", errs, out)
	}
	if line := lineOf(out, "store"); !strings.Contains(line, "unreachable") {
		t.Errorf("down:\n%s", out)
	}
	answers.Store(1 << 30)
	out, _ = status(time.Second)
	if line := lineOf(out, "worker01"); !strings.Contains(line, "no answer") || !strings.Contains(line, "?") ||
		!strings.Contains(out, "! worker01: could not tell how it is: no answer in time at") {
		t.Errorf("silent:\n%s", out)
	}
	if line := lineOf(out, "store"); !strings.Contains(line, "unreachable") {
		t.Errorf("down:\n%s", out)
	}
}
