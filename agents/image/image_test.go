package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/engine/enginetest"
	"github.com/swarmlab/swarmlab/agents/image"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// archive is a tar of files by name.
func archive(t *testing.T, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))})
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReferences(t *testing.T) {
	tests := []struct {
		name    string
		content []byte
		want    []string
		err     string
	}{
		{"one", archive(t, "layer.tar", "x", "manifest.json", `[{"RepoTags":["redis:8.0"]}]`), []string{"redis:8.0"}, ""},
		{"two, by another path", archive(t, "./manifest.json", `[{"RepoTags":["a:1"]},{"RepoTags":["b:1","b:2"]}]`), []string{"a:1", "b:1", "b:2"}, ""},
		{"untagged", archive(t, "manifest.json", `[{"RepoTags":null}]`), nil, ""},
		{"no image", archive(t, "etc/passwd", "root"), nil, "no manifest.json"},
		{"broken manifest", archive(t, "manifest.json", `[{`), nil, "manifest.json"},
		{"no tar", []byte(strings.Repeat("hello", 200)), nil, "read the archive"},
		{"empty", nil, nil, "no manifest.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := image.References(bytes.NewReader(tt.content))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func FuzzReferences(f *testing.F) {
	f.Add([]byte("manifest.json"))
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "manifest.json", Size: 2}), w.Close()); err == nil {
		f.Add(out.Bytes())
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		refs, err := image.References(bytes.NewReader(content))
		if err != nil && refs != nil {
			t.Errorf("both %v and %v", refs, err)
		}
	})
}

func TestProvide(t *testing.T) {
	bundle := t.TempDir()
	content := archive(t, "manifest.json", `[{"RepoTags":["redis:8.0"]}]`)
	if err := os.WriteFile(filepath.Join(bundle, "redis.tar"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "broken.tar"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := func() (*enginetest.Engine, *image.Source) {
		e := enginetest.New()
		e.Bundle = map[string][]string{string(content): {"redis:8.0"}}
		return e, image.New(e, bundle, t.TempDir())
	}

	e, s := fresh()
	e.AddImage("redis:8.0", nil)
	if err := s.Provide(t.Context(), "redis:8.0"); err != nil || e.Calls("Load")+e.Calls("Pull") != 0 {
		t.Errorf("it was there: %v", err)
	}

	e, s = fresh()
	e.Registry = []string{"redis:8.0"}
	if err := s.Provide(t.Context(), engine.Reference("redis:8.0")); err != nil || e.Calls("Load") != 1 || e.Calls("Pull") != 0 {
		t.Errorf("it is in the bundle: %v", err)
	}

	e, s = fresh()
	e.Registry = []string{"nginx:1"}
	if err := s.Provide(t.Context(), "nginx:1"); err != nil || e.Calls("Load") != 0 {
		t.Errorf("it is in the registry: %v", err)
	}

	_, s = fresh()
	err := s.Provide(t.Context(), "nginx:1")
	if err == nil {
		t.Fatal("it is nowhere")
	}
	for _, want := range []string{"nginx:1", "no registry in reach", "does not hold it", "broken.tar", "make bundle"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}

	e, s = fresh()
	e.Bundle = nil // the engine says it loaded, but what the manifest promised is not there
	if err := s.Provide(t.Context(), "redis:8.0"); err == nil || !strings.Contains(err.Error(), "has no redis:8.0 in it") {
		t.Errorf("got %v", err)
	}
}

func TestBuild(t *testing.T) {
	app := t.TempDir()
	folder := filepath.Join(app, "web")
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(folder, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(content), mode)
		}
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("Dockerfile", "FROM scratch", 0o644)
	write("web", "binary", 0o755)
	e := enginetest.New()
	s := image.New(e, t.TempDir(), app)
	hash := func() string {
		t.Helper()
		h, err := s.Hash("web")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := hash()
	if err := s.Build(t.Context(), "web:latest", "web", map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	built, err := e.Image(t.Context(), "web:latest")
	if diff := cmp.Diff(map[string]string{"a": "b", reconcile.LabelContext: first}, built.Labels); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}

	if err := os.Chtimes(filepath.Join(folder, "web"), time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if hash() != first {
		t.Error("a touched file is no change")
	}
	write("web", "Binary", 0o755) // same size
	second := hash()
	if second == first {
		t.Error("content changed, the hash did not")
	}
	write("web", "Binary", 0o644)
	if hash() == second {
		t.Error("it is not executable any more, and the hash is the same")
	}
	write("web", "Binary", 0o755)
	write("static/style.css", "", 0o644)
	if hash() == second {
		t.Error("a file came, and the hash is the same")
	}

	if err := os.Remove(filepath.Join(folder, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	if err := s.Build(t.Context(), "web:latest", "web", nil); err == nil || !strings.Contains(err.Error(), "web:latest") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Hash("missing"); err == nil || !strings.Contains(err.Error(), filepath.Join(app, "missing")) {
		t.Errorf("got %v", err)
	}
}
