//go:build unix

package bundle

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the command the head of a process group, all of which is ended with the command's context.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
