//go:build unix

package lifecycle

import (
	"io/fs"
	"syscall"
)

// versionOf tells one state of a file from all others, if the system can.
func versionOf(info fs.FileInfo) (_ fileVersion, known bool) {
	id, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileVersion{}, false
	}
	return fileVersion{uint64(id.Dev), id.Ino, info.Size(), info.ModTime()}, true // Dev is signed on a Mac
}
