package load

import (
	"math/bits"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// Counts of votes by what became of them.
type Counts struct {
	// Votes that were begun; when the load is over, the sum of the next three.
	Votes        int64 `json:"votes"`
	Acknowledged int64 `json:"acknowledged"`
	Refused      int64 `json:"refused"`
	// Unknown: nobody said that they happened or that they did not.
	Unknown int64 `json:"unknown"`
	// Retried votes took more than one try.
	Retried int64 `json:"retried"`
}

// Progress is how a load is doing.
type Progress struct {
	Counts
	// Planned is how many votes there will be; 0: nobody knows.
	Planned int64
	Elapsed time.Duration
	// Failed tries so far: a vote may have had several, and be acknowledged all the same.
	Failed int64
	// Overdue votes of an open loop wait for a connection.
	Overdue int64
	// Rate of acknowledged votes a second, and quantiles of their latency, since the last report.
	Rate     float64
	P50, P99 time.Duration
}

// Summary is what a load came to.
type Summary struct {
	Run ledger.RunID `json:"run"`
	Counts
	// Tries are requests, of which some votes needed several.
	Tries int64 `json:"tries"`
	// Voters who voted. Those whom the app took for somebody else in between are Strangers.
	Voters    int64 `json:"voters"`
	Strangers int64 `json:"strangers"`
	// Overdue votes of an open loop never got a connection: they were not cast, and no latency tells of them.
	Overdue int64 `json:"overdue"`

	Seconds float64 `json:"seconds"`
	// Rate of acknowledged votes a second.
	Rate float64 `json:"rate"`
	// Latency of acknowledged votes with all their tries, in an open loop from the moment when they were due.
	Latency Latency `json:"latency"`
	// PerSecond is how many votes were acknowledged in each second of the load.
	PerSecond []int64 `json:"per_second"`
	// ServedBy is who acknowledged how many votes, Troubles what went wrong how often: a vote may meet several.
	ServedBy map[string]int64 `json:"served_by"`
	Troubles map[string]int64 `json:"troubles"`
}

// Latency in milliseconds. All is 0 if there was none to measure.
type Latency struct {
	Min  float64 `json:"min_ms"`
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
	// Buckets hold how many votes took how long; each reaches from the one before.
	Buckets []Bucket `json:"buckets"`
}

// Bucket is a part of a histogram.
type Bucket struct {
	UpTo  float64 `json:"up_to_ms"`
	Votes int64   `json:"votes"`
}

// Latencies are kept in microseconds, up to maxLatency, to three digits.
const (
	maxLatency = time.Hour
	digits     = 3
	// maxNames bounds how many frontends are told apart, whatever the app answers.
	maxNames  = 100
	otherName = "others"
)

// tally counts. Not safe for concurrent use.
type tally struct {
	counts                           Counts
	tries, failed, voters, strangers int64
	all, recent                      *hdrhistogram.Histogram
	reported                         time.Duration
	perSecond                        []int64
	servedBy                         map[string]*served
	troubles                         map[string]int64
}

type served struct {
	name  string
	votes int64
}

func newTally() *tally {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency.Microseconds(), digits) }
	return &tally{all: histogram(), recent: histogram(), servedBy: map[string]*served{}, troubles: map[string]int64{}}
}

func (t *tally) begin(b *ballot) {
	t.counts.Votes++
	if b.browser == nil {
		t.voters++
	}
}

// cancel undoes begin: the vote was not cast.
func (t *tally) cancel(b *ballot) {
	t.counts.Votes--
	if b.browser == nil {
		t.voters--
	}
}

// end counts a vote that came to its end at a time since the start. It returns who served it, without a copy for each vote.
func (t *tally) end(b *ballot, o *ledger.Outcome, a *answer, tries int, at, took time.Duration) (servedBy string) {
	t.tries += int64(tries)
	if tries > 1 {
		t.counts.Retried++
	}
	switch o.Kind {
	case ledger.Refused:
		t.counts.Refused++
		return ""
	case ledger.Unknown:
		t.counts.Unknown++
		return ""
	}
	t.counts.Acknowledged++
	if b.browser != nil && b.browser.who != shorten(o.VoterID) {
		t.strangers++
	}
	us := min(max(took, 0), maxLatency).Microseconds()
	_ = t.all.RecordValue(us) // It is in range.
	_ = t.recent.RecordValue(us)
	for second := int(at / time.Second); second >= len(t.perSecond); {
		t.perSecond = append(t.perSecond, 0)
	}
	t.perSecond[int(at/time.Second)]++
	s, known := t.servedBy[string(a.servedBy)]
	if !known {
		s = &served{name: string(a.servedBy)}
		if len(t.servedBy) >= maxNames {
			others, known := t.servedBy[otherName]
			if !known {
				others = &served{name: otherName}
				t.servedBy[otherName] = others
			}
			others.votes++
			return s.name
		}
		t.servedBy[s.name] = s
	}
	s.votes++
	return s.name
}

func (t *tally) progress(now time.Duration) Progress {
	p := Progress{
		Counts: t.counts, Elapsed: now, Failed: t.failed,
		P50: microseconds(t.recent.ValueAtQuantile(50)), P99: microseconds(t.recent.ValueAtQuantile(99)),
	}
	if since := now - t.reported; since > 0 {
		p.Rate = float64(t.recent.TotalCount()) / since.Seconds()
	}
	t.reported = now
	t.recent.Reset()
	return p
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func (t *tally) summary(run ledger.RunID, elapsed time.Duration, overdue int64) Summary {
	s := Summary{
		Run: run, Counts: t.counts, Tries: t.tries, Voters: t.voters, Strangers: t.strangers, Overdue: overdue,
		Seconds: elapsed.Seconds(), PerSecond: t.perSecond, Latency: latency(t.all),
		ServedBy: map[string]int64{}, Troubles: t.troubles,
	}
	if elapsed > 0 {
		s.Rate = float64(s.Acknowledged) / elapsed.Seconds()
	}
	for name, served := range t.servedBy {
		s.ServedBy[name] = served.votes
	}
	return s
}

func latency(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	l := Latency{
		Min: ms(h.Min()), Mean: h.Mean() / 1000, Max: ms(h.Max()),
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)), P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)),
	}
	l.Buckets = buckets(h)
	return l
}

// buckets end at powers of two of a microsecond, from the fastest vote's to the slowest's.
func buckets(h *hdrhistogram.Histogram) []Bucket {
	var all []Bucket
	first := 0
	for _, bar := range h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		power := bits.Len64(uint64(bar.From)) // 2^(power-1) <= From < 2^power, and To as well
		if all == nil {
			first = power
		}
		for len(all) <= power-first {
			all = append(all, Bucket{UpTo: float64(uint64(1)<<(first+len(all))) / 1000})
		}
		all[power-first].Votes += bar.Count
	}
	return all
}
