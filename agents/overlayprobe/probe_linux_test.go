package overlayprobe

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// What is there when it looks at last came in time.
func TestAwaitLooksOnceAfterItsDeadline(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(ends[0]), unix.Close(ends[1]) })
	past := time.Now().Add(-time.Minute)
	look := func() bool {
		ready, err := await([]unix.PollFd{{Fd: int32(ends[0]), Events: unix.POLLIN}}, past)
		if err != nil {
			t.Fatal(err)
		}
		return ready
	}
	if look() {
		t.Error("nothing came, and it is ready")
	}
	if _, err := unix.Write(ends[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if !look() {
		t.Error("something came, and it was not looked at")
	}
}
