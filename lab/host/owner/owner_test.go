package owner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// clone makes a clone with an identity.
func clone(t *testing.T, dir string) Clone {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := Sign(dir)
	if err != nil || c.ID == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	return c
}

// mark is what is put on things that are made of a clone.
func mark(c Clone) Mark { return Mark{Lab: "blue", Folder: c.Dir, Clone: c.ID, Inode: inode(c.Dir)} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhose(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		want Whose
		// change does something to the clone in a, and returns who asks.
		change func(t *testing.T, a Clone, m *Mark) Clone
	}{
		"its own": {Ours, func(_ *testing.T, a Clone, _ *Mark) Clone { return a }},
		"through a link": {Ours, func(t *testing.T, a Clone, _ *Mark) Clone {
			link := a.Dir + "-link"
			must(t, os.Symlink(a.Dir, link))
			return Of(link)
		}},
		"through a link, without identity": {Ours, func(t *testing.T, a Clone, m *Mark) Clone {
			m.Clone, m.Inode = "", ""
			link := a.Dir + "-link"
			must(t, os.Symlink(a.Dir, link))
			return Of(link)
		}},
		"moved": {Ours, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.Rename(a.Dir, a.Dir+"-moved"))
			return Of(a.Dir + "-moved")
		}},
		"moved, another one in its place": {Ours, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.Rename(a.Dir, a.Dir+"-moved"))
			clone(t, a.Dir)
			return Of(a.Dir + "-moved")
		}},
		"in the place of one that was moved": {Stray, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.Rename(a.Dir, a.Dir+"-moved"))
			return clone(t, a.Dir)
		}},
		"elsewhere, and one in the place of one that was moved": {Stray, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.Rename(a.Dir, a.Dir+"-moved"))
			clone(t, a.Dir)
			return clone(t, a.Dir+"-other")
		}},
		".lab deleted": {Forsaken, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.RemoveAll(filepath.Join(a.Dir, ".lab")))
			return Of(a.Dir)
		}},
		".lab deleted and made again": {Forsaken, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.RemoveAll(filepath.Join(a.Dir, ".lab")))
			return clone(t, a.Dir)
		}},
		"another's": {Others, func(t *testing.T, a Clone, _ *Mark) Clone { return clone(t, a.Dir+"-other") }},
		"another's, whose .lab was deleted": {Others, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.RemoveAll(filepath.Join(a.Dir, ".lab")))
			return clone(t, a.Dir+"-other")
		}},
		"of a clone that is gone": {Stray, func(t *testing.T, a Clone, _ *Mark) Clone {
			must(t, os.RemoveAll(a.Dir))
			return clone(t, a.Dir+"-other")
		}},
		"no lab's": {Others, func(_ *testing.T, a Clone, m *Mark) Clone { *m = Mark{}; return a }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := clone(t, filepath.Join(t.TempDir(), "a"))
			m := mark(a)
			asks := tt.change(t, a, &m)
			if got := asks.Whose(m); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// A copy must not take its original's lab for its own, nor a clone that was moved be taken for a copy.
func TestCheck(t *testing.T) {
	t.Parallel()
	a := clone(t, filepath.Join(t.TempDir(), "a"))
	copied := a.Dir + "-copy"
	must(t, os.CopyFS(copied, os.DirFS(a.Dir)))
	var is *CopyError
	if err := Check(copied); !errors.As(err, &is) || is.Original != a.Dir || !strings.Contains(err.Error(), "remove .lab and .vagrant here first") {
		t.Errorf("a copy: %v", err)
	}
	must(t, Check(a.Dir))
	link := a.Dir + "-link"
	must(t, os.Symlink(a.Dir, link))
	must(t, Check(link))

	must(t, os.Rename(a.Dir, a.Dir+"-moved"))
	must(t, Check(a.Dir+"-moved"))
	moved, err := Sign(a.Dir + "-moved")
	if err != nil || moved.ID != a.ID {
		t.Errorf("its identity did not move with it: %+v, %v", moved, err)
	}
	// The copy outlived the place of its original, but not the original.
	if err := Check(copied); err != nil {
		t.Errorf("nobody is where the original was: %v", err)
	}
	must(t, Check(moved.Dir))
}

// Two commands at once give a clone one identity.
func TestSignAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			c, err := Sign(dir)
			if err != nil {
				t.Error(err)
			}
			ids[i] = c.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("identities %v", ids)
		}
	}
	must(t, os.WriteFile(file(dir), []byte("half"), 0o600))
	if c, err := Sign(dir); err != nil || c.ID == "" {
		t.Errorf("a damaged one: %+v, %v", c, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, ".lab"))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
