//go:build unix

package power

import (
	"os"
	"syscall"
)

// ownGroup makes a command the head of a process group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends all that is left of the process group of such a command.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
