package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
)

// Limits of what is measured in every drill, in milliseconds.
const (
	// shownWithin is by when the death of a container is told to those who watch.
	shownWithin = 500
	// healedWithin bounds the healing of containers and networks, poweredWithin of a node container's power.
	healedWithin  = 3000
	poweredWithin = 15_000
)

// assess waits for the votes to be counted, and draws the sum of all.
func (r *run) assess(ctx context.Context) {
	j := r.journal
	summary := r.votes.summary
	j.Load = &summary
	if r.votes.err != nil {
		r.undecided = append(r.undecided, "the load did not keep its book: "+r.votes.err.Error())
	}
	if r.aborted == "" {
		r.begin(phaseVerdict)
		r.judgeVotes(ctx)
	}
	r.abandon()
	r.observer.write(j)
	r.measure()
	now := time.Now()
	r.endPhase(r.observer.at(now))
	j.LengthMS = r.observer.at(now)
	j.Result, j.Reasons = conclude(j, r.aborted, r.wrong, r.late, r.undecided)
	tone := map[journal.Result]Tone{journal.Passed: Good, journal.Aborted: Warning, journal.Undecided: Warning, journal.Failed: Bad}[j.Result]
	r.emit(tone, "%s", j.Result)
}

func (r *run) judgeVotes(ctx context.Context) {
	last := ""
	got, err := r.Voters.Judge(ctx, r.votes.ledger, func(missing []string) {
		if text := strings.Join(missing, "; "); text != last {
			last = text
			r.emit(Plain, "waits: %s", text)
		}
	})
	if err != nil {
		r.undecided = append(r.undecided, "the votes were not judged: "+err.Error())
		return
	}
	r.journal.Verdict = &got
	tone := Good
	if got.Result != checker.Pass {
		tone = Bad
	}
	r.emit(tone, "ledger: %s, %d votes acknowledged, %d lost, %d double", got.Result, got.Sent.Acknowledged, got.Found[checker.Lost], got.Found[checker.Double])
}

// measure works out the metrics of every drill.
func (r *run) measure() {
	j := r.journal
	metric := func(name string, value float64, unit string, limit float64) *journal.Metric {
		f := journal.Metric{Name: name, Value: value, Unit: unit}
		if limit >= 0 {
			f.Limit = &limit
		}
		j.Metrics = append(j.Metrics, f)
		return &j.Metrics[len(j.Metrics)-1]
	}
	for _, h := range r.faults {
		if h.ordered.IsZero() || h.broken.What == "" {
			continue
		}
		f := j.Faults[h.result]
		if ms, ok := shown(r.observer.eventsFrom(f.InjectedMS), h); ok {
			limit := -1.0
			if h.Fault == string(faultkind.Kill) {
				limit = shownWithin
			}
			metric(h.broken.What+": told by the node after", float64(ms-f.InjectedMS), "ms", limit).Target = true
		}
		if h.For > 0 && f.HealedMS > 0 {
			limit := -1.0
			switch {
			case h.Container != "" || h.Fault == string(faultkind.Partition):
				limit = healedWithin
			case h.broken.Power && r.Lab.Provider == settings.ProviderDocker:
				limit = poweredWithin
			}
			metric(h.broken.What+": healed after", float64(f.HealedMS-f.EndedMS), "ms", limit).Target = true
		}
	}
	if share, ok := errorShare(j.Samples, r.observer.at(r.first())); ok {
		limit := -1.0
		if most := r.drill.ErrorsAtMost; most != nil {
			limit = 100 * *most
		}
		metric("tries that failed since the first fault", 100*share, "%", limit)
	}
	if gap := silence(j.Samples, r.observer.at(r.first())); gap > 0 {
		metric("longest time without an accepted vote", float64(gap), "ms", -1)
	}
	if v := j.Verdict; v != nil {
		for _, kind := range []checker.Kind{checker.Lost, checker.Stale, checker.Phantom, checker.Double} {
			metric("votes "+string(kind), float64(v.Found[kind]), "votes", 0)
		}
	}
}

// shown finds when the first word came of what a fault did. The agent's own word that it injected it does not count.
func shown(events []journal.Event, h *held) (ms int64, ok bool) {
	i := slices.IndexFunc(events, func(e journal.Event) bool {
		if e.Node != h.node || strings.HasPrefix(e.Action, "fault-") {
			return false
		}
		return h.Container == "" || e.Subject == h.Container
	})
	if i < 0 {
		return 0, false
	}
	return events[i].AtMS, true
}

// errorShare is the share of tries that failed from a moment on.
func errorShare(samples []journal.Sample, from int64) (float64, bool) {
	accepted, failed, before := 0.0, 0.0, int64(0)
	for _, s := range samples {
		if s.AtMS > from {
			took := float64(s.AtMS-before) / 1000
			accepted += s.Accepted * took
			failed += s.Errors * took
		}
		before = s.AtMS
	}
	return failed / (accepted + failed), accepted+failed > 0
}

// silence is the longest stretch of samples without an accepted vote, in milliseconds.
func silence(samples []journal.Sample, from int64) int64 {
	longest, last := int64(0), from
	for _, s := range samples {
		if s.Accepted > 0 || s.AtMS < from {
			last = s.AtMS
		}
		longest = max(longest, s.AtMS-last)
	}
	return longest
}

// missed are the checks that did not hold and the limits that were not kept to.
func missed(j *journal.Journal) []string {
	var missed []string
	for _, c := range j.Checks {
		switch {
		case c.Held:
		case c.Always:
			missed = append(missed, fmt.Sprintf("not all the time: %s (%s)", c.See, c.Saw))
		default:
			missed = append(missed, fmt.Sprintf("not seen within %s: %s (%s)", time.Duration(c.LimitMS())*time.Millisecond, c.See, c.Saw))
		}
	}
	for _, f := range j.Metrics {
		if j.Binds(f) && !f.Met() && !f.Target {
			missed = append(missed, fmt.Sprintf("%s: %.4g %s, more than %.4g", f.Name, f.Value, f.Unit, *f.Limit))
		}
	}
	return missed
}

// conclude draws the result from what a journal holds, and why. What is late, or happens too often, is held against the lab only where its
// machine could do what it wanted: a host that withholds its processors makes any lab late. It loses no votes, and leaves no fault behind.
func conclude(j *journal.Journal, aborted string, wrong, late, undecided []string) (journal.Result, []string) {
	reasons := slices.Clone(wrong)
	failed := len(wrong) > 0 || j.Verdict != nil && j.Verdict.Result == checker.Fail
	if aborted == "" {
		late = append(slices.Clone(late), missed(j)...)
		if len(late) > 0 && !failed && j.Stolen >= Disturbed {
			undecided = append(append([]string{"this machine was kept from its processors: " + withheld(j.Stolen)}, late...), undecided...)
		} else {
			reasons = append(reasons, late...)
			failed = failed || len(late) > 0
		}
	}
	if v := j.Verdict; v != nil {
		if v.Result == checker.Fail {
			reasons = append(reasons, fmt.Sprintf("the ledger's verdict is %s: %d violations", v.Result, v.Violations()))
		}
		dead := int64(0)
		for _, q := range v.Queues {
			dead += q.Dead
		}
		if dead > 0 {
			undecided = append(undecided, fmt.Sprintf("%d votes were put aside as unreadable", dead))
		}
		if v.Result != checker.Pass && v.Result != checker.Fail {
			undecided = append(undecided, "the ledger's verdict is "+string(v.Result)+": "+strings.Join(v.Missing, "; "))
		}
	}
	if j.Load != nil && aborted == "" && j.Load.Unknown > 0 {
		undecided = append(undecided, fmt.Sprintf("%d votes never got an answer", j.Load.Unknown))
	}
	switch {
	case failed:
		return journal.Failed, append(reasons, undecided...)
	case aborted != "":
		return journal.Aborted, append([]string{aborted}, undecided...)
	case len(undecided) > 0:
		return journal.Undecided, undecided
	}
	return journal.Passed, nil
}
