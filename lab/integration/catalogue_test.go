//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/journal"
	"github.com/swarmlab/swarmlab/lab/settings"
	"github.com/swarmlab/swarmlab/lab/verdict"
)

// Every drill passes on a healthy lab, in one go, and leaves it as it was.
func TestEveryDrillPasses(t *testing.T) {
	l := open(t)
	catalogue, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, d := range catalogue {
		if !d.Machines || l.Provider != settings.ProviderDocker {
			left[d.ID] = true
		}
	}
	cmd := exec.CommandContext(t.Context(), l.Dir+"/bin/lab", "drill", "run", "--all", "--yes", "--json")
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
	var acknowledged int64
	var again []string
	runs := json.NewDecoder(journals)
	for {
		var j journal.Journal
		if err := runs.Decode(&j); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Errorf("the journals cannot be read: %v", err)
			break
		}
		delete(left, j.Drill.ID)
		t.Logf("%-9s %-26s %3.0f s", j.Result, j.Drill.ID, float64(j.LengthMS)/1000)
		for _, f := range j.Figures {
			t.Logf("          %8.6g %-5s %s", f.Value, f.Unit, f.Name)
		}
		switch {
		case disturbed(&j):
			t.Logf("          it says nothing: %q", j.Reasons)
			again = append(again, j.Drill.ID)
		case j.Result != journal.Passed:
			t.Errorf("%s %s: %q", j.Drill.ID, j.Result, j.Reasons)
		case j.Verdict == nil || j.Verdict.Result != verdict.Pass || j.Verdict.Sent.Acknowledged == 0 || len(j.Samples) < 10:
			t.Errorf("%s passed without evidence: %d samples, %v", j.Drill.ID, len(j.Samples), j.Verdict)
		default:
			acknowledged += j.Verdict.Sent.Acknowledged
		}
	}
	if err := cmd.Wait(); err != nil && len(again) == 0 {
		t.Errorf("%v: %s", err, said.String())
	}
	if len(left) > 0 {
		t.Errorf("not run: %v", left)
	}
	t.Logf("%d drills in %.0f s, %d votes acknowledged", len(catalogue), time.Since(began).Seconds(), acknowledged)
	l.waitWhole(t, l.patience)
	for _, id := range again {
		calm(t)
		innocent(t, l.drill(t, id))
	}
	l.waitWhole(t, l.patience)
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
