package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/durable"
)

const (
	recordSuffix = ".json"
	// damagedSuffix is added to the name of a record that cannot be read.
	damagedSuffix = ".damaged"
)

// store keeps records, a file each.
type store struct{ dir string }

func (s store) path(id string) string { return filepath.Join(s.dir, id+recordSuffix) }

// put has the record on disk when it returns.
func (s store) put(r Record) error {
	content, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(s.dir, 0o700)
	}
	if err == nil {
		err = durable.Replace(s.path(r.ID), content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the record of the fault: %w", err)
	}
	return nil
}

func (s store) drop(id string) error {
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the record of the fault: %w", err)
	}
	return nil
}

// touch notes that somebody takes care of the record now.
func (s store) touch(id string) error {
	now := time.Now()
	return os.Chtimes(s.path(id), now, now)
}

// touched is when somebody last took care of the record.
func (s store) touched(id string) (time.Time, error) {
	info, err := os.Stat(s.path(id))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// all reads the records. One that cannot be read is set aside under another name, and its name returned: it must not keep the others from
// ending.
func (s store) all() (records []Record, damaged []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the records of faults: %w", err)
	}
	for _, entry := range entries {
		id, isRecord := strings.CutSuffix(entry.Name(), recordSuffix)
		if !isRecord {
			continue
		}
		content, err := os.ReadFile(s.path(id))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the record of a fault: %w", err)
		}
		r, err := parseRecord(content)
		if err != nil || r.ID != id {
			damaged = append(damaged, entry.Name())
			// Out of the folder, which is empty when there is nothing to end.
			if err := os.Rename(s.path(id), s.dir+"-"+entry.Name()+damagedSuffix); err != nil {
				return nil, nil, fmt.Errorf("set a damaged record aside: %w", err)
			}
			continue
		}
		records = append(records, r)
	}
	return records, damaged, nil
}

// parseRecord reads a record; what it returns can be ended.
func parseRecord(content []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(content, &r); err != nil {
		return Record{}, err
	}
	if err := r.Spec.Check(); err != nil {
		return Record{}, err
	}
	switch r.Phase {
	case Injecting, InForce, Ending:
	default:
		return Record{}, fmt.Errorf("there is no phase %q", r.Phase)
	}
	if !validID(r.ID) {
		return Record{}, fmt.Errorf("%q is no id", r.ID)
	}
	return r, nil
}

// idLength is that of an id in hexadecimal digits.
const idLength = 8

// validID: ids become names of files and of firewall tables.
func validID(id string) bool {
	return len(id) == idLength && strings.Trim(id, "0123456789abcdef") == ""
}
