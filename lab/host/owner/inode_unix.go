//go:build unix

package owner

import (
	"os"
	"strconv"
	"syscall"
)

// inode is the number that a folder keeps when it is moved, and that the next one under its name does not have; empty where it is not known.
func inode(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(uint64(stat.Ino), 10) //nolint:unconvert // of another type on some systems
}
