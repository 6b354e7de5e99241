package discovery

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	held   = defaultTimes().hold
	blocks = defaultTimes().block
)

func at(id, incarnation string, missing time.Time) entry {
	return entry{Service: "web", ID: id, Node: id, Address: "10.0.0.1", Port: 80, Incarnation: incarnation, missing: missing}
}

func ids(entries []entry) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return out
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	var never time.Time
	for name, c := range map[string]struct {
		known  []entry
		answer answer
		want   []string
		doubt  []string
	}{
		"new ones at once":              {nil, answer{"i", []entry{at("a", "i", never), at("b", "i", never)}}, []string{"a", "b"}, nil},
		"nothing of nothing":            {nil, answer{"i", nil}, nil, nil},
		"listed stays":                  {[]entry{at("a", "i", never)}, answer{"i", []entry{at("a", "i", never)}}, []string{"a"}, nil},
		"listed again":                  {[]entry{at("a", "i", ago(time.Hour))}, answer{"i", []entry{at("a", "i", never)}}, []string{"a"}, nil},
		"missing now":                   {[]entry{at("a", "i", never)}, answer{"i", nil}, []string{"a"}, nil},
		"deregistered, too early":       {[]entry{at("a", "i", ago(held.deregistered-1))}, answer{"i", nil}, []string{"a"}, nil},
		"deregistered":                  {[]entry{at("a", "i", ago(held.deregistered))}, answer{"i", nil}, nil, nil},
		"deregistered, another is not":  {[]entry{at("a", "i", ago(held.deregistered)), at("b", "i", never)}, answer{"i", []entry{at("b", "i", never)}}, []string{"b"}, nil},
		"wiped":                         {[]entry{at("a", "i", never), at("b", "i", never)}, answer{"j", nil}, []string{"a", "b"}, nil},
		"wiped long ago, nothing back":  {[]entry{at("a", "i", ago(held.lost-1))}, answer{"j", nil}, []string{"a"}, nil},
		"wiped, partly back":            {[]entry{at("a", "i", ago(20*time.Second)), at("b", "i", ago(20*time.Second))}, answer{"j", []entry{at("b", "j", never)}}, []string{"a", "b"}, nil},
		"wiped, lost for good":          {[]entry{at("a", "i", ago(held.lost))}, answer{"j", nil}, []string{"a"}, []string{"a"}},
		"wiped, others lost for good":   {[]entry{at("a", "i", ago(held.lost)), at("b", "i", ago(held.lost))}, answer{"j", []entry{at("b", "j", never)}}, []string{"a", "b"}, []string{"a"}},
		"another Consul, then the same": {[]entry{at("a", "i", ago(time.Second))}, answer{"i", nil}, []string{"a"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next, doubtful := held.merge(c.known, c.answer, now)
			if !slices.Equal(ids(next), ids(nil)) && c.want == nil || c.want != nil && !slices.Equal(ids(next), c.want) {
				t.Errorf("known: want %v, got %v", c.want, ids(next))
			}
			if len(c.doubt) != len(doubtful) || len(c.doubt) > 0 && !slices.Equal(ids(doubtful), c.doubt) {
				t.Errorf("doubtful: want %v, got %v", c.doubt, ids(doubtful))
			}
			for _, e := range next {
				listed := slices.ContainsFunc(c.answer.listed, func(l entry) bool { return l.ID == e.ID })
				if listed != e.missing.IsZero() {
					t.Errorf("%s: listed %v, missing since %v", e.ID, listed, e.missing)
				}
			}
		})
	}
}

// An instance moves: what is listed now counts, not what was.
func TestJudgeTakesTheNewAddress(t *testing.T) {
	t.Parallel()
	moved := at("a", "j", time.Time{})
	moved.Address = "10.0.0.9"
	next, _ := held.merge([]entry{at("a", "i", time.Time{})}, answer{"j", []entry{moved}}, time.Now())
	if len(next) != 1 || next[0] != moved {
		t.Errorf("got %v", next)
	}
}

// Whatever Consul lists is known after it; whatever is known and neither listed nor older than the shortest hold stays; nothing is
// made up; and an absence of Consul takes nothing away.
func TestJudgeProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		incarnation := rapid.SampledFrom([]string{"i", "j"})
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var known []entry
		for range rapid.IntRange(5, 40).Draw(t, "rounds") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			if rapid.Bool().Draw(t, "away") {
				kept := unanswered(known)
				if !slices.Equal(ids(kept), ids(known)) {
					t.Fatalf("without Consul %v became %v", ids(known), ids(kept))
				}
				known = kept
				continue
			}
			a := answer{incarnation: incarnation.Draw(t, "incarnation")}
			for _, id := range rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "listed") {
				a.listed = append(a.listed, at(id, a.incarnation, time.Time{}))
			}
			slices.SortFunc(a.listed, byID)
			next, doubtful := held.merge(known, a, now)
			for _, l := range a.listed {
				if !slices.Contains(ids(next), l.ID) {
					t.Fatalf("%s is listed and not known", l.ID)
				}
			}
			for _, k := range known {
				fresh := k.missing.IsZero() || now.Sub(k.missing) < held.deregistered
				if fresh && !slices.Contains(ids(next), k.ID) {
					t.Fatalf("%s was given up after %v", k.ID, now.Sub(k.missing))
				}
			}
			for _, n := range next {
				if !slices.Contains(ids(known), n.ID) && !slices.Contains(ids(a.listed), n.ID) {
					t.Fatalf("%s comes from nowhere", n.ID)
				}
			}
			for _, d := range doubtful {
				if slices.Contains(ids(a.listed), d.ID) || now.Sub(d.missing) < held.lost {
					t.Fatalf("%s is doubted for no reason", d.ID)
				}
			}
			if !slices.IsSortedFunc(next, byID) {
				t.Fatalf("not sorted: %v", ids(next))
			}
			if w := held.wait(next, now, blocks); w < time.Second || w > blocks {
				t.Fatalf("wait %v", w)
			}
			known = next
		}
	})
}

func TestWait(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		missing time.Duration
		want    time.Duration
	}{
		"just now":   {0, held.deregistered},
		"a moment":   {4 * time.Second, held.deregistered - 4*time.Second},
		"in between": {40 * time.Second, 20 * time.Second},
		"nearly":     {held.lost - time.Millisecond, time.Second},
		"over":       {held.lost + time.Second, blocks},
	} {
		if got := held.wait([]entry{at("a", "i", now.Add(-c.missing)), at("b", "i", time.Time{})}, now, blocks); got != c.want {
			t.Errorf("%s: want %v, got %v", name, c.want, got)
		}
	}
	if got := held.wait([]entry{at("a", "i", time.Time{})}, now, blocks); got != blocks {
		t.Errorf("nothing missing: %v", got)
	}
}
