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
	"github.com/swarmlab/swarmlab/agents/durable"
)

// book is what is known of services, as it is kept on disk.
type book struct {
	// Follow are the names of the wanted services, sorted.
	Follow []string `json:"follow"`
	// Known are the instances, by service.
	Known map[string][]entry `json:"known"`
}

// maxBook bounds the file, in bytes; hundreds of instances need a tenth of it.
const maxBook = 1 << 20

// readBook reads the file; without one the book is empty. With an error the book is empty too.
func readBook(path string) (book, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return book{Known: map[string][]entry{}}, nil
	}
	if err == nil {
		var b book
		if b, err = parseBook(content); err == nil {
			return b, nil
		}
	}
	return book{Known: map[string][]entry{}}, fmt.Errorf("read %s: %w", path, err)
}

func parseBook(content []byte) (book, error) {
	var b book
	if len(content) > maxBook {
		return b, fmt.Errorf("%d bytes are too many", len(content))
	}
	if err := json.Unmarshal(content, &b); err != nil {
		return book{}, err
	}
	known := map[string][]entry{}
	for service, entries := range b.Known {
		for _, e := range entries {
			if e.Service != service || !e.valid() {
				return book{}, fmt.Errorf("the entry %q of service %q makes no sense", e.ID, service)
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
func (b book) write(path string) error {
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
func (b book) instances() []*rolev1.Instance {
	var list []*rolev1.Instance
	for _, name := range b.Follow {
		for _, e := range b.Known[name] {
			list = append(list, e.instance())
		}
	}
	return list
}
