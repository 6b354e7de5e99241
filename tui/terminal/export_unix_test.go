//go:build unix

package terminal

import "time"

// WaitFor sets how long a late answer is waited for.
func (in *Input) WaitFor(d time.Duration) { in.late = d }
