// Package flock locks open files for processes that ask for it: flock(2), or LockFileEx on Windows. The kernel drops a lock when the file is
// closed, however its process ends.
//
// It must not know what is locked, nor who waits.
package flock

import "errors"

// ErrLocked says that another open file holds a lock that excludes this one.
var ErrLocked = errors.New("the file is locked")
