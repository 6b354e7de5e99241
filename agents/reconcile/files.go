package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/swarmlab/swarmlab/agents/common/durable"
)

// Files keeps the rendered files of containers on disk, one directory for each container below its root, and
// remembers there which content the running process was told of. So an agent that ends between writing a file and
// sending the signal sends it when it is back.
type Files struct {
	Root string
}

const loadedName = ".loaded"

type loadedRecord struct {
	ID   string `json:"container"`
	Hash string `json:"hash"`
}

// Written returns the FilesHash of what lies on disk now; empty when a file is missing.
func (f Files) Written(c *Container) string {
	onDisk := *c
	onDisk.Files = nil
	for _, file := range c.Files {
		if file.Signal == "" {
			continue
		}
		content, err := os.ReadFile(file.Path)
		if err != nil {
			return ""
		}
		file.Content = content
		onDisk.Files = append(onDisk.Files, file)
	}
	return onDisk.FilesHash()
}

// Loaded returns the hash that was noted by SetLoaded for the container with this id.
func (f Files) Loaded(name, id string) string {
	content, err := os.ReadFile(filepath.Join(f.Root, name, loadedName))
	if err != nil {
		return ""
	}
	var record loadedRecord
	if err := json.Unmarshal(content, &record); err != nil || record.ID != id {
		return "" // as if it had never been told: it is told again
	}
	return record.Hash
}

// SetLoaded notes that the container with this id has read the files with this hash.
func (f Files) SetLoaded(name, id, hash string) error {
	content, err := json.Marshal(loadedRecord{ID: id, Hash: hash})
	if err != nil {
		return fmt.Errorf("note the loaded files of %s: %w", name, err)
	}
	return f.write(filepath.Join(f.Root, name, loadedName), content)
}

// Write brings all files of a container up to date. Each is replaced as a whole, so that a process which reads it at
// that moment sees the old or the new content.
func (f Files) Write(c *Container) error {
	for _, file := range c.Files {
		if !strings.HasPrefix(file.Path, filepath.Join(f.Root, c.Spec.Name)+string(filepath.Separator)) {
			return fmt.Errorf("rendered file %s of %s lies outside its directory", file.Path, c.Spec.Name)
		}
		if content, err := os.ReadFile(file.Path); err == nil && string(content) == string(file.Content) {
			continue
		}
		if err := f.write(file.Path, file.Content); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes everything that was rendered for any container.
func (f Files) Remove() error {
	entries, err := os.ReadDir(f.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the rendered files: %w", err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(f.Root, entry.Name())); err != nil {
			return fmt.Errorf("remove the rendered files: %w", err)
		}
	}
	return nil
}

// write replaces a file. It is readable for every user, because containers run as any; what keeps it from the node's
// other users is the closed root directory.
func (f Files) write(path string, content []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := os.MkdirAll(f.Root, 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return durable.Replace(path, content, 0o444)
}
