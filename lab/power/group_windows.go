package power

import (
	"os"
	"syscall"
)

// ownGroup keeps the terminal's ctrl-C from a command.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// killGroup ends the command itself.
func killGroup(p *os.Process) { _ = p.Kill() }
