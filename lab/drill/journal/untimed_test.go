package journal_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

func TestUntimed(t *testing.T) {
	t.Parallel()
	timed := small()
	text, err := json.Marshal(timed)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"untimed", "allowed_ms", "remarks"} { // a journal of an older lab has none of them
		if strings.Contains(string(text), field) {
			t.Errorf("the journal of a timed run has %s: %s", field, text)
		}
	}
	j := small()
	j.Untimed, j.Remarks, j.Checks[0].AllowedMS = true, []string{"Times were not judged."}, 120_000
	text, err = json.Marshal(j)
	if err != nil || !strings.Contains(string(text), `"untimed":true`) {
		t.Fatalf("%v: %s", err, text)
	}
	got, err := journal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(j, got); diff != "" {
		t.Errorf("read something else (-written +read):\n%s", diff)
	}
	if timed.Checks[0].LimitMS() != 2000 || got.Checks[0].LimitMS() != 120_000 {
		t.Errorf("limits %d and %d", timed.Checks[0].LimitMS(), got.Checks[0].LimitMS())
	}
}

func TestUntimedNonsense(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*journal.Journal){
		"the run's times were judged":            func(j *journal.Journal) { j.Checks[0].AllowedMS = 120_000 },
		"-1 ms is no time within a run":          func(j *journal.Journal) { j.Untimed, j.Checks[0].AllowedMS = true, -1 },
		"1001 remarks: no run has so many":       func(j *journal.Journal) { j.Remarks = make([]string, 1001) },
		"cannot unmarshal string into Go struct": nil,
	} {
		j := small()
		if change != nil {
			change(j)
		}
		text, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if change == nil {
			text = []byte(strings.Replace(string(text), `{"format":2`, `{"format":2,"untimed":"yes"`, 1))
		}
		if _, err := journal.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Times, and shares of what happens in a time, are not judged in a run that is not timed; what became of votes always is.
func TestJudges(t *testing.T) {
	t.Parallel()
	for unit, judged := range map[string]bool{"ms": false, "%": false, "votes": true, "": true} {
		for untimed, want := range map[bool]bool{false: true, true: judged} {
			j := journal.Journal{Untimed: untimed}
			if got := j.Binds(journal.Metric{Unit: unit}); got != want {
				t.Errorf("untimed %v: a metric in %q is judged: %v", untimed, unit, got)
			}
		}
	}
}
