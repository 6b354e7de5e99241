package fault

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

const (
	lookAgain = 50 * time.Millisecond
	// retryFirst and retryLast are the time between two attempts to end a fault; it doubles.
	retryFirst = 100 * time.Millisecond
	retryLast  = 3 * time.Second
)

var (
	// injectTimeout bounds an injection; a container takes as long as its stop timeout to stop.
	injectTimeout = timescale.Scale(40 * time.Second)
	// seenTimeout bounds the search for evidence of a fault, unless Means.Patience does: a moment on an idle machine, seconds on a busy one.
	seenTimeout = timescale.Scale(20 * time.Second)
	// endTimeout bounds one attempt to end a fault.
	endTimeout = timescale.Scale(30 * time.Second)
	// neglect is for how long nobody has taken care of an overdue fault when the reaper takes the agent for dead.
	neglect = timescale.Scale(45 * time.Second)
)

// Keeper keeps the faults of a node. It is safe for concurrent use.
type Keeper struct {
	deps  Deps
	store store
	now   func() (Instant, error)
	log   *slog.Logger
	// notify is called with each turn that a fault takes: "injected", "ending", "ended", "failed".
	notify func(f Fault, action, message string)
	wake   chan struct{}

	mu     sync.Mutex
	leases map[string]*lease
}

// lease is a fault that is not over. Its record is guarded by the keeper's mutex; busy is held while something is done to the node.
type lease struct {
	record Record
	busy   sync.Mutex
	// trouble is why the last attempt to end it failed; retry the time until the next one.
	trouble error
	retry   time.Duration
	next    time.Time
	trying  bool
	// over is closed when the fault and its record are gone.
	over chan struct{}
}

// Open takes up the faults that lie in a folder. One of which it is not known whether it was injected, or whose lease ran out, will be
// ended by Run.
func Open(dir string, parts Deps, log *slog.Logger, tell func(f Fault, action, message string)) (*Keeper, error) {
	k := &Keeper{
		deps: parts, store: store{dir}, now: Now, log: log, notify: tell, wake: make(chan struct{}, 1), leases: map[string]*lease{},
	}
	records, damaged, err := k.store.all()
	if err != nil {
		return nil, err
	}
	for _, name := range damaged {
		log.Error("the record of a fault is damaged, and set aside", "file", name)
	}
	for _, r := range records {
		if r.Phase == Injecting {
			r.Phase = Ending
		}
		k.leases[r.ID] = newLease(r)
	}
	return k, nil
}

func newLease(r Record) *lease {
	return &lease{record: r, retry: retryFirst, over: make(chan struct{})}
}

// Inject breaks something for as long as the lease lasts. It returns once the fault was seen; where it is not seen, or fails halfway, it is
// undone and the error says why. Nothing is broken without its record on disk.
func (k *Keeper) Inject(ctx context.Context, spec Spec, length time.Duration, holder string) (Fault, error) {
	if err := errors.Join(spec.Check(), CheckLease(length)); err != nil {
		return Fault{}, err
	}
	now, err := k.now()
	if err != nil {
		return Fault{}, err
	}
	l := newLease(Record{
		ID: newID(), Spec: spec, Holder: holder, Injected: time.Now(), Deadline: now.Add(length), Phase: Injecting,
	})
	l.busy.Lock()
	defer l.busy.Unlock()
	if err := k.admit(l); err != nil {
		return Fault{}, err
	}
	// From here on the caller may go away: what has begun is brought to its end, or undone.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), injectTimeout)
	defer cancel()
	if err := k.inject(work, l, length); err != nil {
		return Fault{}, err
	}
	return k.fault(l), nil
}

// admit lets a fault in if no other has the same target.
func (k *Keeper) admit(l *lease) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, other := range k.leases {
		if clash(l.record.Spec, other.record.Spec) {
			return fmt.Errorf("%w: the fault %s is not over yet", ErrRefused, other.record.Spec)
		}
	}
	k.leases[l.record.ID] = l
	return nil
}

// clash reports whether two faults would get in each other's way. The engine's has all containers for its target; the net and the clock
// are nobody else's.
func clash(a, b Spec) bool {
	for _, k := range []faultkind.Kind{faultkind.Partition, faultkind.Skew} {
		if a.Kind == k || b.Kind == k {
			return a.Kind == b.Kind
		}
	}
	return !a.Kind.OfContainer() || !b.Kind.OfContainer() || a.Container == b.Container
}

func (k *Keeper) inject(ctx context.Context, l *lease, length time.Duration) error {
	v := k.deps.verb(l.record.Spec.Kind)
	before, err := v.prepare(ctx, l.record.Spec)
	if err != nil {
		k.forget(l)
		return err
	}
	k.set(l, func(r *Record) { r.Before = before })
	if err := k.store.put(l.record); err != nil {
		k.forget(l)
		return errors.Join(err, k.store.drop(l.record.ID))
	}
	err = v.inject(ctx, l.record)
	var evidence string
	if err == nil {
		evidence, err = look(ctx, cmp.Or(k.deps.Patience, seenTimeout), v, l.record)
	}
	var now Instant
	if err == nil {
		now, err = k.now()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", l.record.Spec, err)
		k.notifyOf(l, "failed", err.Error())
		k.end(l)
		return err
	}
	// A container may take as long to stop as a lease lasts, and nobody can renew what is not in force yet.
	k.set(l, func(r *Record) { r.Phase, r.Evidence, r.Deadline = InForce, evidence, now.Add(length) })
	k.notifyOf(l, "injected", evidence)
	if l.record.Spec.Kind.Momentary() {
		k.end(l)
		return nil
	}
	if err := k.store.put(l.record); err != nil {
		k.end(l)
		return err
	}
	k.poke()
	return nil
}

// look waits for evidence, so long.
func look(ctx context.Context, within time.Duration, v verb, r Record) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		evidence, err := v.observe(ctx, r)
		if err == nil {
			return evidence, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("injected, but no effect was observed: %w", err)
		case <-time.After(lookAgain):
		}
	}
}

// Renew lets a fault last for so long from now on. One that is ending cannot be renewed: ErrRefused.
func (k *Keeper) Renew(id string, length time.Duration) (Fault, error) {
	if err := CheckLease(length); err != nil {
		return Fault{}, err
	}
	now, err := k.now()
	if err != nil {
		return Fault{}, err
	}
	k.mu.Lock()
	l := k.leases[id]
	k.mu.Unlock()
	if l == nil {
		return Fault{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	l.busy.Lock()
	defer l.busy.Unlock()
	if l.record.Phase != InForce || now.Until(l.record.Deadline) == 0 {
		return Fault{}, fmt.Errorf("%w: the fault %s is %s", ErrRefused, l.record.Spec, Ending)
	}
	renewed := l.record
	renewed.Deadline = now.Add(length)
	if err := k.store.put(renewed); err != nil {
		return Fault{}, err
	}
	k.set(l, func(r *Record) { *r = renewed })
	k.poke()
	return k.fault(l), nil
}

// Heal ends the faults with the given ids (none: all) and waits until they are over, or ctx ends. It returns those that are over.
func (k *Keeper) Heal(ctx context.Context, ids ...string) ([]Fault, error) {
	k.mu.Lock()
	var ending []*lease
	for id, l := range k.leases {
		if len(ids) == 0 || slices.Contains(ids, id) {
			ending = append(ending, l)
		}
	}
	k.mu.Unlock()
	var over []Fault
	var errs []error
	for _, l := range ending {
		// A fault that is being injected is ended when that is through.
		l.busy.Lock()
		k.end(l)
		l.busy.Unlock()
	}
	for _, l := range ending {
		select {
		case <-l.over:
			over = append(over, k.fault(l))
		case <-ctx.Done():
			f := k.fault(l)
			errs = append(errs, fmt.Errorf("%s is not over yet: %w", f.Spec, cmp.Or(f.Trouble, ctx.Err())))
		}
	}
	slices.SortFunc(over, func(a, b Fault) int { return a.Injected.Compare(b.Injected) })
	return over, errors.Join(errs...)
}

// List returns the faults that are not over, the oldest first.
func (k *Keeper) List() []Fault {
	now, err := k.now()
	if err != nil {
		k.log.Error("faults", "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	faults := make([]Fault, 0, len(k.leases))
	for _, l := range k.leases {
		faults = append(faults, k.show(l, now))
	}
	slices.SortFunc(faults, func(a, b Fault) int {
		return cmp.Or(a.Injected.Compare(b.Injected), strings.Compare(a.ID, b.ID))
	})
	return faults
}

// Impossible returns the kinds of faults that this node cannot do, and what it lacks for them. A kind of which that cannot be told is left out.
func (k *Keeper) Impossible(ctx context.Context) map[string]string {
	kinds := map[string]string{}
	ctx, cancel := context.WithTimeout(ctx, injectTimeout)
	defer cancel()
	spec := Spec{Kind: faultkind.Delay, Strength: faultkind.Strength{Delay: time.Millisecond}}
	if err := k.deps.Links.Can(ctx, spec); errors.Is(err, errNoNetem) {
		kinds[string(spec.Kind)] = err.Error()
	}
	return kinds
}

// Held returns why the reconcile loop is to leave a container alone; empty: it is not.
func (k *Keeper) Held(container string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.leases {
		r := &l.record
		if r.Spec.Container == container && r.Phase != Ending && !r.Spec.Kind.Momentary() {
			return fmt.Sprintf("the fault %s, injected by %s, is in force", r.Spec, r.Holder)
		}
	}
	return ""
}

// Run ends faults whose lease has run out, until the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	k.removeOrphans(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	for ctx.Err() == nil {
		var due []*lease
		pause := time.Hour
		now, err := k.now()
		if err != nil {
			return err
		}
		k.mu.Lock()
		for _, l := range k.leases {
			wait := now.Until(l.record.Deadline)
			if l.record.Phase == Ending {
				wait = time.Until(l.next)
			}
			switch {
			case l.trying || l.record.Phase == Injecting:
			case wait > 0:
				pause = min(pause, wait)
			default:
				l.trying = true
				due = append(due, l)
			}
		}
		k.mu.Unlock()
		for _, l := range due {
			group.Go(func() { k.try(ctx, l) })
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-k.wake:
		}
		timer.Stop()
	}
	return nil
}

// try makes one attempt to end a fault.
func (k *Keeper) try(ctx context.Context, l *lease) {
	l.busy.Lock()
	defer l.busy.Unlock()
	k.end(l)
	err := k.finish(ctx, l)
	k.mu.Lock()
	l.trying, l.trouble = false, err
	if err != nil {
		l.next = time.Now().Add(l.retry)
		l.retry = min(2*l.retry, retryLast)
	}
	k.mu.Unlock()
	if err == nil {
		k.forget(l)
		k.notifyOf(l, "ended", "")
	}
	k.poke()
}

func (k *Keeper) finish(ctx context.Context, l *lease) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := k.store.touch(l.record.ID); err != nil {
		k.log.Warn("fault", "fault", l.record.Spec.String(), "error", err)
	}
	v := k.deps.verb(l.record.Spec.Kind)
	if err := v.revert(ctx, l.record); err != nil {
		return err
	}
	if err := v.verifyReverted(ctx, l.record); err != nil {
		return err
	}
	return k.store.drop(l.record.ID)
}

// end lets a fault be ended from now on, by Run, and the reconcile loop have its container. The lease's busy is held.
func (k *Keeper) end(l *lease) {
	k.mu.Lock()
	already := l.record.Phase == Ending
	l.record.Phase = Ending
	k.mu.Unlock()
	if already {
		return
	}
	if err := k.store.put(l.record); err != nil {
		// It is undone all the same, and an agent that comes after this one would do so at its deadline.
		k.log.Error("fault", "fault", l.record.Spec.String(), "error", err)
	}
	k.notifyOf(l, "ending", "")
	k.poke()
}

// removeOrphans removes cuts of which there is no record.
func (k *Keeper) removeOrphans(ctx context.Context) {
	cuts, err := k.deps.Filter.Blocked(ctx)
	if err != nil {
		return // no cuts can be made here
	}
	for _, name := range cuts {
		k.mu.Lock()
		_, known := k.leases[name]
		k.mu.Unlock()
		if known {
			continue
		}
		k.log.Warn("packets are dropped for a fault that nobody knows", "fault", name)
		if err := k.deps.Filter.Unblock(ctx, name); err != nil {
			k.log.Error("fault", "fault", name, "error", err)
		}
	}
}

// Reap ends what an agent should have ended and did not, as far as that goes without one. It returns how many such faults there were, which
// is a reason to start the agent anew, and how many faults there are at all.
func (k *Keeper) Reap(ctx context.Context) (abandoned, all int, err error) {
	now, err := k.now()
	if err != nil {
		return 0, 0, err
	}
	var errs []error
	for _, f := range k.List() {
		all++
		touched, err := k.store.touched(f.ID)
		// A fault may have set the clock: what lies ahead says nothing.
		if idle := time.Since(touched); err != nil || now.Until(f.Deadline) > 0 || idle > -neglect && idle < neglect {
			continue
		}
		abandoned++
		k.log.Warn("the agent has not ended a fault", "fault", f.Spec.String(), "injected", f.Injected)
		errs = append(errs, k.deps.verb(f.Spec.Kind).revert(ctx, f.Record))
	}
	return abandoned, all, errors.Join(errs...)
}

// forget lets go of a fault that is over, or that never was. Whoever still holds it has nothing to end.
func (k *Keeper) forget(l *lease) {
	k.mu.Lock()
	l.record.Phase = Ending
	delete(k.leases, l.record.ID)
	k.mu.Unlock()
	close(l.over)
}

// set changes a record. Only who holds the lease's busy does, so that this one may read it without the mutex.
func (k *Keeper) set(l *lease, change func(*Record)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&l.record)
}

func (k *Keeper) fault(l *lease) Fault {
	now, err := k.now()
	if err != nil {
		k.log.Error("faults", "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.show(l, now)
}

// show is called with the mutex held.
func (k *Keeper) show(l *lease, now Instant) Fault {
	f := Fault{Record: l.record, Trouble: l.trouble}
	if f.Phase != Ending {
		f.Left = now.Until(f.Deadline)
	}
	return f
}

func (k *Keeper) notifyOf(l *lease, action, message string) { k.notify(k.fault(l), action, message) }

func (k *Keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func newID() string {
	var b [idLength / 2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
