package runner

import (
	"slices"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

// A run that is not timed judges what is seen, and not how long it took: it is for a machine that is slow, or busy with something else. What is
// waited for has more time. The drill's clock, by which faults begin and end, stands still while a fault is being injected and while a check is
// late: so a fault is in force until all is seen that the drill wants to see of it. How long it took is measured as ever.

// untimedRemark is what a journal says of such a run.
const untimedRemark = "Times and shares of failed tries were measured in this run, and not judged."

const (
	// slower is how many times longer things may take in a run that is not timed.
	slower = 10
	// seenAtLeast and backAtLeast are the least that is waited for what has to be seen of a fault, and for the lab to be well.
	seenAtLeast = 2 * time.Minute
	backAtLeast = 5 * time.Minute
	// heldAtLeast is the least that something has to hold without a break, where that must be always.
	heldAtLeast = time.Second
	// untimedLease leaves room for several renewals of which each is slow. A fault whose drill was killed still ends within half a minute.
	untimedLease  = 30 * time.Second
	untimedAnswer = 10 * time.Second
)

// longer is how long something may take: in a timed run as long as it may, else longer, and as long as least.
func (r *run) longer(limit, least time.Duration) time.Duration {
	if !r.options.Untimed {
		return limit
	}
	return max(slower*limit, least)
}

// leases are how long a fault's lease is, and how long its renewal may take.
func (r *run) leases() (length, answer time.Duration) {
	if r.options.Untimed {
		return untimedLease, untimedAnswer
	}
	return lease, renewEvery
}

// atLeast is the least that is waited for a check of a phase, where times are not judged.
func atLeast(phase string) time.Duration {
	if phase == phaseRecovery {
		return backAtLeast
	}
	return seenAtLeast
}

// clock is the drill's clock at a moment. It is behind by as long as it stood still, which it never does in a timed run.
func (r *run) clock(now time.Time) time.Time { return now.Add(-r.stood) }

// tick lets the drill's clock stand still, since the last tick, if something is awaited now.
func (r *run) tick(now time.Time) {
	if r.awaited(now) {
		r.stood += now.Sub(r.ticked)
	}
	r.ticked = now
}

// awaited reports whether a fault is being injected, or a check is undecided though its time has come. In a timed run nothing is, and in no run
// for longer than a fault may be held up.
func (r *run) awaited(now time.Time) bool {
	if !r.options.Untimed || r.stood > unholdable {
		return false
	}
	if slices.ContainsFunc(r.faults, func(h *held) bool { return h.state == injecting }) {
		return true
	}
	for _, c := range r.checks {
		if c.decided || c.from.IsZero() || c.Always && !r.injected() { // which injects what is left as soon as the clock goes on
			continue
		}
		if !r.clock(now).Before(c.due) {
			return true
		}
	}
	return false
}

// count lets the times of checks count from now on, when the fault is ordered from which they do; end is that of the phase, by the drill's clock.
func (r *run) count(checks []*pending, now, end time.Time) {
	for _, c := range checks {
		c.from, c.due = now, end
		if !c.Always {
			c.due = earlier(end, r.clock(now).Add(c.wait))
		}
		c.need = max(end.Sub(r.clock(now))-c.From, heldAtLeast)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// evaluateAlways looks at a check that has to hold always, in a run that is not timed. It has to hold without a break for as long as it would
// have had to in a timed run, once all faults were injected. A break at first is taken for slowness: it starts again. As the faults stay in force
// meanwhile, what they really break stays broken, and is found when the time for that is over.
func (r *run) evaluateAlways(c *pending, now time.Time, holds bool) {
	result := &r.journal.Checks[c.result]
	after := now.Sub(c.from)
	switch {
	case holds && !r.injected():
	case holds && c.since.IsZero():
		c.since = now
	case holds && now.Sub(c.since) >= c.need:
		c.decided, result.Held, result.FromMS = true, true, r.observer.at(c.since)
		r.emit(Good, "for %s without a break: %s", seconds(now.Sub(c.since)), c.See)
	case holds:
	case after <= r.longer(c.From, atLeast(c.phase)):
		if !c.since.IsZero() {
			r.emit(Warning, "not so at the moment, after %s: %s (%s)", seconds(after), c.See, c.When.Saw(r.env(now, c.from)))
		}
		c.since = time.Time{}
	default:
		c.decided, result.AfterMS, result.Saw = true, after.Milliseconds(), c.When.Saw(r.env(now, c.from))
		r.emit(Bad, "no longer so, after %s: %s (%s)", seconds(after), c.See, result.Saw)
	}
}

// untimed marks a journal as that of a run that is not timed.
func untimed(j *journal.Journal) {
	j.Untimed = true
	j.Remarks = append(j.Remarks, untimedRemark)
}
