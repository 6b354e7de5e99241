package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/agents/engine"
)

// maxManifest bounds what is read of an archive's manifest, in bytes.
const maxManifest = 4 << 20

type indexEntry struct {
	size    int64
	changed time.Time
	refs    []string
}

// find returns the archive of the bundle that holds an image; when none does, the error says so.
func (s *Source) find(ref string) (string, error) {
	// Only the name is a pattern: the folder's may hold any character.
	archives, err := fs.Glob(os.DirFS(s.bundle), "*.tar")
	if err != nil {
		return "", fmt.Errorf("look into the bundle %s: %w", s.bundle, err)
	}
	var broken []error
	for _, name := range archives {
		path := filepath.Join(s.bundle, name)
		refs, err := s.index(path)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		for _, r := range refs {
			if engine.SameReference(r, ref) {
				return path, nil
			}
		}
	}
	return "", errors.Join(append(broken, fmt.Errorf("the bundle %s does not hold it", s.bundle))...)
}

func (s *Source) index(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look into the bundle: %w", err)
	}
	s.mu.Lock()
	known, ok := s.indexed[path]
	s.mu.Unlock()
	if ok && known.size == info.Size() && known.changed.Equal(info.ModTime()) {
		return known.refs, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("look into the bundle: %w", err)
	}
	defer func() { _ = file.Close() }()
	refs, err := References(file)
	if err != nil {
		return nil, fmt.Errorf("bundle archive %s: %w; make it anew: `make bundle`", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexed[path] = indexEntry{size: info.Size(), changed: info.ModTime(), refs: refs}
	return refs, nil
}

// References returns the image references that an archive as of `docker save` holds, according to its manifest.json. The
// layers are skipped without being read when the archive can seek.
func References(archive io.Reader) ([]string, error) {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it holds no manifest.json, so it is no image archive")
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		if strings.TrimPrefix(header.Name, "./") != "manifest.json" {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(reader, maxManifest))
		if err != nil {
			return nil, fmt.Errorf("read manifest.json: %w", err)
		}
		var manifest []struct {
			RepoTags []string
		}
		if err := json.Unmarshal(content, &manifest); err != nil {
			return nil, fmt.Errorf("manifest.json: %w", err)
		}
		var refs []string
		for _, image := range manifest {
			refs = append(refs, image.RepoTags...)
		}
		return refs, nil
	}
}
