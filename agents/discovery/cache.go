package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/durable"
)

// cache is what is known of services, as it is kept on disk.
type cache struct {
	// Follow are the names of the wanted services, sorted.
	Follow []string `json:"follow"`
	// Known are the instances, by service.
	Known map[string][]entry `json:"known"`
}

// maxCache bounds the file, in bytes; hundreds of instances need a tenth of it.
const maxCache = 1 << 20

// readCache reads the file; without one the book is empty. With an error the book is empty too.
func readCache(path string) (cache, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cache{Known: map[string][]entry{}}, nil
	}
	if err == nil {
		var b cache
		if b, err = parseCache(content); err == nil {
			return b, nil
		}
	}
	return cache{Known: map[string][]entry{}}, fmt.Errorf("read %s: %w", path, err)
}

func parseCache(content []byte) (cache, error) {
	var b cache
	if len(content) > maxCache {
		return b, fmt.Errorf("%d bytes are too many", len(content))
	}
	if err := json.Unmarshal(content, &b); err != nil {
		return cache{}, err
	}
	known := map[string][]entry{}
	for service, entries := range b.Known {
		for _, e := range entries {
			if e.Service != service || !e.valid() {
				return cache{}, fmt.Errorf("the entry %q of service %q makes no sense", e.ID, service)
			}
		}
		slices.SortFunc(entries, byID)
		known[service] = slices.CompactFunc(entries, func(a, b entry) bool { return a.ID == b.ID })
	}
	b.Known = known
	slices.Sort(b.Follow)
	b.Follow = slices.Compact(b.Follow)
	return b, nil
}

// valid rules out what cannot be connected to.
func (e entry) valid() bool {
	_, err := netip.ParseAddr(e.Address)
	return err == nil && e.ID != "" && e.Service != "" && e.Port >= 1 && e.Port <= 65535
}

// write replaces the file as a whole: after a crash there is the old one or the new one.
func (b cache) write(path string) error {
	content, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.Replace(path, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep what is known of services: %w", err)
	}
	return nil
}

// instances of the followed services.
func (b cache) instances() []*rolev1.Instance {
	var list []*rolev1.Instance
	for _, name := range b.Follow {
		for _, e := range b.Known[name] {
			list = append(list, e.instance())
		}
	}
	return list
}
