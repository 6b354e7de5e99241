package report_test

import (
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report/reporttest"
)

// A run whose times were not judged says so, shows them all the same, and takes none of them for good or bad.
func TestUntimed(t *testing.T) {
	t.Parallel()
	j := reporttest.Untimed()
	_, page := render(t, j)
	for id, want := range map[string][]string{
		"verdict": {"✓ Passed All was seen that had to be, and every acknowledged vote is counted, once. " + j.Remarks[0]},
		"checks":  {"within 2 min (if timed, 2 s), from 12.4 s on", "after 4.2 s"},
		"figures": {"left the balancer 4,210 ms 2,000 ms not judged", "tries that failed 2.5 % 1 % not judged", "votes lost 0 votes 0 votes ✓ yes"},
	} {
		got := section(page, id)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q: %s", id, w, got)
			}
		}
	}
	j.Metrics[len(j.Metrics)-1].Value = 1
	j.Result = journal.Failed
	_, page = render(t, j)
	if got := section(page, "figures"); !strings.Contains(got, "votes lost 1 votes 0 votes ✗ no") {
		t.Errorf("what is lost is judged: %s", got)
	}
	if got := section(page, "verdict"); !strings.Contains(got, j.Remarks[0]) {
		t.Errorf("it failed, and does not say that times were not judged: %s", got)
	}
	_, page = render(t, reporttest.RedisStop())
	if got := section(page, "verdict"); strings.Contains(got, "not judged") || !strings.Contains(got, "within its time") {
		t.Errorf("times were judged: %s", got)
	}
}
