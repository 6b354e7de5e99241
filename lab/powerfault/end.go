package powerfault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/power"
)

// retryFirst and retryLast are the time between two attempts to end a fault; it doubles.
const (
	retryFirst = 200 * time.Millisecond
	retryLast  = 5 * time.Second
)

// errUntold is why nothing can be concluded: the machine may run or not.
var errUntold = errors.New("could not tell whether its machine runs: its provider does not say")

// answerTimeout bounds one question to an agent that is to answer.
const answerTimeout = 3 * time.Second

// Heal ends the faults with the given ids (none: all) and waits until they are over: the machine runs, and the agent on it answers. It returns
// those that are over, by whoever's hand. One that does not end in time is the reaper's, who tries on.
func (o *PowerFaults) Heal(ctx context.Context, ids ...string) ([]Fault, error) {
	faults, err := o.List()
	if err != nil {
		return nil, err
	}
	faults = slices.DeleteFunc(faults, func(f Fault) bool { return len(ids) > 0 && !slices.Contains(ids, f.ID) })
	ctx, cancel := context.WithTimeout(ctx, o.times.end)
	defer cancel()
	errs := make([]error, len(faults))
	var group sync.WaitGroup
	for i, f := range faults {
		group.Go(func() {
			if err := o.end(ctx, f.ID, func(Fault) bool { return true }); err != nil {
				errs[i] = fmt.Errorf("%s is not over yet: %w", f, err)
			}
		})
	}
	group.Wait()
	var over []Fault
	for i, f := range faults {
		if errs[i] == nil {
			over = append(over, f)
		}
	}
	return over, errors.Join(errs...)
}

// end brings a fault to its end, if it is wanted once its lock is had. While somebody else does something to it, it waits. nil: the fault is over,
// or not to be ended.
func (o *PowerFaults) end(ctx context.Context, id string, wanted func(Fault) bool) error {
	held, err := lock.Wait(ctx, o.store.lock(id))
	if errors.Is(err, lock.ErrHeld) {
		return o.trouble(id)
	}
	if err != nil {
		if _, gone := o.store.get(id); errors.Is(gone, ErrUnknown) {
			return nil // with the folder
		}
		return err
	}
	defer held.Release()
	f, err := o.store.get(id)
	if errors.Is(err, ErrUnknown) {
		held.Remove()
		return nil
	}
	if err != nil || !wanted(f) {
		return err
	}
	return o.finish(ctx, held, &f)
}

// trouble is why a fault that somebody else is ending has not ended.
func (o *PowerFaults) trouble(id string) error {
	f, err := o.store.get(id)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil
	case err != nil:
		return err
	case f.Trouble != "":
		return errors.New(f.Trouble)
	}
	return errors.New("another process is at it")
}

// finish tries to end a fault until it has, or ctx ends. The fault's lock is held; it goes with the record.
func (o *PowerFaults) finish(ctx context.Context, held *lock.File, f *Fault) error {
	begun := time.Now()
	undo := o.revert
	if f.Phase == Injecting {
		// So it stays on disk: who comes after this process is to know it, too.
		undo = o.revertForsaken
	} else {
		f.Phase = Ending
	}
	o.log.Info("ending", "fault", f.String(), "id", f.ID)
	for retry := retryFirst; ; retry = min(2*retry, retryLast) {
		if err := o.store.put(*f); err != nil {
			if _, gone := o.store.get(f.ID); errors.Is(gone, ErrUnknown) {
				return nil // the lab is down
			}
			// It is undone all the same.
			o.log.Error("fault", "fault", f.String(), "id", f.ID, "error", err)
		}
		err := undo(ctx, f)
		if err == nil {
			err = o.store.drop(f.ID)
		}
		if err == nil {
			held.Remove()
			o.log.Info("ended", "fault", f.String(), "id", f.ID, "took", time.Since(begun).Round(time.Millisecond).String())
			return nil
		}
		if ctx.Err() == nil || f.Trouble == "" {
			// What was cut off complains of just that.
			f.Trouble = err.Error()
		}
		o.log.Warn("not ended", "fault", f.String(), "id", f.ID, "error", err)
		select {
		case <-ctx.Done():
			_ = o.store.put(*f) // only words for people
			return errors.New(f.Trouble)
		case <-time.After(retry):
		}
	}
}

// revert takes back what the fault did to the machine, if it still has that effect, and waits for the agent. What somebody else did to the machine
// meanwhile is theirs: the fault is over.
func (o *PowerFaults) revert(ctx context.Context, f *Fault) error {
	state, err := o.power.State(ctx, f.Node)
	if err != nil {
		return err
	}
	if state == f.Kind.leaves() {
		do := o.power.On
		if f.Kind == Freeze {
			do = o.power.Thaw
		}
		if err := do(ctx, f.Node); err != nil {
			return err
		}
		if state, err = o.power.State(ctx, f.Node); err != nil {
			return err
		}
	}
	switch state {
	case power.StateUnknown:
		return errUntold
	case f.Kind.leaves():
		return fmt.Errorf("its machine is still %s", state)
	case power.StateRunning:
		return o.awaitAgent(ctx, f.Node)
	}
	return nil
}

// revertForsaken undoes a fault whose injector died. The command that it gave last may not have: so it is undone again until nothing has come for
// long enough.
func (o *PowerFaults) revertForsaken(ctx context.Context, f *Fault) error {
	ctx, cancel := context.WithTimeout(ctx, 2*o.times.late+o.times.answer)
	defer cancel()
	for quiet := time.Now(); time.Since(quiet) < o.times.late; {
		state, err := o.power.State(ctx, f.Node)
		if err == nil && state == power.StateUnknown {
			err = errUntold
		}
		if err != nil {
			return err
		}
		if state == f.Kind.leaves() {
			quiet = time.Now()
			if err := o.revert(ctx, f); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAgain):
		}
	}
	return o.revert(ctx, f)
}

func (o *PowerFaults) awaitAgent(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, o.times.answer)
	defer cancel()
	var silent error
	for {
		err := func() error {
			asking, cancel := context.WithTimeout(ctx, answerTimeout)
			defer cancel()
			return o.answers(asking, node)
		}()
		if err == nil {
			return nil
		}
		if silent == nil || ctx.Err() == nil {
			silent = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("its machine runs, but its agent does not answer: %w", silent)
		case <-time.After(lookAgain):
		}
	}
}
