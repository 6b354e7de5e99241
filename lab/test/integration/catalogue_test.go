//go:build integration

package integration

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
)

// unable says why a drill cannot be run on this lab; empty where it can.
func (l *lab) unable(t *testing.T, d *drill.Drill) string {
	t.Helper()
	return runner.Unable(d, l.Provider, l.fleet.Snapshot(t.Context()))
}

// oneOfAKind chooses drills so that each kind of fault is in one of them: always the one that is shortest for each kind that it adds. None of them
// has only kinds that are in the others, too.
func oneOfAKind(drills []*drill.Drill) []string {
	kinds := func(d *drill.Drill) map[string]bool {
		all := map[string]bool{}
		for _, i := range d.Inject {
			all[i.Fault] = true
		}
		return all
	}
	// Besides its own time, each takes some for what comes before and after it.
	length := func(d *drill.Drill) time.Duration { return d.Length() + 10*time.Second }
	times := map[string]int{}
	// in counts the kinds of a drill that are in n of the chosen ones.
	in := func(d *drill.Drill, n int) (count int) {
		for kind := range kinds(d) {
			if times[kind] == n {
				count++
			}
		}
		return count
	}
	var chosen []*drill.Drill
	for {
		rest := slices.DeleteFunc(slices.Clone(drills), func(d *drill.Drill) bool { return in(d, 0) == 0 })
		if len(rest) == 0 {
			break
		}
		best := slices.MinFunc(rest, func(a, b *drill.Drill) int {
			return cmp.Or(cmp.Compare(length(a)*time.Duration(in(b, 0)), length(b)*time.Duration(in(a, 0))), strings.Compare(a.ID, b.ID))
		})
		chosen = append(chosen, best)
		for kind := range kinds(best) {
			times[kind]++
		}
	}
	var ids []string
	for _, d := range chosen {
		if in(d, 1) > 0 {
			ids = append(ids, d.ID)
			continue
		}
		for kind := range kinds(d) {
			times[kind]--
		}
	}
	return ids
}

// A drill of each kind of fault passes on a healthy lab, all in one go, and leaves it as it was. make test-long runs the whole catalogue.
func TestADrillOfEachKindPasses(t *testing.T) {
	l := open(t)
	catalogue, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	l.drillsPass(t, oneOfAKind(slices.DeleteFunc(catalogue, func(d *drill.Drill) bool { return l.unable(t, d) != "" }))...)
}

// drillsPass runs drills, one after the other, by one command.
func (l *lab) drillsPass(t *testing.T, ids ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), l.Dir+"/bin/lab", slices.Concat(untimed, ids)...)
	cmd.Dir = l.Dir
	var said strings.Builder
	cmd.Stderr = &said
	journals, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := slices.Clone(ids)
	var acknowledged int64
	runs := json.NewDecoder(journals)
	for {
		var j journal.Journal
		if err := runs.Decode(&j); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Errorf("the journals cannot be read: %v", err)
			break
		}
		left = slices.DeleteFunc(left, func(id string) bool { return id == j.Drill.ID })
		t.Logf("%-9s %-26s %3.0f s", j.Result, j.Drill.ID, float64(j.LengthMS)/1000)
		for _, f := range j.Metrics {
			t.Logf("          %8.6g %-5s %s", f.Value, f.Unit, f.Name)
		}
		switch {
		case j.Result != journal.Passed:
			t.Errorf("%s %s: %q", j.Drill.ID, j.Result, j.Reasons)
		case j.Verdict == nil || j.Verdict.Result != checker.Pass || j.Verdict.Sent.Acknowledged == 0 || len(j.Samples) < 10:
			t.Errorf("%s passed without evidence: %d samples, %v", j.Drill.ID, len(j.Samples), j.Verdict)
		default:
			acknowledged += j.Verdict.Sent.Acknowledged
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	if len(left) > 0 {
		t.Errorf("not run: %v", left)
	}
	t.Logf("%d drills in %.0f s, %d votes acknowledged", len(ids), time.Since(began).Seconds(), acknowledged)
	l.waitReady(t)
	for _, n := range l.fleet.Snapshot(t.Context()).Nodes {
		if faults := n.Snapshot.GetFaults(); len(faults) > 0 {
			t.Errorf("%s is left with %v", n.Node.Name, faults)
		}
		if l.Provider == settings.ProviderDocker {
			if tables := l.mustOnNode(t, n.Node.Name, "nft", "list", "tables"); strings.Contains(tables, "swarmlab_fault") {
				t.Errorf("%s is left with %s", n.Node.Name, tables)
			}
		}
	}
}

func TestOneOfAKind(t *testing.T) {
	of := func(id string, kinds ...string) *drill.Drill {
		d := &drill.Drill{ID: id}
		for _, kind := range kinds {
			d.Inject = append(d.Inject, drill.Injection{Fault: kind})
		}
		return d
	}
	for _, tt := range []struct {
		drills []*drill.Drill
		want   []string
	}{
		{[]*drill.Drill{of("a", "kill"), of("b", "stop"), of("c", "kill", "pause"), of("d", "stop"), of("e", "wipe")}, []string{"c", "b", "e"}},
		{[]*drill.Drill{of("a", "kill", "pause"), of("b", "kill", "stop"), of("c", "stop", "power-off"), of("d", "kill")}, []string{"a", "c"}},
	} {
		if got := oneOfAKind(tt.drills); !slices.Equal(got, tt.want) {
			t.Errorf("got %v, want %v", got, tt.want)
		}
	}
}
