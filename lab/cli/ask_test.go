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
	// patient is how much time who asks must have to get an answer; 0: nobody gets one.
	var patient atomic.Int64
	lab.Agents["worker01"].Hook(func(h *fleettest.Hooks) {
		h.OnSnapshot = func(ctx context.Context) error {
			end, _ := ctx.Deadline()
			if enough := time.Duration(patient.Load()); enough > 0 && time.Until(end) > enough {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	status := func(hear time.Duration) (out, errs string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
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
	patient.Store(int64(time.Minute))
	out, errs := status(10 * time.Minute)
	if !strings.Contains(errs, "no answer from") || !strings.Contains(errs, "worker01") || !strings.Contains(lineOf(out, "worker01"), " ready ") {
		t.Errorf("late:\n%s%s", errs, out)
	}
	if line := lineOf(out, "store"); !strings.Contains(line, "unreachable") {
		t.Errorf("down:\n%s", out)
	}
	patient.Store(0)
	out, _ = status(time.Second)
	if line := lineOf(out, "worker01"); !strings.Contains(line, "no answer") || !strings.Contains(line, "?") ||
		!strings.Contains(out, "! worker01: could not tell how it is: no answer in time at") {
		t.Errorf("silent:\n%s", out)
	}
	if line := lineOf(out, "store"); !strings.Contains(line, "unreachable") {
		t.Errorf("down:\n%s", out)
	}
}
