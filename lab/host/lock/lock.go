// Package lock keeps apart processes that work on the lab of one clone. The kernel drops a lock with the process that holds it, however that
// ends.
//
// It must not know what is done under a lock.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/lock/flock"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// ErrHeld says that another process has the lock.
var ErrHeld = errors.New("another process has the lock")

// heldError says for people who has it.
type heldError struct{ text string }

func (e heldError) Error() string { return e.text }

func (heldError) Is(target error) bool { return target == ErrHeld }

// Lab takes the lock of a clone's lab, which keeps two commands apart that change its machines. The file says for people which command
// holds it. ErrHeld, in words for people: another one does, or what was started by one that may be gone.
func Lab(lab *settings.Lab, command string) (release func(), err error) {
	if err := os.MkdirAll(lab.StateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("lock the lab: %w", err)
	}
	path := lab.Path("lock")
	f, err := Try(path)
	if errors.Is(err, ErrHeld) {
		return nil, heldError{fmt.Sprintf("another command works on the lab of this clone: %s; wait for it, or end it", Holder(path))}
	}
	if err != nil {
		return nil, err
	}
	if left := Members(Working(lab)); len(left) > 0 {
		f.Release()
		return nil, heldError{fmt.Sprintf("what another command has started still works on the lab of this clone: %s; wait for it, or end it",
			strings.Join(left, "; "))}
	}
	f.Sign("`" + command + "`")
	return f.Release, nil
}

// Working is the group of what was started by whoever holds the lock of a clone's lab, and lives on when that one is killed.
func Working(lab *settings.Lab) string { return lab.Path("working") }

// sign says in a locked file who holds it.
func sign(f *os.File, who string) { signAs(f, who, os.Getpid()) }

// signAs says it of another process: only words for people, so that it harms nobody if they cannot be written.
func signAs(f *os.File, who string, process int) {
	text := fmt.Sprintf("%s, process %d, since %s\n", who, process, time.Now().Format(time.TimeOnly))
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(text), 0)
}

// Holder is what the file says of who holds the lock.
func Holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }() // only read
	text, _ := io.ReadAll(io.LimitReader(f, 200))
	return strings.TrimSpace(string(text))
}

// take opens a file, which is made if need be, and locks it.
func take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock.TryLock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, flock.ErrLocked) {
			return nil, ErrHeld
		}
		return nil, err
	}
	return f, nil
}

// File is a lock on a file that goes when what it guards does.
type File struct {
	path string
	file *os.File
}

// Try locks a file, in a folder that exists. ErrHeld: another process has it, or another part of this one.
func Try(path string) (*File, error) {
	for {
		f, err := take(path)
		if errors.Is(err, ErrHeld) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if there(f, path) {
			return &File{path: path, file: f}, nil
		}
		// Who held it before has removed it between our opening and our locking it: a lock on nothing.
		_ = f.Close()
	}
}

// again is the time between two looks at whether a lock is free.
const again = 50 * time.Millisecond

// Wait locks a file once nobody else has it; ErrHeld when ctx ended before.
func Wait(ctx context.Context, path string) (*File, error) {
	for {
		f, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ErrHeld
		case <-time.After(again):
		}
	}
}

// Held reports whether a file is locked. To ask is not to have it: two who ask do not take each other for a holder.
func Held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // which unlocks
	return errors.Is(flock.TryRLock(f), flock.ErrLocked)
}

// there reports whether the file is still what stands under its name.
func there(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}

// Sign says in the file, for people, who holds the lock.
func (f *File) Sign(who string) { sign(f.file, who) }

// Release lets others have the lock.
func (f *File) Release() { _ = f.file.Close() }

// Remove removes the file, too. Release afterwards does nothing.
func (f *File) Remove() {
	_ = os.Remove(f.path) // what is left locks nothing
	_ = f.file.Close()
}
