package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signal sends a signal ("USR2", "HUP") to a container's main process, as soon as that process handles it; until then it waits, as
// long as ctx does.
//
// It goes to the process directly and not through the engine's kill: that one notes the container as stopped manually,
// whatever the signal, and would neither restart it after a crash nor at the next boot.
func (e *Engine) Signal(ctx context.Context, id, signal string) error {
	number := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(signal), "SIG"))
	if number == 0 {
		return failed("signal container", id, fmt.Errorf("%w: no signal is called %q", ErrRefused, signal))
	}
	before, err := e.Container(ctx, id)
	if err != nil {
		return err
	}
	if before.State != StateRunning || before.PID == 0 {
		return failed("signal container", id, fmt.Errorf("%w: it is %s", ErrConflict, before.State))
	}
	// FindProcess holds the process (pidfd); asking again afterwards proves that it is still this container's and
	// not a stranger under a reused number.
	process, err := os.FindProcess(before.PID)
	if err != nil {
		return failed("signal container", id, err)
	}
	defer func() { _ = process.Release() }()
	if number != unix.SIGKILL { // which no process handles
		if err := awaitHandler(ctx, before.PID, number); err != nil {
			return failed("signal container", id, fmt.Errorf("%s: %w", signal, err))
		}
	}
	after, err := e.Container(ctx, id)
	if err != nil {
		return err
	}
	if after.PID != before.PID || !after.StartedAt.Equal(before.StartedAt) {
		return failed("signal container", id, fmt.Errorf("%w: it restarted meanwhile", ErrConflict))
	}
	return failed("signal container", id, process.Signal(syscall.Signal(number)))
}

// handlerPoll is the time between two looks at a process that does not handle a signal yet.
const handlerPoll = 20 * time.Millisecond

// awaitHandler waits until a process handles a signal. The kernel drops a signal that the first process of a container does not handle,
// and a process that has just begun, or that loads itself anew as HAProxy does at each reload, handles none for a moment.
func awaitHandler(ctx context.Context, pid int, signal syscall.Signal) error {
	tick := time.NewTicker(handlerPoll)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return fmt.Errorf("its process has ended: %w", err)
		}
		if handles(status, signal) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("its process does not handle it: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// handles reads the set of handled signals out of a process's status file, see proc(5): a hexadecimal mask, bit 0 for signal 1.
func handles(status []byte, signal syscall.Signal) bool {
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte("SigCgt:")); ok {
			caught, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
			return err == nil && caught&(1<<(signal-1)) != 0
		}
	}
	return false
}
