//go:build unix

package ledger

import (
	"os"
	"syscall"
)

// removed: the file has no name any more. One that was moved has.
func removed(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}
