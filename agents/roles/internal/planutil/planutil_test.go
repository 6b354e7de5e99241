package planutil_test

import (
	"testing"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
	"github.com/swarmlab/swarmlab/agents/roles/internal/planutil"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for ordinal, want := range map[uint32]string{0: "", 1: "01", 10: "10", 99: "99", 100: ""} {
		got, err := planutil.Number(&rolev1.Node{Name: "n", Role: "frontend", Ordinal: ordinal})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%d: %q, %v; want %q", ordinal, got, err, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	facts := roletest.FactsOf("worker", 1, 4, 3)
	for name, want := range map[string]int{"frontend": 4, "worker": 3, "store": 1, "cache": 0} {
		if got := planutil.Count(facts, name); got != want {
			t.Errorf("%d nodes of role %s, want %d", got, name, want)
		}
	}
}
