package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file of the recipe takes the place of one of a module that the tool is made of; what a module does not have is an error.
func TestOverlay(t *testing.T) {
	for _, tt := range []struct {
		name, path, want string
	}{
		{"no overlay", "", "original other"},
		{"a file of a package below the module", "example.org/dep/word/word.go", "replaced other"},
		{"a file that is not there", "example.org/dep/word/new.go", "the overlay has example.org/dep/word/new.go, which its module does not have"},
		{"a package that is not there", "example.org/dep/gone/gone.go", "example.org/dep/gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMaker(t)
			recipe := filepath.Join(m.root, imagesDir, "tiny")
			files := map[string]string{
				"go.mod":            "module example.org/tiny\n\ngo 1.26\n\nrequire example.org/dep v1.0.0\n\nreplace example.org/dep => ./dep\n",
				"tool/main.go":      "package main\n\nimport \"example.org/dep/word\"\n\nfunc main() { println(word.Word, word.Other) }\n",
				"dep/go.mod":        "module example.org/dep\n\ngo 1.26\n",
				"dep/word/word.go":  "package word\n\nconst Word = \"original\"\n",
				"dep/word/other.go": "package word\n\nconst Other = \"other\"\n",
			}
			if tt.path != "" {
				files["overlay/"+tt.path] = "package word\n\nconst Word = \"replaced\"\n"
			}
			for path, content := range files {
				path = filepath.Join(recipe, filepath.FromSlash(path))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, path, content)
			}
			if err := os.MkdirAll(m.work, 0o755); err != nil {
				t.Fatal(err)
			}
			modfile, err := m.overlay(t.Context(), recipe)
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				return
			}
			run := m.goCommand(t.Context(), recipe, "run", "-modfile="+modfile, "./tool")
			out, err := run.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if original, err := os.ReadFile(filepath.Join(recipe, "dep/word/word.go")); err != nil || !strings.Contains(string(original), "original") {
				t.Errorf("the module itself was changed: %s, %v", original, err)
			}
		})
	}
}
