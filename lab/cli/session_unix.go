//go:build unix

package cli

import "syscall"

// ownSession gives a command a session of its own.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
