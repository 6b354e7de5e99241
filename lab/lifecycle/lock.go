package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/swarmlab/swarmlab/lab/settings"
)

// lock keeps two commands that change the machines of one clone apart. The kernel drops it with the process, however
// that ends. The file says for people who holds it.
func lock(lab *settings.Lab, command string) (unlock func(), err error) {
	if err := os.MkdirAll(lab.StateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("lock the lab: %w", err)
	}
	path := lab.Path("lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the lab: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 200))
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another command works on the lab of this clone: %s; wait for it, or end it", strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock the lab (%s): %w", path, err)
	}
	// Only words for people: that they could not be written harms nobody.
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "`%s`, process %d, since %s\n", command, os.Getpid(), time.Now().Format(time.TimeOnly))
	return func() { _ = f.Close() }, nil
}
