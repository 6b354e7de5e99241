package powerfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/power"
)

const (
	// lockPatience is how long an injection waits for the lab's lock: another injection holds it for a moment only, `lab up` for long.
	lockPatience = 2 * time.Second
	// silence is after how long an agent that does not answer is taken to be silent.
	silence   = time.Second
	lookAgain = 100 * time.Millisecond
)

// Inject does something to a node for as long as the lease lasts; the lease begins when the fault was seen, which is when Inject returns. Where it
// is not seen, or fails halfway, it is undone and the error says why. Nothing is done without a record on disk and a reaper that lives.
func (o *PowerFaults) Inject(ctx context.Context, kind Kind, node string, lease time.Duration, holder string) (Fault, error) {
	f := Fault{ID: newID(), Kind: kind, Node: node, Holder: holder, Injected: wall(), Phase: Injecting}
	f.Deadline = f.Injected.Add(lease)
	if err := o.check(kind, node, lease); err != nil {
		return Fault{}, err
	}
	held, err := o.admit(ctx, f)
	if err != nil {
		return Fault{}, err
	}
	defer held.Release()
	// From here on the caller may go away: what has begun is brought to its end, or undone.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.times.inject)
	defer cancel()
	if err := o.awaitReaper(work); err != nil {
		err = errors.Join(fmt.Errorf("%w: %w", ErrRefused, err), o.store.drop(f.ID))
		held.Remove()
		return Fault{}, err
	}
	if err := o.inject(work, &f, lease); err != nil {
		o.log.Error("it failed, and is undone", "fault", f.String(), "id", f.ID, "error", err)
		f.Phase = Ending
		if undone := o.finish(work, held, &f); undone != nil {
			err = fmt.Errorf("%w; it is not undone yet: %w", err, undone)
		}
		return Fault{}, fmt.Errorf("%s: %w", f, err)
	}
	o.log.Info("injected", "fault", f.String(), "id", f.ID, "holder", holder, "lease", lease.String(), "evidence", f.Evidence)
	return f, nil
}

// check tells what no lab could do.
func (o *PowerFaults) check(kind Kind, node string, lease time.Duration) error {
	if !slices.Contains(Kinds(), kind) {
		return fmt.Errorf("%w: there is no fault %q", ErrInvalid, kind)
	}
	if _, ok := o.lab.Topology.Node(node); !ok {
		return fmt.Errorf("%w: the lab has no node %q; its nodes are %s", ErrInvalid, node, strings.Join(o.lab.Topology.Names(), ", "))
	}
	return CheckLease(lease)
}

// admit writes the record of a fault that can be injected, and returns its lock. Meanwhile it holds the lab's lock, so that neither another fault nor
// a command that works on the machines comes in between; who takes that later finds the record.
func (o *PowerFaults) admit(ctx context.Context, f Fault) (*lock.File, error) {
	release, err := o.lockLab(ctx, f)
	if err != nil {
		return nil, err
	}
	defer release()
	others, err := o.List()
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		if other.Node == f.Node {
			return nil, fmt.Errorf("%w: the fault %s is not over yet", ErrRefused, other)
		}
	}
	state, err := o.power.State(ctx, f.Node)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrRefused, f, err)
	case state == power.StateUnknown:
		return nil, fmt.Errorf("%w: %s: %w", ErrRefused, f, errUntold)
	case state == power.StateAbsent:
		return nil, fmt.Errorf("%w: %s has no machine; `make up` makes it", ErrRefused, f.Node)
	case state != power.StateRunning:
		return nil, fmt.Errorf("%w: %s is %s already", ErrRefused, f.Node, state)
	}
	if err := o.store.make(); err != nil {
		return nil, err
	}
	held, err := lock.Try(o.store.lock(f.ID))
	if err != nil {
		return nil, err
	}
	if err := o.store.put(f); err != nil {
		err = errors.Join(err, o.store.drop(f.ID))
		held.Remove()
		return nil, err
	}
	return held, nil
}

func (o *PowerFaults) lockLab(ctx context.Context, f Fault) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		release, err := lock.Lab(o.lab, "lab fault "+f.String())
		if !errors.Is(err, lock.ErrHeld) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		case <-time.After(lookAgain):
		}
	}
}

// inject does it, and has it in force when it returns nil.
func (o *PowerFaults) inject(ctx context.Context, f *Fault, lease time.Duration) error {
	do := o.power.Off
	if f.Kind == Freeze {
		do = o.power.Freeze
	}
	err := do(ctx, f.Node)
	if err == nil {
		f.Evidence, err = o.observe(ctx, f)
	}
	if err != nil {
		return err
	}
	f.Phase, f.Deadline = InForce, wall().Add(lease)
	return o.store.put(*f)
}

// observe waits for evidence: the provider and the agent, which know nothing of each other, agree.
func (o *PowerFaults) observe(ctx context.Context, f *Fault) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.times.seen)
	defer cancel()
	var unseen error
	for {
		err := o.unobserved(ctx, f)
		if err == nil {
			return fmt.Sprintf("its machine is %s, and no agent answers at %s", f.Kind.leaves(), o.address(f.Node)), nil
		}
		// What was cut off complains of just that.
		if unseen == nil || ctx.Err() == nil {
			unseen = err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("injected, but no effect was observed: %w", unseen)
		case <-time.After(lookAgain):
		}
	}
}

// unobserved tells why the fault cannot be seen; nil: it can.
func (o *PowerFaults) unobserved(ctx context.Context, f *Fault) error {
	state, err := o.power.State(ctx, f.Node)
	if err != nil {
		return err
	}
	if state == power.StateUnknown {
		return errUntold
	}
	if state != f.Kind.leaves() {
		return fmt.Errorf("its machine is %s", state)
	}
	asking, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	err = o.answers(asking, f.Node)
	var problem *fleet.Error
	switch {
	case err == nil:
		return fmt.Errorf("its machine is %s, and yet its agent answers", state)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &problem):
		switch problem.Problem {
		case fleet.ProblemDown, fleet.ProblemSilent, fleet.ProblemHanging:
			return nil
		}
	}
	return fmt.Errorf("its machine is %s, and something answers: %w", state, err)
}

// address is where the agent of a node answers.
func (o *PowerFaults) address(node string) string {
	n, _ := o.lab.Topology.Node(node)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.lab.AgentPort(n)))
}
