package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/lock/flock"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// forgetMachines removes what Vagrant knows of a clone's nodes: .vagrant/machines, and the entries in its index of all
// machines (`vagrant global-status`), which else would stay there for ever.
func (System) forgetMachines(lab *settings.Lab) error {
	local := filepath.Join(lab.Dir, ".vagrant")
	ids, err := indexed(local)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(local, "machines")); err != nil {
		return fmt.Errorf("remove Vagrant's state: %w", err)
	}
	home := os.Getenv("VAGRANT_HOME")
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return nil //nolint:nilerr // without a home Vagrant has no index either
		}
		home = filepath.Join(user, ".vagrant.d")
	}
	return pruneIndex(filepath.Join(home, "data", "machine-index"), local, ids...)
}

// indexed returns by what the machines of a clone stand in Vagrant's index: there the path may be one that the clone had before.
func indexed(local string) ([]string, error) {
	var ids []string
	err := filepath.WalkDir(filepath.Join(local, "machines"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.Name() != "index_uuid" || !d.Type().IsRegular() {
			return err
		}
		id, err := os.ReadFile(path)
		ids = append(ids, strings.TrimSpace(string(id)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look what Vagrant knows of the clone's machines: %w", err)
	}
	return ids, nil
}

// pruneIndex removes the machines of one clone from Vagrant's index, and those with these ids, under the lock that Vagrant itself takes. An index
// that is of another version, or no index at all, is left alone: stale entries there harm nobody.
func pruneIndex(dir, local string, ids ...string) error {
	path := filepath.Join(dir, "index")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := os.OpenFile(filepath.Join(dir, "index.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock Vagrant's index of machines: %w", err)
	}
	defer func() { _ = lock.Close() }() // which unlocks
	if err := flock.Lock(lock); err != nil {
		return fmt.Errorf("lock Vagrant's index of machines: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read Vagrant's index of machines: %w", err)
	}
	var index map[string]json.RawMessage
	machines := map[string]json.RawMessage{}
	if json.Unmarshal(data, &index) != nil || string(index["version"]) != "1" || json.Unmarshal(index["machines"], &machines) != nil {
		return nil
	}
	before := len(machines)
	for id, raw := range machines {
		var machine struct {
			LocalDataPath string `json:"local_data_path"`
		}
		if slices.Contains(ids, id) || json.Unmarshal(raw, &machine) == nil && machine.LocalDataPath == local {
			delete(machines, id)
			// The entry's own lock file; Vagrant makes a new one when it needs it.
			_ = os.Remove(filepath.Join(dir, id+".lock"))
		}
	}
	if len(machines) == before {
		return nil
	}
	if index["machines"], err = json.Marshal(machines); err != nil {
		return fmt.Errorf("write Vagrant's index of machines: %w", err)
	}
	if data, err = json.Marshal(index); err != nil {
		return fmt.Errorf("write Vagrant's index of machines: %w", err)
	}
	tmp := path + ".swarmlab"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("write Vagrant's index of machines: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write Vagrant's index of machines: %w", err)
	}
	return nil
}
