package mesh

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A main thread that entered a container's namespace would never leave it, and keep it for as long as the agent lives.
func TestNothingRunsOnTheMainThread(t *testing.T) {
	const callers, calls = 16, 500
	var (
		group sync.WaitGroup
		ran   atomic.Int64
		main  atomic.Int64
	)
	for range callers {
		group.Go(func() {
			for range calls {
				onThreadOfItsOwn(func() {
					ran.Add(1)
					if unix.Gettid() == unix.Getpid() {
						main.Add(1)
					}
				})
			}
		})
	}
	group.Wait()
	if ran.Load() != callers*calls || main.Load() != 0 {
		t.Errorf("ran %d times, want %d; %d times on the main thread, want never", ran.Load(), callers*calls, main.Load())
	}
}
