package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// aliveEvery is how often the holder of the lock shows that it is alive; staleAfter is when another may take it over.
	aliveEvery = 2 * time.Second
	staleAfter = time.Minute
)

// Lock keeps drills on one lab apart. The kernel drops it with the process, however that ends; a holder that has given no sign of life for
// a minute, since it was stopped, loses it to the next. The file says for people who holds it.
func Lock(path, drill, by string) (unlock func(), err error) {
	f, err := take(path)
	if err != nil {
		return nil, err
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "drill %s of %s, process %d, since %s\n", drill, by, os.Getpid(), time.Now().Format(time.TimeOnly))
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
		_ = f.Close()
	}), nil
}

func take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the lab for a drill: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	defer f.Close() //nolint:errcheck // it holds nothing
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock the lab for a drill (%s): %w", path, err)
	}
	holder, _ := io.ReadAll(io.LimitReader(f, 200))
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("lock the lab for a drill: %w", err)
	}
	if age := time.Since(info.ModTime()); age < staleAfter {
		return nil, refused("another one is under way: %s", strings.TrimSpace(string(holder)))
	}
	// Its holder keeps a lock on a file that is gone; its faults have run out long since.
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("take over the lock of %s: %w", strings.TrimSpace(string(holder)), err)
	}
	return take(path)
}
