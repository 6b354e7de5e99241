package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// record tells what an image's file was made from. It stands next to the file and is written after it: a file without a
// record is half made.
type record struct {
	Reference string `json:"reference"`
	Source    Source `json:"source"`
	// InputHash covers what the image was made from: reference and platform, and for a built one its recipe.
	InputHash string `json:"input_hash"`
	// Digest is the one that the registry gave for the reference.
	Digest string `json:"digest,omitempty"`
}

func recordPath(image string) string {
	return strings.TrimSuffix(image, ".tar") + ".json"
}

// readRecord returns the record of an image's file; ok is false when the file or a readable record is missing, which
// only means that the image has to be made.
func readRecord(image string) (rec record, ok bool) {
	if info, err := os.Stat(image); err != nil || info.Size() == 0 {
		return record{}, false
	}
	data, err := os.ReadFile(recordPath(image))
	if err != nil || json.Unmarshal(data, &rec) != nil {
		return record{}, false
	}
	return rec, true
}

func (r record) write(image string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the record of %s: %w", image, err)
	}
	return replace(recordPath(image), func(path string) error {
		return os.WriteFile(path, append(data, '\n'), 0o644)
	})
}

// replace lets write make a file next to path and then puts it in path's place, so that nobody ever sees half of it.
func replace(path string, write func(path string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	temporary := f.Name()
	defer os.Remove(temporary) //nolint:errcheck // gone already when all went well
	if err := f.Close(); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := write(temporary); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.Chmod(temporary, 0o644); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}
