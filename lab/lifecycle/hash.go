package lifecycle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// hasher computes the hash of what provisioning installs on nodes, as vagrant/provision/hash.sh does on the node: here
// it is asked for every node in each run, so that a file which many nodes get is read only once. A test holds the two
// together.
type hasher struct {
	mu   sync.Mutex
	sums map[fileVersion]string
}

// fileVersion is one state of a file, by whatever name.
type fileVersion struct {
	device, inode uint64
	size          int64
	changed       time.Time
}

// node returns the hash of what a node is given: SHA-256 over the files in the order of their names, for each its name, a
// NUL, its SHA-256 in hex and a newline; the first 16 hex digits. The bundle does not count: its images are loaded when
// they are needed.
func (h *hasher) node(lab *settings.Lab, node string) (string, error) {
	type entry struct{ name, sum string }
	var entries []entry
	dir := lab.NodeDir(node)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == "bundle":
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		sum, err := h.file(path)
		entries = append(entries, entry{filepath.ToSlash(name), sum})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("hash what node %s is to be given: %w", node, err)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		// As sort(1) does in the C locale with the name's end as the byte 1, which the script puts there.
		return cmp.Compare(a.name+"\x01"+a.sum, b.name+"\x01"+b.sum)
	})
	var all bytes.Buffer
	for _, e := range entries {
		all.WriteString(e.name + "\x00" + e.sum + "\n")
	}
	sum := sha256.Sum256(all.Bytes())
	return hex.EncodeToString(sum[:])[:16], nil
}

// file hashes one file, once as long as neither its size nor its time changes.
func (h *hasher) file(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	key, known := versionOf(info)
	h.mu.Lock()
	defer h.mu.Unlock()
	if sum, ok := h.sums[key]; known && ok {
		return sum, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	if h.sums == nil {
		h.sums = map[fileVersion]string{}
	}
	h.sums[key] = hex.EncodeToString(sum.Sum(nil))
	return h.sums[key], nil
}
