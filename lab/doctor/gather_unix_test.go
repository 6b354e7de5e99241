//go:build linux || darwin

package doctor

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCanBeMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, closed := filepath.Join(dir, "file"), filepath.Join(dir, "closed")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(closed, 0o500); err != nil { //nolint:gosec // a folder that is closed on purpose
		t.Fatal(err)
	}
	for folder, want := range map[string]bool{
		dir: true, filepath.Join(dir, "a", "b", "c"): true, file: false, filepath.Join(file, "below"): false,
		// Nothing is closed to root.
		filepath.Join(closed, "below"): os.Geteuid() == 0,
	} {
		if err := canBeMade(folder); (err == nil) != want {
			t.Errorf("%s: %v", folder, err)
		}
	}
}
