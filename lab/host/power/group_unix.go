//go:build unix

package power

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/swarmlab/swarmlab/lab/host/inherit"
)

// ownGroup makes a command the head of a process group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends all that is left of the process group of such a command.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// handDown lets a command inherit an open file, and tells it which number that has there: it is not to hand it on.
func handDown(cmd *exec.Cmd, file *os.File) {
	const first = 3 // after the standard three
	cmd.Env = append(cmd.Env, inherit.HeldFile+"="+strconv.Itoa(first+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, file)
}
