//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// repairWithin bounds the repair of the lab after a test that failed.
const repairWithin = 20 * time.Minute

// repair brings the lab back after a test that failed, as `lab heal` and `lab up` do, and where that is not enough as `lab reset` does: what a test
// has broken is no reason for those that follow to fail. Where the lab cannot be brought back, the run stops.
func (l *lab) repair(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), repairWithin)
	defer cancel()
	began := time.Now()
	var last error
	for _, steps := range [][][]string{{{"heal"}, {"up"}}, {{"up"}, {"reset", "--yes"}, {"up"}}} {
		last = nil
		for _, args := range steps {
			cmd := exec.CommandContext(ctx, l.Dir+"/bin/lab", args...)
			cmd.Dir, cmd.Env = l.Dir, append(os.Environ(), counts(l.Frontends, l.Workers)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				last = fmt.Errorf("lab %s: %w: %s", args[0], err, out)
				break
			}
		}
		if last == nil {
			t.Logf("the lab was repaired in %.1f s", time.Since(began).Seconds())
			return
		}
		t.Log(last)
	}
	// The tests that follow would only say the same.
	fmt.Fprintf(os.Stderr, "\nthe lab cannot be brought back after %s, so the tests stop here: %v\n", t.Name(), last)
	os.Exit(1)
}
