package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// ErrGone says that a fault is over that was not ended by its drill.
var ErrGone = errors.New("the fault is over before its time")

// unholdable bounds a fault whose end somebody holds up.
const unholdable = 30 * time.Minute

// held is a fault of this run.
type held struct {
	drill.Injection
	node   string
	broken Broken
	// ordered is when it was to be injected; until when it is to end, zero for one that needs no end.
	ordered, until time.Time
	state          holdState
	// release ends its renewal.
	release context.CancelFunc
	result  int
}

type holdState int

const (
	waiting holdState = iota
	injecting
	inForce
	ending
	over
)

// breakThings injects what the drill says, and watches for as long as it says.
func (r *run) breakThings(ctx context.Context) {
	r.begin(phaseFault)
	for _, i := range r.drill.Inject {
		node := i.Node
		if i.Container != "" {
			node = r.homes[i.Container]
		}
		r.faults = append(r.faults, &held{Injection: i, node: node})
	}
	begun := time.Now()
	end := begun.Add(r.drill.Length())
	r.left = func(now time.Time) time.Duration { return max(end.Sub(r.clock(now)), 0) }
	later := r.expectations()
	r.ticked = begun
	if !r.loop(ctx, func(now time.Time) bool {
		r.tick(now)
		r.injectNext(ctx, begun, now, later)
		r.endDue(ctx, now)
		return r.aborted != "" || r.injected() && !r.clock(now).Before(end) && !r.awaited(now) && r.released(begun, now)
	}) {
		r.abort(ctx)
	}
	if r.aborted == "" {
		r.closeChecks(phaseFault)
	}
}

// expectations takes up what must be seen, by the injections from which the times count.
func (r *run) expectations() map[int][]*pending {
	later := map[int][]*pending{}
	for n, h := range r.faults {
		if outside, ok := seenOutside(h.Injection); ok {
			p := r.expect(outside, phaseFault, time.Time{})
			if h.For > 0 {
				p.wait = min(p.wait, h.For) // it is not seen any more when the fault has ended
			}
			later[n] = append(later[n], p)
		}
	}
	for _, c := range r.drill.Expect {
		n := max(c.After-1, 0)
		later[n] = append(later[n], r.expect(c, phaseFault, time.Time{}))
	}
	return later
}

// seenOutside is how a fault shows to others than the agent that injected it.
func seenOutside(i drill.Injection) (drill.Check, bool) {
	forms := map[string]struct{ see, when string }{
		string(faultkind.Kill):       {"%s was killed", `died(%q) || restarted(%[1]q)`},
		string(faultkind.Stop):       {"%s is stopped", `container(%q) == "exited"`},
		string(faultkind.Pause):      {"%s is frozen", `container(%q) == "paused"`},
		string(faultkind.Remove):     {"%s is gone", `container(%q) == "missing"`},
		string(faultkind.Disconnect): {"%s is off the network", `!connected(%q)`},
		string(faultkind.EngineStop): {"the engine of %s is down", `engine(%q) == "down"`},
		string(powerfault.PowerOff):  {"%s is silent", `node(%q) == "away"`},
		string(powerfault.Freeze):    {"%s is silent", `node(%q) == "away"`},
	}
	form, ok := forms[i.Fault]
	if !ok {
		return drill.Check{}, false
	}
	when, err := drill.Compile(fmt.Sprintf(form.when, i.Target()))
	return drill.Check{See: fmt.Sprintf(form.see, i.Target()), When: when, Within: seenWithin, Annotation: "detected"}, err == nil
}

// seenWithin is by when a fault shows from outside. A silent node takes longest: nobody closes its connections.
const seenWithin = 15 * time.Second

// injectNext injects the next fault when its time has come, one at a time.
func (r *run) injectNext(ctx context.Context, begun, now time.Time, later map[int][]*pending) {
	if r.aborted != "" || ctx.Err() != nil {
		return
	}
	n := slices.IndexFunc(r.faults, func(h *held) bool { return h.state == waiting || h.state == injecting })
	if n < 0 || r.faults[n].state == injecting || r.clock(now).Before(begun.Add(r.faults[n].At)) {
		return
	}
	h := r.faults[n]
	h.state, h.ordered, h.result = injecting, now, len(r.journal.Faults)
	r.count(later[n], now, begun.Add(r.drill.Length()))
	r.journal.Faults = append(r.journal.Faults, journal.Fault{
		What: h.What(), Node: h.node, InjectedMS: r.observer.at(now),
	})
	length, _ := r.leases()
	go func() {
		// Once begun it is brought to its end: what is injected must be known to be healed.
		work, cancel := r.lasting(ctx)
		defer cancel()
		broken, err := r.Breaker.Inject(work, h.node, h.Injection, length, r.holder())
		r.news <- func() { r.wasInjected(ctx, h, broken, err) }
	}()
}

func (r *run) holder() string {
	holder := []rune("drill " + r.drill.ID + " of " + r.By)
	return string(holder[:min(len(holder), 64)])
}

func (r *run) wasInjected(ctx context.Context, h *held, broken Broken, err error) {
	now := time.Now()
	result := &r.journal.Faults[h.result]
	if err != nil {
		h.state = over
		result.Evidence = "not injected: " + err.Error()
		if r.aborted == "" {
			r.aborted = fmt.Sprintf("%s was not injected: %v", h.What(), err)
			r.emit(Bad, "aborted: %s", r.aborted)
		}
		return
	}
	h.state, h.broken = inForce, broken
	result.What, result.SeenMS, result.Evidence = broken.What, r.observer.at(now), broken.Evidence
	r.emit(Plain, "%s on %s: %s", broken.What, h.node, broken.Evidence)
	if h.For == 0 {
		h.state = over
		result.EndedMS, result.HealedMS = result.SeenMS, result.SeenMS
		return
	}
	h.until = r.clock(now).Add(h.For)
	renewing, release := context.WithCancel(context.WithoutCancel(ctx))
	h.release = release
	go r.renew(renewing, h)
}

// renew keeps a fault in force.
func (r *run) renew(ctx context.Context, h *held) {
	length, answer := r.leases()
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		once, cancel := context.WithTimeout(ctx, answer)
		err := r.Breaker.Renew(once, h.broken, length)
		cancel()
		if errors.Is(err, ErrGone) && ctx.Err() == nil {
			r.news <- func() { r.wasEnded(h) }
			return
		}
	}
}

// wasEnded notes that somebody else ended a fault.
func (r *run) wasEnded(h *held) {
	if h.state != inForce {
		return
	}
	h.state = over
	now := r.observer.at(time.Now())
	result := &r.journal.Faults[h.result]
	result.EndedMS, result.HealedMS = now, now
	if r.aborted == "" {
		r.aborted = h.broken.What + " was ended by somebody else, or ran out"
		r.emit(Warning, "aborted: %s", r.aborted)
	}
}

// endDue ends the faults whose time is over.
func (r *run) endDue(ctx context.Context, now time.Time) {
	for _, h := range r.faults {
		if h.state == inForce && !r.clock(now).Before(h.until) && r.released(h.ordered, now) {
			r.end(ctx, h)
		}
	}
}

// released reports whether nobody holds up the end of what began at a moment.
func (r *run) released(begun, now time.Time) bool {
	if r.options.Hold == nil || now.Sub(begun) > unholdable {
		return true
	}
	select {
	case <-r.options.Hold:
		return true
	default:
		return false
	}
}

// lasting outlives ctx, so that what is broken comes to its end. It ends when nobody waits for that any more.
func (r *run) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-r.options.Abandon:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// abandoned reports whether nobody waits for the healing any more.
func (r *run) abandoned() bool {
	select {
	case <-r.options.Abandon:
		return true
	default:
		return false
	}
}

// end ends a fault, whatever becomes of ctx.
func (r *run) end(ctx context.Context, h *held) {
	h.state = ending
	h.release()
	now := time.Now()
	r.journal.Faults[h.result].EndedMS = r.observer.at(now)
	r.emit(Plain, "healing %s on %s", h.broken.What, h.node)
	go func() {
		ctx, cancel := r.lasting(ctx)
		defer cancel()
		ctx, cancelLate := context.WithTimeout(ctx, r.longer(healTimeout, backAtLeast))
		defer cancelLate()
		err := r.Breaker.End(ctx, h.broken)
		r.news <- func() { r.wasHealed(h, err) }
	}()
}

func (r *run) wasHealed(h *held, err error) {
	if err != nil && r.abandoned() {
		return // nobody waits for it any more
	}
	h.state = over
	result := &r.journal.Faults[h.result]
	if err != nil {
		r.wrong = append(r.wrong, fmt.Sprintf("%s on %s did not end: %v", h.broken.What, h.node, err))
		r.emit(Bad, "%s on %s did not end: %v", h.broken.What, h.node, err)
		return
	}
	result.HealedMS = r.observer.at(time.Now())
	r.emit(Good, "%s on %s is healed, after %s", h.broken.What, h.node, seconds(time.Duration(result.HealedMS-result.EndedMS)*time.Millisecond))
}

// injected reports whether all faults were.
func (r *run) injected() bool {
	return !slices.ContainsFunc(r.faults, func(h *held) bool { return h.state == waiting || h.state == injecting })
}

// first is when the first fault was ordered.
func (r *run) first() time.Time {
	if len(r.faults) == 0 || r.faults[0].ordered.IsZero() {
		return time.Now()
	}
	return r.faults[0].ordered
}

// recover heals what is in force, and waits for the steady state. It does so whatever becomes of ctx; an interrupt ends only the wait for more
// than the healing.
func (r *run) recover(ctx context.Context) {
	aborted := r.aborted != ""
	r.begin(phaseRecovery)
	begun := time.Now()
	for _, h := range r.faults {
		if h.state == inForce {
			r.end(ctx, h)
		}
	}
	if !aborted {
		for _, c := range r.drill.Recover {
			r.expect(c, phaseRecovery, r.healOrdered(begun))
		}
	}
	within := r.longer(r.drill.RecoverWithin, backAtLeast)
	end := begun.Add(within)
	r.left = func(now time.Time) time.Duration { return max(end.Sub(now), 0) }
	// What is being injected or healed is brought to its end first.
	healing, cancel := r.lasting(ctx)
	defer cancel()
	healed := r.loop(healing, func(time.Time) bool {
		busy := false
		for _, h := range r.faults {
			if h.state == inForce { // an injection that was under way when it was aborted
				r.end(ctx, h)
			}
			busy = busy || h.state == injecting || h.state == ending
		}
		return !busy
	})
	if !healed {
		r.leave()
		return
	}
	if aborted {
		return
	}
	steady := false
	if !r.loop(ctx, func(now time.Time) bool {
		if !steady {
			missing, err := r.missing(now)
			steady = err == nil && len(missing) == 0
			if steady {
				r.steadyAgain(now, begun)
			}
		}
		return (steady || now.After(end)) && !r.open(phaseRecovery)
	}) {
		r.abort(ctx)
		return
	}
	r.closeChecks(phaseRecovery)
	if !steady {
		missing, err := r.missing(time.Now())
		if err != nil {
			missing = append(missing, err.Error())
		}
		for _, m := range missing {
			r.late = append(r.late, fmt.Sprintf("%s after the healing %s", within, m))
		}
		r.emit(Bad, "the steady state is not back within %s", within)
	}
}

// leave notes what is not known to be healed when nobody waits for it any more. It is not renewed, so its lease ends it.
func (r *run) leave() {
	length, _ := r.leases()
	for _, h := range r.faults {
		if h.state != inForce && h.state != ending && h.state != injecting {
			continue
		}
		if h.state == inForce {
			h.release()
		}
		h.state = over
		text := fmt.Sprintf("%s on %s was not waited for: it ends by itself, within %s", h.What(), h.node, length)
		r.undecided = append(r.undecided, text)
		r.emit(Warning, "%s", text)
	}
}

// steadyAgain notes that the steady state is back.
func (r *run) steadyAgain(now, begun time.Time) {
	took := now.Sub(r.healOrdered(begun))
	limit := float64(r.drill.RecoverWithin.Milliseconds())
	r.journal.Metrics = append(r.journal.Metrics, journal.Metric{
		Name: "steady state again", Value: float64(took.Milliseconds()), Unit: "ms", Limit: &limit,
	})
	r.journal.Annotations = append(r.journal.Annotations, journal.Annotation{AtMS: r.observer.at(now), Name: "recovered", Text: "the steady state is back"})
	r.emit(Good, "the steady state is back, after %s", seconds(took))
}

// healOrdered is when the last fault was ordered to end, or, where none needed to be, a moment.
func (r *run) healOrdered(otherwise time.Time) time.Time {
	last := int64(0)
	for _, h := range r.faults {
		if h.For > 0 && !h.ordered.IsZero() {
			last = max(last, r.journal.Faults[h.result].EndedMS)
		}
	}
	if last == 0 {
		return otherwise
	}
	return r.begun.Add(time.Duration(last) * time.Millisecond)
}
