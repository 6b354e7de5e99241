//go:build unix

package flock

import (
	"errors"
	"os"
	"syscall"
)

// Lock waits until it has the file for itself.
func Lock(f *os.File) error { return flock(f, syscall.LOCK_EX) }

// TryLock takes the file for itself, or returns [ErrLocked].
func TryLock(f *os.File) error { return flock(f, syscall.LOCK_EX|syscall.LOCK_NB) }

// TryRLock shares the file with others that only share it, or returns [ErrLocked].
func TryRLock(f *os.File) error { return flock(f, syscall.LOCK_SH|syscall.LOCK_NB) }

// Unlock gives back what the other functions took.
func Unlock(f *os.File) error { return flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}
