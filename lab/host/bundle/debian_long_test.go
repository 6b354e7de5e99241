//go:build long

package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// A real image from Debian's packages, for an architecture that need not be this host's.
func TestDebianImage(t *testing.T) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil || os.Geteuid() != 0 {
		t.Skip("takes mmdebstrap and root")
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	stocks := stockImages()
	redis := stocks[slices.IndexFunc(stocks, func(s stock) bool { return s.Name == "redis" })]
	dir := t.TempDir()
	m := maker{
		stock: redis, root: root, dir: dir, work: filepath.Join(dir, ".redis"), arch: "arm64", offline: true,
		progress: func(string) {},
	}
	image, err := m.make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	loaded, config := load(t, image)
	if config.Architecture != "arm64" || config.Config.User != "999:999" {
		t.Errorf("made for %s, user %s", config.Architecture, config.Config.User)
	}
	files := entries(t, loaded)
	for _, path := range []string{"usr/bin/redis-server", "usr/bin/redis-cli", "usr/local/bin/docker-entrypoint.sh", "usr/bin/sh"} {
		if files[path] == nil {
			t.Errorf("no %s in the image", path)
		}
	}
	if data := files["data"]; data == nil || data.Uid != 999 {
		t.Errorf("/data is not Redis's own: %+v", data)
	}
}
