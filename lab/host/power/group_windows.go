package power

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps the terminal's ctrl-C from a command.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// killGroup ends the command itself.
func killGroup(p *os.Process) { _ = p.Kill() }

// handDown: on Windows no open file is inherited by number.
func handDown(*exec.Cmd, *os.File) {}
