// Package durable writes files so that a crash or a power loss leaves the old content or the new, whole.
//
// It must not know what is written.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file with exactly this mode and has its content on disk when it returns. Its folder must exist; until the end the
// new content lies there under a hidden name.
func Replace(path string, content []byte, mode fs.FileMode) (err error) {
	next, err := os.CreateTemp(filepath.Dir(path), ".next-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(next.Name())
		}
	}()
	_, err = next.Write(content)
	if err == nil {
		err = next.Chmod(mode)
	}
	if err == nil {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}
