package journal_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

func begun() time.Time { return time.Date(2026, 3, 1, 9, 30, 0, 250_000_000, time.UTC) }

// small is a journal with a little of everything.
func small() *journal.Journal {
	ms := 12.5
	return &journal.Journal{
		Format: journal.Format, ID: journal.NewID(begun(), "redis-stop"), Lab: "swarmlab", Provider: "docker", By: "ann@desk", Begun: begun(),
		LengthMS: 60_000, Drill: journal.Drill{ID: "redis-stop", Title: "Stop a Redis"},
		Phases:      []journal.Phase{{Name: "load", EndedMS: 12_000}, {Name: "fault", BegunMS: 12_000, EndedMS: 27_000}},
		Faults:      []journal.Fault{{What: "stop redis01", Node: "frontend01", InjectedMS: 12_000, SeenMS: 12_300, EndedMS: 27_000, HealedMS: 27_800}},
		Checks:      []journal.Check{{See: "the pair leaves the balancer", FromMS: 12_300, WithinMS: 2000, Held: true, AfterMS: 1100}},
		Annotations: []journal.Annotation{{AtMS: 13_400, Name: "ejected"}},
		Events:      []journal.Event{{AtMS: 12_100, Node: "frontend01", Subject: "redis01", Action: "die"}},
		Samples:     []journal.Sample{{AtMS: 500, Accepted: 200, P50MS: &ms, Queued: map[string]float64{"frontend01": 3}, Counted: &ms}, {AtMS: 1000}},
		Metrics:     []journal.Metric{{Name: "outage", Value: 1100, Unit: "ms", Limit: &ms}},
		Result:      journal.Passed,
	}
}

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "as needed")
	want := small()
	for _, length := range []int64{0, 60_000} { // A journal is written as the run goes on.
		want.LengthMS = length
		if err := journal.Write(dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := journal.Read(dir, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read something else (-written +read):\n%s", diff)
		}
	}
	info, err := os.Stat(journal.Path(dir, want.ID))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// What a lab of the last release left behind is read, in the words of today.
func TestReadsFormat1(t *testing.T) {
	t.Parallel()
	want := small()
	want.Metrics[0].Target = true
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.NewReplacer(`"format":2`, `"format":1`, `"annotations":`, `"marks":`, `"metrics":`, `"figures":`, `"target":`, `"aim":`).Replace(string(text))
	got, err := journal.Parse([]byte(old))
	if err != nil {
		t.Fatalf("%v: %s", err, old)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read something else (-today's +read):\n%s", diff)
	}
}

// What cannot be written leaves what was there, and nothing beside it.
func TestWriteKeepsTheOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := small()
	if err := journal.Write(dir, j); err != nil {
		t.Fatal(err)
	}
	broken := small()
	broken.Samples[0].Accepted = math.NaN()
	if err := journal.Write(dir, broken); err == nil || !strings.Contains(err.Error(), j.ID) {
		t.Errorf("a journal that JSON cannot hold: %v", err)
	}
	if got, err := journal.Read(dir, j.ID); err != nil || got.Samples[0].Accepted != 200 {
		t.Errorf("the old one is gone: %v", err)
	}
	if err := os.Mkdir(journal.Path(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	broken = small()
	broken.ID = "taken"
	if err := journal.Write(dir, broken); err == nil {
		t.Error("a folder was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

func TestIDsAreNoPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, id := range []string{"", ".", "..", ".hidden", "../up", "a/b", `a\b`, "a b", "a\x00b", "a\nb", "a:b", strings.Repeat("x", 129)} {
		j := small()
		j.ID = id
		if err := journal.Write(dir, j); !errors.Is(err, journal.ErrNone) {
			t.Errorf("write %q: %v", id, err)
		}
		if _, err := journal.Read(dir, id); !errors.Is(err, journal.ErrNone) {
			t.Errorf("read %q: %v", id, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("written: %v", entries)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"torn.json": `{"format": 1, "id": "torn"`, "other.json": `{"format": 1, "id": "one", "begun": "2026-03-01T09:30:00Z"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	huge, err := os.Create(filepath.Join(dir, "huge.json"))
	if err == nil {
		err = errors.Join(huge.Truncate(1<<30), huge.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"missing": "no such journal: missing",
		"torn":    filepath.Join(dir, "torn.json") + ": it is no journal: unexpected end",
		"other":   `other.json: it says that it is the journal "one"`,
		"huge":    "huge.json: it has 1073741824 bytes, more than any has",
	} {
		if _, err := journal.Read(dir, id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", id, err, want)
		}
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	t.Parallel()
	huge, negative := 1e300, -1.0
	for want, spoil := range map[string]func(j *journal.Journal){
		"it has the format 3; this lab reads 2 and older ones":          func(j *journal.Journal) { j.Format = 3 },
		`"../x" is not the name of one`:                                 func(j *journal.Journal) { j.ID = "../x" },
		`result "won": there is passed`:                                 func(j *journal.Journal) { j.Result = "won" },
		"begun: it does not say when":                                   func(j *journal.Journal) { j.Begun = time.Time{} },
		"length_ms: -1 ms is no time within a run":                      func(j *journal.Journal) { j.LengthMS = -1 },
		"stolen: 1.5 is no part of a time":                              func(j *journal.Journal) { j.Stolen = 1.5 },
		`begun_ms of the phase "fault": -5 ms`:                          func(j *journal.Journal) { j.Phases[1].BegunMS = -5 },
		`ended_ms of the phase "fault": 11999 ms is before its begin`:   func(j *journal.Journal) { j.Phases[1].EndedMS = 11_999 },
		`injected_ms of the fault "stop redis01": 9223372036854775807 `: func(j *journal.Journal) { j.Faults[0].InjectedMS = math.MaxInt64 },
		`healed_ms of the fault "stop redis01": 1 ms is before`:         func(j *journal.Journal) { j.Faults[0].HealedMS = 1 },
		`within_ms of the check "the pair leaves the balancer": -1 ms`:  func(j *journal.Journal) { j.Checks[0].WithinMS = -1 },
		`at_ms of the annotation "ejected": -1 ms`:                      func(j *journal.Journal) { j.Annotations[0].AtMS = -1 },
		"1001 annotations: no run has so many":                          func(j *journal.Journal) { j.Annotations = make([]journal.Annotation, 1001) },
		"at_ms of event 1: -1 ms":                                       func(j *journal.Journal) { j.Events[0].AtMS = -1 },
		"at_ms of sample 2: 499 is before the sample before it":         func(j *journal.Journal) { j.Samples[1].AtMS = 499 },
		"accepted_per_s of sample 1: -1 is no number":                   func(j *journal.Journal) { j.Samples[0].Accepted = -1 },
		"p99_ms of sample 2: 1e+300":                                    func(j *journal.Journal) { j.Samples[1].P99MS = &huge },
		`queued of "frontend01" in sample 1: -1`:                        func(j *journal.Journal) { j.Samples[0].Queued["frontend01"] = negative },
		`limit of the metric "outage": 1e+300`:                          func(j *journal.Journal) { j.Metrics[0].Limit = &huge },
	} {
		j := small()
		spoil(j)
		text, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := journal.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// JSON holds no such number, but a program does.
	j := small()
	j.Metrics[0].Value = math.NaN()
	if err := j.Validate(); err == nil || !strings.Contains(err.Error(), `metric "outage": NaN`) {
		t.Errorf("NaN: %v", err)
	}
}

func TestIDsAndFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if ids, err := journal.IDs(filepath.Join(dir, "none")); err != nil || ids != nil {
		t.Errorf("no folder: %v, %v", ids, err)
	}
	if _, err := journal.Find(filepath.Join(dir, "none"), ""); !errors.Is(err, journal.ErrEmpty) {
		t.Errorf("no folder: %v", err)
	}
	// Not written in order, and not alone in their folder.
	for _, id := range []string{"20260302-080000.000-redis-stop", "20260301-093000.250-redis-stop", "20260301-100000.000-worker-kill", "20260302-080000.000-redis-stop-2"} {
		j := small()
		j.ID = id
		if err := journal.Write(dir, j); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"20260301-093000.250-redis-stop.html", ".next-1.json", "a b.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	ids, err := journal.IDs(dir)
	if want := []string{
		"20260301-093000.250-redis-stop", "20260301-100000.000-worker-kill", "20260302-080000.000-redis-stop", "20260302-080000.000-redis-stop-2",
	}; err != nil || !cmp.Equal(ids, want) {
		t.Errorf("ids %v, %v", ids, err)
	}
	for part, want := range map[string]string{
		"": "20260302-080000.000-redis-stop-2", "worker": "20260301-100000.000-worker-kill", "20260301-0": "20260301-093000.250-redis-stop",
		// The whole name of one is part of another's.
		"20260302-080000.000-redis-stop": "20260302-080000.000-redis-stop",
	} {
		if got, err := journal.Find(dir, part); err != nil || got != want {
			t.Errorf("find %q: %q, %v", part, got, err)
		}
	}
	for part, want := range map[string]string{
		"store": `no such journal: "store" is no part of a name`, "../": "no such journal",
		"redis": `"redis" is part of the names of 3 journals: 20260301-093000.250-redis-stop, 2026`,
	} {
		if _, err := journal.Find(dir, part); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("find %q: %v, want %q", part, err, want)
		}
	}
}

func TestMet(t *testing.T) {
	t.Parallel()
	limit := 2.0
	for _, tt := range []struct {
		metric journal.Metric
		want   bool
	}{{journal.Metric{Value: 9}, true}, {journal.Metric{Value: 2, Limit: &limit}, true}, {journal.Metric{Value: 2.1, Limit: &limit}, false}} {
		if got := tt.metric.Met(); got != tt.want {
			t.Errorf("%+v: %t", tt.metric, got)
		}
	}
}

// FuzzParse: a text that anybody may have written is refused, or is a journal that can be kept and read again as the same.
func FuzzParse(f *testing.F) {
	text, err := json.Marshal(small())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := journal.Parse(text)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := journal.Write(dir, j); err != nil {
			t.Fatal(err)
		}
		again, err := journal.Read(dir, j.ID)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		one, err1 := json.Marshal(j)
		two, err2 := json.Marshal(again)
		if errors.Join(err1, err2) != nil || string(one) != string(two) {
			t.Errorf("became something else: %s, then %s", one, two)
		}
	})
}

// The id of a drill means its latest run, also where it is part of another drill's.
func TestFindTheLatestRunOfADrill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, id := range []string{"20261121-120000.000-redis-kill", "20261121-130000.000-redis-kill", "20261121-140000.000-my-redis-kill"} {
		if err := os.WriteFile(journal.Path(dir, id), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := journal.Find(dir, "redis-kill"); err != nil || id != "20261121-130000.000-redis-kill" {
		t.Errorf("%q, %v", id, err)
	}
	if id, err := journal.Find(dir, "redis"); err == nil {
		t.Errorf("several fit, and yet: %s", id)
	}
}
