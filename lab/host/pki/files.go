package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unfinished marks files that a killed run left half-written.
const unfinished = ".unfinished-"

// writeFile puts content at path, whole or not at all, with mode 0600, and leaves a file alone that has it already.
func writeFile(path string, content []byte) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("close %s to others: %w", path, err)
		}
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path) // CreateTemp's mode is 0600
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// makeDir makes a folder that only its owner can enter, and tightens one that is there.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make a folder for keys: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("close %s to others: %w", path, err)
	}
	return nil
}

// removeOthers removes from dir what is not in keep, half-written files included.
func removeOthers(dir string, keep []string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tidy up %s: %w", dir, err)
	}
	for _, e := range entries {
		if slices.Contains(keep, e.Name()) && !strings.HasPrefix(e.Name(), unfinished) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("tidy up %s: %w", dir, err)
		}
	}
	return nil
}
