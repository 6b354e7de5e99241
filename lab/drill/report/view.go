package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot/vg"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
)

// maxTable rows of the timeline and of the events are shown; the journal has all.
const maxTable = 300

// page is what page.html shows.
type page struct {
	*journal.Journal
	Style  template.CSS
	Policy string
	// Sign and Word are the result for those who do not see its colour, Class is for the style sheet.
	Sign, Word, Class, Meaning string
	Tiles                      []tile
	Plots                      []drawing
	Moments                    []happening
	Kinds                      []kind
	ServedBy, Troubles         []counted
	// MoreMoments and MoreEvents are not shown.
	MoreMoments, MoreEvents int
}

// tile is a number to be seen first.
type tile struct {
	Value, Name string
	// Class is "good", "bad" or nothing.
	Class string
}

// drawing is a chart as the page shows it.
type drawing struct {
	ID, Title, Unit, About, Words string
	Key                           []key
	Drawn                         []template.HTML
}

// key says which line is what.
type key struct{ Name, Class, Dashes string }

// happening is a line of the timeline.
type happening struct {
	At   int64
	Kind string
	Text string
	More string
}

// kind of finding of the judge.
type kind struct {
	Name, Meaning string
	Found         int64
	Wrong         bool
	// Examples say what is wrong, of a few.
	Examples []string
}

type counted struct {
	Name string
	N    int64
}

func newPage(j *journal.Journal) (*page, error) {
	css := "\n" + pageCSS
	p := &page{
		Journal: j, Style: template.CSS(css), Policy: policy(css), //nolint:gosec // the package's own
		Tiles: tiles(j), Moments: moments(j), MoreEvents: max(len(j.Events)-maxTable, 0),
	}
	p.MoreMoments = max(len(p.Moments)-maxTable, 0)
	p.Moments = p.Moments[:len(p.Moments)-p.MoreMoments]
	p.Sign, p.Word, p.Class, p.Meaning = result(j)
	var err error
	if p.Plots, err = drawings(j); err != nil {
		return nil, err
	}
	if v := j.Verdict; v != nil {
		for _, k := range slices.Concat(checker.Violations(), checker.Legal()) {
			one := kind{Name: string(k), Meaning: k.Meaning(), Found: v.Found[k], Wrong: v.Found[k] > 0 && slices.Contains(checker.Violations(), k)}
			if one.Wrong {
				for _, x := range v.Examples[k][:min(len(v.Examples[k]), maxExamples)] {
					one.Examples = append(one.Examples, example(x))
				}
			}
			p.Kinds = append(p.Kinds, one)
		}
	}
	if l := j.Load; l != nil {
		p.ServedBy, p.Troubles = most(l.ServedBy), most(l.Troubles)
	}
	return p, nil
}

// maxExamples of each kind of violation are shown.
const maxExamples = 3

func example(x checker.Example) string {
	text := cut(x.Why)
	if x.VoterID != nil {
		text += ", voter " + x.VoterID.String()
	}
	if x.Promised != nil {
		text += ", vote " + x.Promised.VoteID.String() + " for " + cut(x.Promised.Choice)
	}
	return text
}

func result(j *journal.Journal) (sign, word, class, meaning string) {
	switch j.Result {
	case journal.Passed:
		if j.Untimed {
			return "✓", "Passed", "good", "All was seen that had to be, and every acknowledged vote is counted, once."
		}
		return "✓", "Passed", "good", "All was seen that had to be, within its time, and every acknowledged vote is counted, once."
	case journal.Failed:
		return "✗", "Failed", "bad", "Something was not seen in time, or a promise to a voter was broken."
	case journal.Aborted:
		return "■", "Aborted", "warn", "The run was ended before its time. What was broken is healed all the same."
	case journal.Undecided:
		return "?", "Undecided", "warn", "Nothing can be held against the lab, but not all could be seen."
	default:
		return "…", "Not ended", "warn", "The run goes on, or was cut off."
	}
}

func tiles(j *journal.Journal) []tile {
	var all []tile
	held := 0
	for _, c := range j.Checks {
		if c.Held {
			held++
		}
	}
	class := func(good bool) string {
		if good {
			return "good"
		}
		return "bad"
	}
	if n := len(j.Checks); n > 0 {
		all = append(all, tile{fmt.Sprintf("%d of %d", held, n), "checks held", class(held == n)})
	}
	switch v := j.Verdict; {
	case v != nil:
		lost, double := v.Found[checker.Lost], v.Found[checker.Double]
		all = append(all, tile{formatInteger(v.Sent.Acknowledged), "votes acknowledged", ""}, tile{formatInteger(lost), "voters lost", class(lost == 0)},
			tile{formatInteger(double), "voters counted twice", class(double == 0)})
	case j.Load != nil:
		all = append(all, tile{formatInteger(j.Load.Acknowledged), "votes acknowledged", ""})
	}
	if j.Load != nil {
		all = append(all, tile{latency(j.Load.Latency.P99), "latency p99", ""})
	}
	return all
}

// moments are the phases, the faults and the marks, in order of time.
func moments(j *journal.Journal) []happening {
	var all []happening
	for _, p := range j.Phases {
		more := "goes on"
		if p.EndedMS > 0 {
			more = "for " + span(p.EndedMS-p.BegunMS)
		}
		all = append(all, happening{p.BegunMS, "phase", p.Name, more})
	}
	for _, f := range j.Faults {
		all = append(all, happening{f.InjectedMS, "fault", f.What + " ordered", f.Node})
		for _, later := range []struct {
			at   int64
			text string
			more string
		}{{f.SeenMS, "in force", cut(f.Evidence)}, {f.EndedMS, "end ordered", ""}, {f.HealedMS, "gone", ""}} {
			if later.at > 0 {
				all = append(all, happening{later.at, "fault", f.What + " " + later.text, later.more})
			}
		}
	}
	for _, m := range j.Annotations {
		all = append(all, happening{m.AtMS, "mark", m.Name, m.Text})
	}
	slices.SortStableFunc(all, func(a, b happening) int { return cmp.Compare(a.At, b.At) })
	return all
}

// maxCounted names are shown, those of the highest numbers.
const maxCounted = 20

func most(counts map[string]int64) []counted {
	var all []counted
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, counted{cut(name), counts[name]})
	}
	slices.SortStableFunc(all, func(a, b counted) int { return cmp.Compare(b.N, a.N) })
	if len(all) > maxCounted {
		others := counted{Name: count(len(all)-maxCounted, "other")}
		for _, c := range all[maxCounted:] {
			others.N += c.N
		}
		all = append(all[:maxCounted], others)
	}
	return all
}

// charts of a run; none without samples.
func charts(j *journal.Journal) []chart {
	if len(j.Samples) == 0 {
		return nil
	}
	accepted := line("accepted", j.Samples, func(s journal.Sample) (float64, bool) { return s.Accepted, true })
	errs := line("errors", j.Samples, func(s journal.Sample) (float64, bool) { return s.Errors, true })
	p50 := line("p50", j.Samples, func(s journal.Sample) (float64, bool) { return optional(s.P50MS) })
	p99 := line("p99", j.Samples, func(s journal.Sample) (float64, bool) { return optional(s.P99MS) })
	counted := line("counted", j.Samples, func(s journal.Sample) (float64, bool) { return optional(s.Counted) })
	return []chart{
		{
			id: "rate", title: "Votes accepted, and errors", unit: "per second", series: []series{accepted, errs}, label: number,
			about: "An error is a try without an answer that settles the vote; the vote itself may be tried again.",
			words: describeRate(j) + " " + describeErrors(errs),
		},
		{
			id: "latency", title: "Latency of accepted votes", unit: "milliseconds", series: []series{p50, p99}, label: number,
			log:   spread([]series{p50, p99}) > 30,
			about: "Half of the votes were faster than p50, and one in a hundred was slower than p99. There is a gap where no vote was accepted.",
			words: describeLatency(p50, p99),
		},
		{
			id: "queues", title: "Votes that wait in the queues", unit: "votes", series: queues(j.Samples), label: number,
			about: "They are acknowledged and on the frontend's disk, but not counted yet. There is a gap where a frontend did not tell.",
			words: describeQueues(queues(j.Samples)),
		},
		{
			id: "counted", title: "Counted and acknowledged", unit: "votes since the run began", series: []series{counted, acknowledged(j.Samples)}, label: number,
			about: "What was promised to voters, and what the workers have taken out of the queues and counted. The two have to meet at the end.",
			words: describeCounted(counted, acknowledged(j.Samples)),
		},
	}
}

func drawings(j *journal.Journal) ([]drawing, error) {
	f := newFrame(j)
	all := charts(j)
	rooms := map[string]vg.Length{}
	for _, c := range all {
		for _, s := range sizes() {
			rooms[s.class] = max(rooms[s.class], labelsWidth(f.plot(c, s)))
		}
	}
	var drawn []drawing
	for _, c := range all {
		d := drawing{ID: c.id, Title: c.title, Unit: c.unit, About: c.about, Words: strings.TrimSpace(c.words)}
		if c.log {
			d.Unit += ", on a logarithmic axis"
		}
		for i, s := range c.series {
			d.Key = append(d.Key, key{Name: s.name, Class: string(inkOf(i)), Dashes: dashArray(i)})
		}
		for _, s := range sizes() {
			svg, err := f.draw(c, s, rooms[s.class])
			if err != nil {
				return nil, err
			}
			d.Drawn = append(d.Drawn, svg)
		}
		drawn = append(drawn, d)
	}
	return drawn, nil
}

// functions of the template.
func functions() template.FuncMap {
	return template.FuncMap{
		"at": at, "span": span, "number": number, "integer": formatInteger, "latency": latency, "prose": prose, "cut": cut,
		"count": count, "words": words,
		"moment":  func(t time.Time) string { return t.Format("2 January 2006, 15:04:05 MST") },
		"machine": func(t time.Time) string { return t.Format(time.RFC3339) },
		"shown":   func(all []journal.Event) []journal.Event { return all[:min(len(all), maxTable)] },
		"int64":   func(n int) int64 { return int64(n) },
		"seconds": func(s float64) string { return span(int64(s * 1000)) },
	}
}
