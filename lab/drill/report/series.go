package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

const (
	// maxPoints of a line are drawn, more than a projector has columns for.
	maxPoints = 800
	// maxQueues are drawn one by one; what is more is drawn as their sum.
	maxQueues = 5
	// gapSteps without a sample, and nothing is known of the time in between.
	gapSteps = 3
	// usualStep is assumed where samples do not tell, in seconds.
	usualStep = 0.5
)

// point is a value at a time in seconds since the run began.
type point struct{ at, value float64 }

// series is what is drawn as one line, with a gap where nothing is known: each part is an unbroken stretch of it, and not empty.
type series struct {
	name  string
	parts [][]point
}

// points are all that are known, in order of time.
func (s series) points() []point { return slices.Concat(s.parts...) }

func seconds(ms int64) float64 { return float64(ms) / 1000 }

// step is the usual time from one sample to the next, in seconds: the median, so that a pause does not count.
func step(samples []journal.Sample) float64 {
	var steps []int64
	for i := 1; i < len(samples); i++ {
		if d := samples[i].AtMS - samples[i-1].AtMS; d > 0 {
			steps = append(steps, d)
		}
	}
	if len(steps) == 0 {
		return usualStep
	}
	slices.Sort(steps)
	return seconds(steps[len(steps)/2])
}

// line makes a series of one value of each sample; the value may be missing.
func line(name string, samples []journal.Sample, value func(journal.Sample) (float64, bool)) series {
	s := series{name: name}
	longest := gapSteps * step(samples)
	broken := true
	for i, sample := range samples {
		v, known := value(sample)
		if i > 0 && seconds(sample.AtMS-samples[i-1].AtMS) > longest {
			broken = true
		}
		if !known {
			broken = true
			continue
		}
		if broken {
			s.parts = append(s.parts, nil)
			broken = false
		}
		last := &s.parts[len(s.parts)-1]
		*last = append(*last, point{seconds(sample.AtMS), v})
	}
	return s
}

// optional is the value behind a pointer.
func optional(v *float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

// acknowledged is how many votes were accepted until each sample: the rates, summed.
func acknowledged(samples []journal.Sample) series {
	sum, last, usual := 0.0, 0.0, step(samples)
	return line("acknowledged", samples, func(s journal.Sample) (float64, bool) {
		// The load may have begun long after the run, and the first sample speaks of one step only.
		took := min(seconds(s.AtMS)-last, gapSteps*usual)
		if last == 0 {
			took = min(took, usual)
		}
		last = seconds(s.AtMS)
		sum += s.Accepted * took
		return sum, true
	})
}

// queues are the votes that wait, by frontend. Those that were never long are summed where there are many.
func queues(samples []journal.Sample) []series {
	highest := map[string]float64{}
	for _, s := range samples {
		for node, n := range s.Queued {
			highest[node] = max(highest[node], n)
		}
	}
	nodes := slices.SortedFunc(maps.Keys(highest), func(a, b string) int {
		return cmp.Or(cmp.Compare(highest[b], highest[a]), cmp.Compare(a, b))
	})
	var others []string
	if len(nodes) > maxQueues+1 {
		nodes, others = nodes[:maxQueues], nodes[maxQueues:]
	}
	slices.Sort(nodes)
	var all []series
	for _, node := range nodes {
		all = append(all, line(node, samples, func(s journal.Sample) (float64, bool) {
			n, known := s.Queued[node]
			return n, known
		}))
	}
	if len(others) > 0 {
		all = append(all, line(count(len(others), "other"), samples, func(s journal.Sample) (sum float64, known bool) {
			for _, node := range others {
				if n, tells := s.Queued[node]; tells {
					sum, known = sum+n, true
				}
			}
			return sum, known
		}))
	}
	return all
}

// thin leaves so many points of a line at most, and of each stretch the lowest and the highest: an outage of one sample is still seen.
func thin(points []point, most int) []point {
	if len(points) <= most || most < 2 {
		return points
	}
	stretches := most / 2
	var kept []point
	for i := range stretches {
		stretch := points[i*len(points)/stretches : (i+1)*len(points)/stretches]
		low, high := 0, 0
		for k, p := range stretch {
			if p.value < stretch[low].value {
				low = k
			}
			if p.value > stretch[high].value {
				high = k
			}
		}
		kept = append(kept, stretch[min(low, high)])
		if low != high {
			kept = append(kept, stretch[max(low, high)])
		}
	}
	return kept
}

// thinned has about maxPoints at most, over all of its parts. Where there are more parts than that, some are left out: nobody could tell
// them apart.
func (s series) thinned() [][]point {
	total := len(s.points())
	if total <= maxPoints {
		return s.parts
	}
	each := (len(s.parts)*2 + maxPoints - 1) / maxPoints
	var parts [][]point
	for i := 0; i < len(s.parts); i += each {
		parts = append(parts, thin(s.parts[i], max(2, len(s.parts[i])*maxPoints/total)))
	}
	return parts
}

// extent is what a series is between, and the median, which one odd sample does not move.
type extent struct {
	low, high point
	median    float64
	last      point
}

// extentOf is that of the points; false where there are none.
func extentOf(points []point) (extent, bool) {
	if len(points) == 0 {
		return extent{}, false
	}
	e := extent{low: points[0], high: points[0], last: points[len(points)-1]}
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = p.value
		if p.value < e.low.value {
			e.low = p
		}
		if p.value > e.high.value {
			e.high = p
		}
	}
	slices.Sort(values)
	e.median = values[len(values)/2]
	return e, true
}
