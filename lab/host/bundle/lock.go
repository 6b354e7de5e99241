package bundle

import (
	"context"
	"fmt"
	"os"

	"github.com/swarmlab/swarmlab/lab/host/lock/flock"
)

// lock waits until no other process makes the same bundle. What it left is then up to date.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the bundle: %w", err)
	}
	locked := make(chan error, 1)
	go func() { locked <- flock.Lock(f) }()
	select {
	case err = <-locked:
	case <-ctx.Done():
		// Closing the file does not end the wait, but the lock, should it still come, goes with it.
		go func() { <-locked; f.Close() }() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("wait for another process that makes the bundle (%s): %w", path, ctx.Err())
	}
	if err != nil {
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("lock the bundle %s: %w", path, err)
	}
	return func() { f.Close() }, nil //nolint:errcheck // nothing was written
}
