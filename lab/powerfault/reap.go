package powerfault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/lock"
)

const (
	// watchEvery is how often the reaper looks at the records, which other processes change. It is also how late it notices after a sleep, during
	// which its timers stand still.
	watchEvery = 250 * time.Millisecond
	// successorPatience is how long a second reaper stays before it believes in the first one: others take the lock for a moment, to see
	// whether it is free.
	successorPatience = 2 * time.Second
	// reaperPatience bounds the start of a reaper.
	reaperPatience = time.Minute
)

// Reap ends faults whose lease is over, or whose injector is gone, until no fault is left. It does nothing while another process does it.
func (o *PowerFaults) Reap(ctx context.Context) error {
	for {
		if faults, err := o.List(); err != nil || len(faults) == 0 {
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, successorPatience)
		held, err := lock.Wait(waiting, o.reaperLock())
		cancel()
		if errors.Is(err, lock.ErrHeld) {
			return nil
		}
		if err != nil {
			return err
		}
		o.log.Info("the reaper begins", "process", os.Getpid())
		err = o.watch(ctx)
		held.Release()
		if err != nil || ctx.Err() != nil {
			return err
		}
		o.log.Info("the reaper is done", "process", os.Getpid())
		// Who wrote a record in the last moment saw the lock held, and counts on this process: so look again.
	}
}

func (o *PowerFaults) reaperLock() string { return o.lab.Path("reap.lock") }

// reaped reports whether a reaper lives.
func (o *PowerFaults) reaped() bool { return lock.Held(o.reaperLock()) }

// awaitReaper has a reaper live when it returns nil.
func (o *PowerFaults) awaitReaper(ctx context.Context) error {
	if o.reaped() {
		return nil
	}
	if o.start == nil {
		return errors.New("nothing would end it")
	}
	if err := o.start(); err != nil {
		return fmt.Errorf("start what is to end it: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reaperPatience)
	defer cancel()
	for !o.reaped() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("what is to end it (`lab reap`) has not started within %s; see %s", reaperPatience, o.lab.Relative(string(logOf(o.lab))))
		case <-time.After(lookAgain):
		}
	}
	return nil
}

// watch ends what is due until there is nothing left.
func (o *PowerFaults) watch(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	var mu sync.Mutex
	busy := map[string]bool{}
	for {
		faults, err := o.List()
		if err != nil || len(faults) == 0 {
			return err
		}
		mu.Lock()
		for _, f := range faults {
			if busy[f.ID] || !f.due(wall()) {
				continue
			}
			busy[f.ID] = true
			group.Go(func() {
				o.reap(ctx, f)
				mu.Lock()
				defer mu.Unlock()
				delete(busy, f.ID)
			})
		}
		mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// reap ends a fault that is due. An injection that is still at work has the lock, and the fault is not due afterwards.
func (o *PowerFaults) reap(ctx context.Context, f Fault) {
	ctx, cancel := context.WithTimeout(ctx, o.times.end)
	defer cancel()
	if err := o.end(ctx, f.ID, func(f Fault) bool { return f.due(wall()) }); err != nil {
		o.log.Error("not ended yet", "fault", f.String(), "id", f.ID, "error", err)
	}
}
