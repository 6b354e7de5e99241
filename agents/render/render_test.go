package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/GehirnInc/crypt/sha512_crypt"

	"github.com/swarmlab/swarmlab/agents/render"
)

func secrets(t *testing.T, node string) render.Secrets {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stats-password"), []byte("s3cret\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	return render.Secrets{Dir: dir, Node: node}
}

func TestRender(t *testing.T) {
	s := secrets(t, "interlock")
	tests := []struct{ name, text, want, err string }{
		{"plain", "listen 80\n", "listen 80\n", ""},
		{"secret, its newline gone", `password {{secret "stats-password"}}!`, "password s3cret!", ""},
		{"no such secret", `{{secret "other"}}`, "", "this node has no secret other"},
		{"out of the directory", `{{secret "../stats-password"}}`, "", "is no name of a secret"},
		{"hidden", `{{secret ".x"}}`, "", "is no name of a secret"},
		{"a folder", `{{secret "folder"}}`, "", "is not a file"},
		{"unknown function", `{{env "PATH"}}`, "", `function "env" not defined`},
		{"unclosed", `{{secret "stats-password"`, "", "unclosed action"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Render("haproxy.cfg", tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "haproxy.cfg") {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestSHA512Crypt(t *testing.T) {
	const text = `{{sha512crypt "stats-password"}}`
	s := secrets(t, "interlock")
	first, err := s.Render("x", text)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(first), "$6$") || strings.Contains(string(first), "s3cret") {
		t.Errorf("got %s", first)
	}
	if err := sha512_crypt.New().Verify(string(first), []byte("s3cret")); err != nil {
		t.Error(err)
	}
	if again, _ := s.Render("x", text); string(again) != string(first) {
		t.Error("not stable on one node")
	}
	if other, _ := secrets(t, "other").Render("x", text); string(other) == string(first) {
		t.Error("the same on two nodes")
	}
}
