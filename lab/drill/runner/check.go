package runner

import (
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

// pending is a check of the phase that is under way.
type pending struct {
	drill.Check
	// from is the moment from which its times count; zero while it has not come yet.
	from    time.Time
	phase   string
	decided bool
	result  int
	// limit is how long it may take to be seen: Within, or longer.
	limit time.Duration
	// These are for a run that is not timed. The drill's clock stands still while it is undecided at due, which for one that has to be seen is
	// wait after from. One that has to hold always has to for need; it does since since, zero while it does not.
	wait, need time.Duration
	due, since time.Time
}

// expect takes up a check; it counts from a moment, which may be known later.
func (r *run) expect(c drill.Check, phase string, from time.Time) *pending {
	p := &pending{Check: c, phase: phase, from: from, result: len(r.journal.Checks), wait: c.Within, need: heldAtLeast}
	p.limit = r.longer(c.Within, atLeast(phase))
	result := journal.Check{See: c.See, When: c.When.Text, Phase: phase, WithinMS: c.Within.Milliseconds(), Always: c.Always}
	if r.options.Untimed && !c.Always {
		result.AllowedMS = p.limit.Milliseconds()
	}
	r.journal.Checks = append(r.journal.Checks, result)
	r.checks = append(r.checks, p)
	return p
}

// look evaluates what is not decided yet.
func (r *run) look(now time.Time) {
	for _, c := range r.checks {
		if c.decided || c.from.IsZero() || now.Before(c.from.Add(c.From)) {
			continue
		}
		r.evaluate(c, now)
	}
	if r.phase != phaseFault || r.aborted != "" || !r.drill.Stop.Set() {
		return
	}
	env := r.env(now, r.first())
	if stop, err := r.drill.Stop.Holds(env); err != nil || stop {
		r.aborted = "its stop condition holds: " + r.drill.Stop.Saw(env)
		r.emit(Warning, "aborted: %s", r.aborted)
	}
}

func (r *run) evaluate(c *pending, now time.Time) {
	env := r.env(now, c.from)
	holds, err := c.When.Holds(env)
	result := &r.journal.Checks[c.result]
	result.FromMS = r.observer.at(c.from.Add(c.From))
	after := now.Sub(c.from)
	switch {
	case err != nil:
		c.decided, result.Saw = true, err.Error()
	case c.Always && r.options.Untimed:
		r.evaluateAlways(c, now, holds)
		return
	case c.Always && !holds:
		c.decided, result.AfterMS, result.Saw = true, after.Milliseconds(), c.When.Saw(env)
	case c.Always:
		return
	case holds && after <= c.limit:
		c.decided, result.Held, result.AfterMS = true, true, after.Milliseconds()
		if c.Annotation != "" {
			r.journal.Annotations = append(r.journal.Annotations, journal.Annotation{AtMS: r.observer.at(now), Name: c.Annotation, Text: c.See})
		}
		if c.Metric != "" {
			limit := float64(c.Within.Milliseconds())
			r.journal.Metrics = append(r.journal.Metrics, journal.Metric{Name: c.Metric, Value: float64(result.AfterMS), Unit: "ms", Limit: &limit})
		}
		r.emit(Good, "%s, after %s", c.See, seconds(after))
		return
	case after <= c.limit:
		return
	default:
		c.decided, result.AfterMS, result.Saw = true, after.Milliseconds(), c.When.Saw(env)
	}
	if c.Always {
		r.emit(Bad, "no longer so, after %s: %s (%s)", seconds(after), c.See, result.Saw)
	} else {
		r.emit(Bad, "not seen within %s: %s (%s)", seconds(c.limit), c.See, result.Saw)
	}
}

// closeChecks ends the checks of a phase: what had to hold always did, what had to be seen was not.
func (r *run) closeChecks(phase string) {
	now := time.Now()
	for _, c := range r.checks {
		if c.decided || c.phase != phase {
			continue
		}
		c.decided = true
		result := &r.journal.Checks[c.result]
		switch {
		case c.from.IsZero() || c.Always && now.Before(c.from.Add(c.From)):
			result.Saw = "it did not come to that"
		case c.Always && r.options.Untimed:
			result.Saw = fmt.Sprintf("it never held for %s without a break", seconds(c.need))
		case c.Always:
			result.FromMS, result.Held = r.observer.at(c.from.Add(c.From)), true
			r.emit(Good, "all the time: %s", c.See)
		default:
			result.FromMS, result.AfterMS, result.Saw = r.observer.at(c.from), now.Sub(c.from).Milliseconds(), c.When.Saw(r.env(now, c.from))
		}
	}
}

// abandon says of the checks that are not decided why they are not.
func (r *run) abandon() {
	for _, c := range r.checks {
		if !c.decided {
			c.decided = true
			r.journal.Checks[c.result].Saw = "the drill ended before it was decided"
		}
	}
}

// open reports whether a check of a phase is undecided that something could still decide.
func (r *run) open(phase string) bool {
	for _, c := range r.checks {
		if !c.decided && c.phase == phase && (!c.Always || r.options.Untimed) {
			return true
		}
	}
	return false
}

// seconds are for people.
func seconds(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
