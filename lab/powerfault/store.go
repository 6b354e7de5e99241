package powerfault

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/agents/common/durable"
)

const (
	recordSuffix = ".json"
	// lockSuffix: a record is replaced when it changes, so the lock is on a file beside it.
	lockSuffix = ".lock"
	// damagedSuffix is added to the name of a record that cannot be read.
	damagedSuffix = ".damaged"
)

// store keeps records, a file each.
type store struct{ dir string }

func (s store) path(id string) string { return filepath.Join(s.dir, id+recordSuffix) }
func (s store) lock(id string) string { return filepath.Join(s.dir, id+lockSuffix) }

func (s store) make() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("keep records of faults: %w", err)
	}
	return nil
}

// put has the record on disk when it returns. It does not make the folder: that goes with the lab, and a fault that is ending then must not
// come back.
func (s store) put(f Fault) error {
	content, err := json.Marshal(f)
	if err == nil {
		err = durable.Replace(s.path(f.ID), content, 0o600)
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

// get reads a record; ErrUnknown when there is none.
func (s store) get(id string) (Fault, error) {
	if !validID(id) {
		return Fault{}, fmt.Errorf("%w: %q", ErrUnknown, id)
	}
	content, err := os.ReadFile(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return Fault{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	if err != nil {
		return Fault{}, fmt.Errorf("read the record of a fault: %w", err)
	}
	f, err := parseRecord(content)
	if err == nil && f.ID != id {
		err = fmt.Errorf("it is of %s", f.ID)
	}
	if err != nil {
		return Fault{}, damagedError{fmt.Errorf("the record of the fault %s: %w", id, err)}
	}
	return f, nil
}

// damagedError is a record that says nothing.
type damagedError struct{ error }

// all reads the records. One that cannot be read is set aside under another name, and its name returned: it must not keep the others from
// ending.
func (s store) all() (faults []Fault, damaged []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the records of faults: %w", err)
	}
	for _, entry := range entries {
		id, isRecord := strings.CutSuffix(entry.Name(), recordSuffix)
		if !isRecord || !validID(id) {
			continue
		}
		f, err := s.get(id)
		var bad damagedError
		switch {
		case err == nil:
			faults = append(faults, f)
		case errors.Is(err, ErrUnknown): // it ended meanwhile
		case errors.As(err, &bad):
			damaged = append(damaged, entry.Name())
			if err := os.Rename(s.path(id), s.path(id)+damagedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, damaged, fmt.Errorf("set a damaged record aside: %w", err)
			}
		default:
			return nil, damaged, err
		}
	}
	return faults, damaged, nil
}

// parseRecord reads a record; what it returns can be ended.
func parseRecord(content []byte) (Fault, error) {
	var f Fault
	if err := json.Unmarshal(content, &f); err != nil {
		return Fault{}, err
	}
	switch f.Phase {
	case Injecting, InForce, Ending:
	default:
		return Fault{}, fmt.Errorf("there is no phase %q", f.Phase)
	}
	switch {
	case !slices.Contains(Kinds(), f.Kind):
		return Fault{}, fmt.Errorf("there is no fault %q", f.Kind)
	case f.Node == "":
		return Fault{}, errors.New("it is of no node")
	case !validID(f.ID):
		return Fault{}, fmt.Errorf("%q is no id", f.ID)
	}
	return f, nil
}

// idLength is that of an id in hexadecimal digits.
const idLength = 8

func newID() string {
	var b [idLength / 2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// validID: ids become names of files.
func validID(id string) bool {
	return len(id) == idLength && strings.Trim(id, "0123456789abcdef") == ""
}
