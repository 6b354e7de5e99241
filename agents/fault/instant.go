package fault

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a moment of a machine's life that no change of the clock moves, and that counts sleep.
type Instant struct {
	// Boot is the kernel's id of this life.
	Boot string `json:"boot"`
	// At is the time since then.
	At time.Duration `json:"at"`
}

// Now is the present moment.
func Now() (Instant, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Instant{}, fmt.Errorf("ask the kernel for its boot id: %w", err)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return Instant{}, fmt.Errorf("ask the kernel for the time since boot: %w", err)
	}
	return Instant{Boot: strings.TrimSpace(string(boot)), At: time.Duration(t.Nano())}, nil
}

// Add returns the moment that much later.
func (i Instant) Add(d time.Duration) Instant { return Instant{Boot: i.Boot, At: i.At + d} }

// Until returns how long it is from i to the later moment. A moment of another life has passed.
func (i Instant) Until(later Instant) time.Duration {
	if i.Boot != later.Boot {
		return 0
	}
	return max(later.At-i.At, 0)
}
