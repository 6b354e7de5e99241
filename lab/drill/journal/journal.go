// Package journal keeps what drills leave behind: a journal for each run, one JSON file that says what was broken, what was seen, what
// became of the votes, and how it ended. Reports are made of journals, and of nothing else.
//
// The package knows neither nodes nor faults; it holds what others saw. Times are in milliseconds since the run began, by a monotonic clock.
package journal

import (
	"cmp"
	"slices"
	"time"

	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
)

// Format is that of the journals written today. It changes when a reader of old ones would misread new ones.
const Format = 2

// Result is how a run ended.
type Result string

// The results, the best first.
const (
	// Passed: all was seen that had to be, within its time, and every acknowledged vote is counted, once.
	Passed Result = "passed"
	// Aborted: somebody ended the run before its time, or a stop condition did. All faults are healed all the same.
	Aborted Result = "aborted"
	// Undecided: nothing was wrong, but not all could be seen; or what was not seen in time was measured while the machine was kept from
	// its processors.
	Undecided Result = "undecided"
	// Failed: something was not seen in time, or a promise to a voter was broken.
	Failed Result = "failed"
)

// Journal is one run of one drill.
type Journal struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	Lab    string `json:"lab"`
	// Provider of the nodes, as "docker" or "libvirt".
	Provider string `json:"provider"`
	// Version of the lab command.
	Version string `json:"version,omitempty"`
	// By is who ran it.
	By    string `json:"by"`
	Drill Drill  `json:"drill"`
	// Untimed: times were measured, and not judged; see Judges.
	Untimed bool      `json:"untimed,omitempty"`
	Begun   time.Time `json:"begun"`
	// LengthMS is how long all took; 0 while the run goes on.
	LengthMS    int64        `json:"length_ms"`
	Phases      []Phase      `json:"phases"`
	Faults      []Fault      `json:"faults"`
	Checks      []Check      `json:"checks"`
	Annotations []Annotation `json:"annotations"`
	Events      []Event      `json:"events"`
	Samples     []Sample     `json:"samples"`
	Metrics     []Metric     `json:"metrics"`
	// Stolen is the part, from 0 to 1, of the processors' time that the lab's machine wanted and its host withheld, in the worst two
	// seconds since the first fault.
	Stolen float64 `json:"stolen,omitempty"`
	// Load is what the votes of the run came to; nil before they ended.
	Load *load.Summary `json:"load,omitempty"`
	// Verdict of the ledger; nil before it was judged.
	Verdict *verify.Verdict `json:"verdict,omitempty"`
	// Result is empty while the run goes on.
	Result Result `json:"result"`
	// Reasons are what is wrong, a sentence each; none for a run that passed.
	Reasons []string `json:"reasons"`
	// Remarks are what else has to be known of the run, a sentence each.
	Remarks []string `json:"remarks,omitempty"`
}

// Drill is what was run, in the words for people.
type Drill struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Section of the tutorial's "Troubleshooting the application".
	Section string `json:"section"`
	Story   string `json:"story"`
	// Questions to be answered before anything is broken.
	Questions []Question `json:"questions,omitempty"`
	Debrief   string     `json:"debrief"`
	// Fix is what would make the app stand it.
	Fix string `json:"fix"`
}

// Question asks for a prediction.
type Question struct {
	Ask    string `json:"ask"`
	Answer string `json:"answer"`
}

// Phase is a part of a run: "steady state", "load", "fault", "recovery", "afterwards", "verdict".
type Phase struct {
	Name    string `json:"name"`
	BegunMS int64  `json:"begun_ms"`
	// EndedMS is 0 while it goes on.
	EndedMS int64 `json:"ended_ms"`
}

// Fault is something that was broken.
type Fault struct {
	// What in words, as "stop redis01"; Node is where.
	What string `json:"what"`
	Node string `json:"node"`
	// InjectedMS is when it was ordered, SeenMS when it was seen to be in force.
	InjectedMS int64 `json:"injected_ms"`
	SeenMS     int64 `json:"seen_ms"`
	// EndedMS is when its end was ordered, HealedMS when its effect was gone. 0: not yet.
	EndedMS  int64 `json:"ended_ms"`
	HealedMS int64 `json:"healed_ms"`
	// Evidence is how it was seen.
	Evidence string `json:"evidence"`
}

// Check is something that had to be seen.
type Check struct {
	// See in words, When as an expression.
	See  string `json:"see"`
	When string `json:"when"`
	// Phase in which it was looked for.
	Phase string `json:"phase"`
	// FromMS is from when on; it had to hold once before FromMS+WithinMS, or, if Always, all the time.
	FromMS   int64 `json:"from_ms"`
	WithinMS int64 `json:"within_ms"`
	Always   bool  `json:"always,omitempty"`
	// AllowedMS takes the place of WithinMS in a run whose times are not judged; 0 in others.
	AllowedMS int64 `json:"allowed_ms,omitempty"`
	// Held: it did. AfterMS is how long after FromMS it first did, or, for one that had to hold always, first did not.
	Held    bool  `json:"held"`
	AfterMS int64 `json:"after_ms"`
	// Saw is what was seen instead, where it did not hold.
	Saw string `json:"saw,omitempty"`
}

// LimitMS is how long it might take to be seen.
func (c Check) LimitMS() int64 { return cmp.Or(c.AllowedMS, c.WithinMS) }

// Annotation is a moment to be shown in the plots: "detected", "ejected", "recovered".
type Annotation struct {
	AtMS int64  `json:"at_ms"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// Event is something that happened on a node.
type Event struct {
	AtMS    int64  `json:"at_ms"`
	Node    string `json:"node"`
	Subject string `json:"subject"`
	Action  string `json:"action"`
	Message string `json:"message"`
}

// Sample is how votes were doing in one stretch of time, half a second as a rule, that ended at AtMS.
type Sample struct {
	AtMS int64 `json:"at_ms"`
	// Accepted votes, and tries without an answer that settles the vote, per second.
	Accepted float64 `json:"accepted_per_s"`
	Errors   float64 `json:"errors_per_s"`
	// P50MS and P99MS are quantiles of the latency of the votes accepted meanwhile; nil when there were none.
	P50MS *float64 `json:"p50_ms,omitempty"`
	P99MS *float64 `json:"p99_ms,omitempty"`
	// Queued votes by frontend; one that does not tell is missing.
	Queued map[string]float64 `json:"queued"`
	// Counted is how many votes left the queues since the run began; nil when no queue tells.
	Counted *float64 `json:"counted,omitempty"`
}

// Metric is something measured.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is "ms", "%", "votes", …
	Unit string `json:"unit"`
	// Limit that the value must not pass; nil: it has none.
	Limit *float64 `json:"limit,omitempty"`
	// Target: the limit is what a machine with nothing else to do keeps to. To miss it is worth a look, and no failure.
	Target bool `json:"target,omitempty"`
}

// Met reports whether the metric keeps to its limit.
func (f Metric) Met() bool { return f.Limit == nil || f.Value <= *f.Limit }

// Binds reports whether a metric that does not keep to its limit is held against the run. In a run whose times are not judged, times and shares
// of a time's tries are not.
func (j *Journal) Binds(f Metric) bool {
	return !j.Untimed || !slices.Contains([]string{"ms", "%"}, f.Unit)
}
