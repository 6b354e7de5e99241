package journal

import (
	"errors"
	"fmt"
	"math"
)

const (
	// maxMS is longer than any run, and short enough to be reckoned with: a month.
	maxMS = 31 * 24 * 60 * 60 * 1000
	// maxNumber is more than anything that is counted or measured.
	maxNumber = 1e15
	// maxMany is more phases, faults, checks, annotations or metrics than any run has.
	maxMany = 1000
)

// Validate says what no run can have left behind: what is read from a file may have been made by anybody. It looks for nonsense, not for
// gaps; a run that was cut off leaves a valid journal. Write does not ask it, since an odd journal is better than none.
func (j *Journal) Validate() error {
	if err := checkID(j.ID); err != nil {
		return err
	}
	switch j.Result {
	case "", Passed, Aborted, Undecided, Failed:
	default:
		return fmt.Errorf("result %q: there is passed, aborted, undecided and failed", j.Result)
	}
	if j.Begun.IsZero() {
		return errors.New("begun: it does not say when")
	}
	for what, n := range map[string]int{
		"phases": len(j.Phases), "faults": len(j.Faults), "checks": len(j.Checks), "annotations": len(j.Annotations), "metrics": len(j.Metrics),
		"remarks": len(j.Remarks),
	} {
		if n > maxMany {
			return fmt.Errorf("%d %s: no run has so many", n, what)
		}
	}
	var c checker
	c.time(j.LengthMS, "length_ms")
	if math.IsNaN(j.Stolen) || j.Stolen < 0 || j.Stolen > 1 {
		c.fail("stolen: %g is no part of a time", j.Stolen)
	}
	j.checkSpans(&c)
	j.checkSeen(&c)
	j.checkSamples(&c)
	for _, f := range j.Metrics {
		c.number(f.Value, -maxNumber, "metric %q", f.Name)
		if f.Limit != nil {
			c.number(*f.Limit, -maxNumber, "limit of the metric %q", f.Name)
		}
	}
	return c.err
}

func (j *Journal) checkSpans(c *checker) {
	for _, p := range j.Phases {
		c.time(p.BegunMS, "begun_ms of the phase %q", p.Name)
		c.after(p.EndedMS, p.BegunMS, "ended_ms of the phase %q", p.Name)
	}
	for _, f := range j.Faults {
		c.time(f.InjectedMS, "injected_ms of the fault %q", f.What)
		c.after(f.SeenMS, f.InjectedMS, "seen_ms of the fault %q", f.What)
		c.after(f.EndedMS, f.InjectedMS, "ended_ms of the fault %q", f.What)
		c.after(f.HealedMS, f.InjectedMS, "healed_ms of the fault %q", f.What)
	}
}

func (j *Journal) checkSeen(c *checker) {
	for _, k := range j.Checks {
		c.time(k.FromMS, "from_ms of the check %q", k.See)
		c.time(k.WithinMS, "within_ms of the check %q", k.See)
		c.time(k.AfterMS, "after_ms of the check %q", k.See)
		c.time(k.AllowedMS, "allowed_ms of the check %q", k.See)
		if k.AllowedMS > 0 && !j.Untimed {
			c.fail("allowed_ms of the check %q: the run's times were judged", k.See)
		}
	}
	for _, m := range j.Annotations {
		c.time(m.AtMS, "at_ms of the annotation %q", m.Name)
	}
	for i, e := range j.Events {
		c.time(e.AtMS, "at_ms of event %d", i+1)
	}
}

func (j *Journal) checkSamples(c *checker) {
	var last int64
	for i, s := range j.Samples {
		n := i + 1
		c.time(s.AtMS, "at_ms of sample %d", n)
		if s.AtMS < last {
			c.fail("at_ms of sample %d: %d is before the sample before it", n, s.AtMS)
		}
		last = s.AtMS
		c.number(s.Accepted, 0, "accepted_per_s of sample %d", n)
		c.number(s.Errors, 0, "errors_per_s of sample %d", n)
		for name, v := range map[string]*float64{"p50_ms": s.P50MS, "p99_ms": s.P99MS, "counted": s.Counted} {
			if v != nil {
				c.number(*v, 0, "%s of sample %d", name, n)
			}
		}
		for node, v := range s.Queued {
			c.number(v, 0, "queued of %q in sample %d", node, n)
		}
	}
}

// checker keeps the first thing that is wrong.
type checker struct{ err error }

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) time(ms int64, what string, args ...any) {
	if ms < 0 || ms > maxMS {
		c.fail("%s: %d ms is no time within a run", fmt.Sprintf(what, args...), ms)
	}
}

// after wants a time that is not before another one, or 0: not yet.
func (c *checker) after(ms, earlier int64, what string, args ...any) {
	c.time(ms, what, args...)
	if ms != 0 && ms < earlier {
		c.fail("%s: %d ms is before its begin, %d ms", fmt.Sprintf(what, args...), ms, earlier)
	}
}

func (c *checker) number(v, least float64, what string, args ...any) {
	if math.IsNaN(v) || v < least || v > maxNumber {
		c.fail("%s: %g is no number that is counted or measured", fmt.Sprintf(what, args...), v)
	}
}
