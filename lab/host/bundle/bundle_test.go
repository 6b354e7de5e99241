package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// repository is the real clone's folder, seen from this package.
const repository = "../../.."

// newMaker returns a maker in a clone of its own. Its image is a Go tool that takes no time to build, and its registry
// does not answer.
func newMaker(t *testing.T) *maker {
	t.Helper()
	root := t.TempDir()
	for path, content := range map[string]string{
		"common.sh":               "",
		"tiny/go.mod":             "module example.org/tiny\n\ngo 1.26\n",
		"tiny/tool/main.go":       "package main\n\nfunc main() {}\n",
		"tiny/entrypoint/main.go": "package main\n\nfunc main() {}\n",
	} {
		path = filepath.Join(root, imagesDir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := Dir(root, "amd64")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &maker{
		stock: stock{
			Name: "tiny", Reference: "127.0.0.1:1/tiny:1.0", Build: build{GoTool: "example.org/tiny/tool"},
			Config: v1.Config{User: "100:1000", StopSignal: "SIGINT"},
		},
		root: root, dir: dir, work: filepath.Join(dir, ".tiny"), arch: "amd64", progress: func(string) {},
	}
}

// load reads an image's file as an engine would.
func load(t *testing.T, image Image) (v1.Image, *v1.ConfigFile) {
	t.Helper()
	tag, err := name.NewTag(image.Reference)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(image.Path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := loaded.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return loaded, config
}

// entries returns what the image's only layer holds.
func entries(t *testing.T, image v1.Image) map[string]*tar.Header {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("%d layers, want one", len(layers))
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	found := map[string]*tar.Header{}
	for tr := tar.NewReader(r); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[strings.Trim(strings.TrimPrefix(header.Name, "."), "/")] = header
	}
}

func TestAnImageIsBuiltWhenNoRegistryAnswers(t *testing.T) {
	m := newMaker(t)
	var states []string
	m.progress = func(state string) { states = append(states, state) }
	image, err := m.make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if image.Source != SourceBuilt || image.UpToDate {
		t.Errorf("got %+v, want a newly built one", image)
	}
	if len(states) != 3 || states[0] != "asking the registry" || !strings.HasPrefix(states[1], "compiling") ||
		!strings.HasPrefix(states[2], "built in") {
		t.Errorf("progress %q", states)
	}
	loaded, config := load(t, image)
	if diff := cmp.Diff(m.stock.Config, config.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("made for %s/%s", config.OS, config.Architecture)
	}
	files := entries(t, loaded)
	for path, want := range map[string]struct {
		mode int64
		uid  int
	}{"bin/tool": {0o755, 0}, "bin/entrypoint": {0o755, 0}, "tool/data": {0o755, 100}, "tmp": {0o1777, 0}} {
		header := files[path]
		if header == nil {
			t.Errorf("no %s in the image", path)
		} else if header.Mode != want.mode || header.Uid != want.uid {
			t.Errorf("%s has mode %o and uid %d, want %o and %d", path, header.Mode, header.Uid, want.mode, want.uid)
		}
	}
	if _, err := os.Stat(m.work); !os.IsNotExist(err) {
		t.Errorf("the folder for the work is still there: %v", err)
	}
}

func TestAnImageComesFromTheRegistryWhereItAnswers(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	m := newMaker(t)
	m.stock.Reference = strings.TrimPrefix(server.URL, "http://") + "/tiny:1.0"
	ref, err := name.ParseReference(m.stock.Reference)
	if err != nil {
		t.Fatal(err)
	}
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"arm64", "amd64"} {
		image, err := random.Image(1000, 2)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture, config.Config.User = "linux", arch, "user-of-"+arch
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		platform := v1.Platform{OS: "linux", Architecture: arch}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}

	image, err := m.make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if image.Source != SourceRegistry {
		t.Errorf("got %+v, want one from the registry", image)
	}
	loaded, config := load(t, image)
	if config.Config.User != "user-of-amd64" {
		t.Errorf("got the image of %q", config.Config.User)
	}
	if layers, err := loaded.Layers(); err != nil || len(layers) != 2 {
		t.Errorf("%d layers, %v; want 2", len(layers), err)
	}
	// Loading is faster without compression.
	assertPlainLayers(t, image.Path)
	if rec, ok := readRecord(image.Path); !ok || !strings.HasPrefix(rec.Digest, "sha256:") {
		t.Errorf("record %+v, %t; want the registry's digest in it", rec, ok)
	}

	// What is there stays, even when the registry has gone, and offline.
	server.Close()
	again, err := m.make(t.Context())
	if err != nil || !again.UpToDate || again.Source != SourceRegistry {
		t.Errorf("again: %+v, %v; want it left alone", again, err)
	}
}

func assertPlainLayers(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for tr := tar.NewReader(f); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		magic := make([]byte, 2)
		if _, err := io.ReadFull(tr, magic); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			t.Errorf("%s is compressed", header.Name)
		}
	}
}

// withoutCompiler puts a go on the PATH that makes something at once: what it makes is no matter.
func withoutCompiler(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	const script = "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\necho a program >\"$2\"\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestWhatIsUpToDateIsLeftAlone(t *testing.T) {
	withoutCompiler(t)
	tests := []struct {
		name   string
		change func(t *testing.T, m *maker)
		made   bool
	}{
		{"nothing changed", func(*testing.T, *maker) {}, false},
		{"the recipe changed", func(t *testing.T, m *maker) {
			write(t, filepath.Join(m.root, imagesDir, "tiny/entrypoint/main.go"), "package main\n\nfunc main() { println() }\n")
		}, true},
		{"what all recipes share changed", func(t *testing.T, m *maker) {
			write(t, filepath.Join(m.root, imagesDir, "common.sh"), "true\n")
		}, true},
		{"another tag is wanted", func(_ *testing.T, m *maker) { m.stock.Reference = "127.0.0.1:1/tiny:2.0" }, true},
		{"the configuration changed", func(_ *testing.T, m *maker) { m.stock.Config.User = "7" }, true},
		{"the file is gone", func(t *testing.T, m *maker) { remove(t, filepath.Join(m.dir, "tiny.tar")) }, true},
		{"the record is gone", func(t *testing.T, m *maker) { remove(t, filepath.Join(m.dir, "tiny.json")) }, true},
		{"the record is damaged", func(t *testing.T, m *maker) { write(t, filepath.Join(m.dir, "tiny.json"), "{") }, true},
		{"an attempt was cut off", func(t *testing.T, m *maker) {
			if err := os.MkdirAll(filepath.Join(m.work, "root"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMaker(t)
			m.offline = true
			if _, err := m.make(t.Context()); err != nil {
				t.Fatal(err)
			}
			tt.change(t, m)
			image, err := m.make(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if image.UpToDate == tt.made {
				t.Errorf("up to date: %t, want %t", image.UpToDate, !tt.made)
			}
		})
	}
}

func TestAFailureSaysBothReasonsAndLeavesTheOldImage(t *testing.T) {
	m := newMaker(t)
	m.offline = true
	image, err := m.make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(image.Path)
	if err != nil {
		t.Fatal(err)
	}
	m.offline = false
	write(t, filepath.Join(m.root, imagesDir, "tiny/tool/main.go"), "package main\n\nfunc main() { nonsense() }\n")
	_, err = m.make(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"ask 127.0.0.1:1", "connection refused", "go build", "undefined: nonsense"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if after, err := os.ReadFile(image.Path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the image that was there is damaged (%v)", err)
	}
}

func TestMakeEndsWithItsContext(t *testing.T) {
	m := newMaker(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.make(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestOnlyOneProcessMakesABundle(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	// It waits for as long as it may.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v, want it to wait", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	unlock()
}

// The recipes of the real clone: each has what Make looks for.
func TestEachStockImageHasARecipe(t *testing.T) {
	for _, s := range stockImages() {
		files, err := s.recipe(repository)
		if err != nil {
			t.Error(err)
			continue
		}
		wanted := "rootfs.sh"
		if s.Build.GoTool != "" {
			wanted = "go.sum"
		}
		if !slices.Contains(files, s.Name+"/"+wanted) {
			t.Errorf("%s: no %s among %q", s.Name, wanted, files)
		}
		if !strings.Contains(s.Reference, ":") {
			t.Errorf("%s: its tag is not pinned", s.Reference)
		}
	}
}

// Consul's entrypoint belongs to a module of its own, which ./... does not reach.
func TestConsulEntrypoint(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "./entrypoint")
	cmd.Dir = filepath.Join(repository, imagesDir, "consul")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
