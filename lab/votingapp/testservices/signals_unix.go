//go:build unix

package testservices

import (
	"os"
	"syscall"
)

// signals by the names that `docker kill --signal` uses as well.
var signals = map[string]os.Signal{"KILL": syscall.SIGKILL, "QUIT": syscall.SIGQUIT, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
