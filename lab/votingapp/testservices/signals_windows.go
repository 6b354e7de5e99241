package testservices

import (
	"os"
	"syscall"
)

// signals by the names that `docker kill --signal` uses as well. A process can't be stopped and continued here.
var signals = map[string]os.Signal{"KILL": syscall.SIGKILL, "QUIT": syscall.SIGQUIT}
