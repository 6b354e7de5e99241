// Package usage lets those who use a lab for a while, a load or a drill, and those who take it from under them know of each other. Who uses it is a
// member of a group ([Begin]); who takes it away closes it ([Close]): nobody begins any more, those who have are told, and waited for.
//
// Both are locks on files: no process is taken for another one that has its number, and none that was killed is waited for. The package ends nothing
// itself: who uses a lab ends when its context does.
package usage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// lookEvery is how often one looks for the other.
const lookEvery = 200 * time.Millisecond

// ClosedError says that the lab is taken away, by whom.
type ClosedError struct{ By string }

func (e *ClosedError) Error() string {
	return "the lab is cleared or taken down by " + e.By
}

func group(lab *settings.Lab) string { return lab.Path("users") }

func closing(lab *settings.Lab) string { return filepath.Join(group(lab), "closed") }

// closed returns who takes the lab away, a *ClosedError, or nil.
func closed(lab *settings.Lab) error {
	if path := closing(lab); lock.Held(path) {
		return &ClosedError{By: lock.Holder(path)}
	}
	return nil
}

// Begin begins a use of the lab. The context that it returns ends, with a *ClosedError as its cause, when the lab is taken away; end is to be called
// when the use is over.
func Begin(ctx context.Context, lab *settings.Lab, who string) (_ context.Context, end func(), err error) {
	if err := closed(lab); err != nil {
		return nil, nil, fmt.Errorf("%w; try again when that is done", err)
	}
	member, err := lock.Join(group(lab), who)
	if err != nil {
		return nil, nil, err
	}
	// Who closed it in between may not have seen it.
	if err := closed(lab); err != nil {
		member.Leave()
		return nil, nil, fmt.Errorf("%w; try again when that is done", err)
	}
	using, cancel := context.WithCancelCause(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-using.Done():
				return
			case <-tick.C:
			}
			if err := closed(lab); err != nil {
				cancel(err)
				return
			}
		}
	})
	return using, sync.OnceFunc(func() {
		cancel(nil)
		looking.Wait()
		member.Leave()
	}), nil
}

// Users returns who uses the lab, in words for people.
func Users(lab *settings.Lab) []string { return lock.Members(group(lab)) }

// StillUsedError says who did not end.
type StillUsedError struct {
	Users  []string
	Within time.Duration
}

func (e *StillUsedError) Error() string {
	return fmt.Sprintf("the lab is in use, and did not come free within %s: %s; end it, and try again", e.Within, strings.Join(e.Users, "; "))
}

// Close lets nobody use the lab until open is called, tells those who do, and waits until they have ended; it returns them. A *StillUsedError when they
// do not end within that time: the lab is closed all the same, until open is called.
func Close(ctx context.Context, lab *settings.Lab, by string, within time.Duration, say func(string)) (users []string, open func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := os.MkdirAll(group(lab), 0o700); err != nil {
		return nil, nil, fmt.Errorf("look who uses the lab: %w", err)
	}
	held, err := lock.Wait(waiting, closing(lab))
	if errors.Is(err, lock.ErrHeld) && ctx.Err() == nil {
		return nil, nil, closed(lab)
	}
	if err != nil {
		return nil, nil, errors.Join(ctx.Err(), err)
	}
	held.Sign(by)
	users = Users(lab)
	for left := users; len(left) > 0; left = Users(lab) {
		say("waiting until it ends: " + strings.Join(left, "; "))
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				held.Remove()
				return users, nil, ctx.Err()
			}
			return users, held.Remove, &StillUsedError{Users: left, Within: within}
		case <-time.After(lookEvery):
		}
	}
	return users, held.Remove, nil
}
