package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

// The functions below say in words what is to be seen in a plot.

func clock(p point) string { return fmt.Sprintf("%.1f s", p.at) }

// between are the points of a time, in seconds.
func between(points []point, from, to float64) []point {
	var some []point
	for _, p := range points {
		if p.at > from && p.at <= to {
			some = append(some, p)
		}
	}
	return some
}

// rounded is for what decimals say nothing of.
func rounded(v float64) string {
	if v >= 10 {
		return number(math.Round(v))
	}
	return number(v)
}

// busy leaves out what was before the first try of a vote and after the last one.
func busy(samples []journal.Sample) []journal.Sample {
	idle := func(s journal.Sample) bool { return s.Accepted == 0 && s.Errors == 0 }
	for len(samples) > 0 && idle(samples[0]) {
		samples = samples[1:]
	}
	for len(samples) > 0 && idle(samples[len(samples)-1]) {
		samples = samples[:len(samples)-1]
	}
	return samples
}

func describeRate(j *journal.Journal) string {
	accepted := line("", busy(j.Samples), func(s journal.Sample) (float64, bool) { return s.Accepted, true }).points()
	all, known := extentOf(accepted)
	if !known {
		return "No vote was tried."
	}
	text := fmt.Sprintf("Accepted while votes were cast: %s to %s a second, the fewest at %s.", rounded(all.low.value), rounded(all.high.value), clock(all.low))
	f := newFrame(j)
	if len(f.faults) == 0 {
		return text
	}
	first := f.faults[0]
	var said []string
	for _, part := range []struct {
		when     string
		from, to float64
	}{{"before", 0, first.from}, {"during", first.from, first.to}, {"after", first.to, f.end}} {
		if e, known := extentOf(between(accepted, part.from, part.to)); known {
			said = append(said, fmt.Sprintf("%s %s", rounded(e.median), part.when))
		}
	}
	return text + fmt.Sprintf(" In the median %s “%s”.", strings.Join(said, ", "), cut(first.name))
}

func describeErrors(errs series) string {
	all, known := extentOf(errs.points())
	if !known || all.high.value == 0 {
		return "Errors: none."
	}
	n := 0
	for _, p := range errs.points() {
		if p.value > 0 {
			n++
		}
	}
	return fmt.Sprintf("Errors: %s/s at most, at %s; there were some in %d of %d samples.", rounded(all.high.value), clock(all.high), n, len(errs.points()))
}

func describeLatency(p50, p99 series) string {
	half, known := extentOf(p50.points())
	slow, also := extentOf(p99.points())
	if !known || !also {
		return "No vote was accepted, so none was measured."
	}
	text := fmt.Sprintf("p50: %s to %s, the highest at %s. p99: %s to %s, the highest at %s.", latency(half.low.value), latency(half.high.value),
		clock(half.high), latency(slow.low.value), latency(slow.high.value), clock(slow.high))
	if gaps := len(p50.parts) - 1; gaps > 0 {
		text += fmt.Sprintf(" There is a gap %s.", times(gaps))
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func describeQueues(queues []series) string {
	if len(queues) == 0 {
		return "No frontend told of its queue."
	}
	var said []string
	for _, q := range queues {
		if e, known := extentOf(q.points()); known {
			text := fmt.Sprintf("%s: %s at most, at %s, and %s at the end", q.name, rounded(e.high.value), clock(e.high), rounded(e.last.value))
			if gaps := len(q.parts) - 1; gaps > 0 {
				text += ", not known in between " + times(gaps)
			}
			said = append(said, text)
		}
	}
	return strings.Join(said, "; ") + "."
}

func describeCounted(counted, acknowledged series) string {
	sum, known := extentOf(acknowledged.points())
	if !known {
		return ""
	}
	text := fmt.Sprintf("At the end, by the samples, about %s votes are acknowledged", number(math.Round(sum.last.value)))
	store, known := extentOf(counted.points())
	if !known {
		return text + "; the store did not tell what it counted."
	}
	text += fmt.Sprintf(" and %s counted.", number(math.Round(store.last.value)))
	behind, when := 0.0, point{}
	i := 0
	promised := acknowledged.points()
	for _, p := range counted.points() {
		for i < len(promised)-1 && promised[i].at < p.at {
			i++
		}
		if d := promised[i].value - p.value; d > behind {
			behind, when = d, p
		}
	}
	if behind >= 1 {
		text += fmt.Sprintf(" Counting was farthest behind at %s, by about %s votes.", clock(when), number(math.Round(behind)))
	}
	return text
}
