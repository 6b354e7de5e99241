package runner

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/lock"
)

const (
	// aliveEvery is how often the holder of the lock shows that it is alive; staleAfter is when another may take it over.
	aliveEvery = 2 * time.Second
	staleAfter = time.Minute
)

// Lock keeps drills on one lab apart. The kernel drops it with the process, however that ends; a holder that has given no sign of life for
// a minute, since it was stopped, loses it to the next. The file says for people who holds it.
func Lock(path, drill, by string) (unlock func(), err error) {
	held, err := lock.Try(path)
	if errors.Is(err, lock.ErrHeld) {
		held, err = takeOver(path)
	}
	if err != nil {
		return nil, err
	}
	held.Sign(fmt.Sprintf("drill %s of %s", drill, by))
	ended, alive := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(alive)
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				now := time.Now()
				_ = os.Chtimes(path, now, now) // a sign that is missing harms only when many are
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(ended)
		<-alive
		held.Release()
	}), nil
}

// takeOver takes the lock of a holder that gives no sign of life. It keeps a lock on a file that is gone; its faults have run out long since.
func takeOver(path string) (*lock.File, error) {
	info, err := os.Stat(path)
	if err == nil && time.Since(info.ModTime()) < staleAfter {
		return nil, refused("another one is under way: %s", lock.Holder(path))
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return nil, fmt.Errorf("take over the lock of another drill: %w", err)
	}
	return lock.Try(path)
}
