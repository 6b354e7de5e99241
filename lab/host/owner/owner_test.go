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
	isCopy := func(err error) bool {
		var is *CopyError
		return errors.As(err, &is) && strings.Contains(err.Error(), "remove .lab and .vagrant here first")
	}
	isUnsettled := func(err error) bool {
		var is *UnsettledError
		return errors.As(err, &is) && strings.Contains(err.Error(), "remove .lab and .vagrant here") && strings.Contains(err.Error(), "/.lab/moved`")
	}
	fine := func(err error) bool { return err == nil }
	copied := func(t *testing.T, from, to string) string {
		must(t, os.CopyFS(to, os.DirFS(from)))
		return to
	}
	moved := func(t *testing.T, from, to string) string {
		must(t, os.Rename(from, to))
		return to
	}
	for name, tt := range map[string]struct {
		want func(error) bool
		// change does something to the clone in a, and returns what is looked at.
		change func(t *testing.T, a string) string
	}{
		"as it was": {fine, func(_ *testing.T, a string) string { return a }},
		"through a link": {fine, func(t *testing.T, a string) string {
			must(t, os.Symlink(a, a+"-link"))
			return a + "-link"
		}},
		"a copy": {isCopy, func(t *testing.T, a string) string { return copied(t, a, a+"-copy") }},
		"moved":  {fine, func(t *testing.T, a string) string { return moved(t, a, a+"-moved") }},
		"moved, another clone in its place": {fine, func(t *testing.T, a string) string {
			moved(t, a, a+"-moved")
			clone(t, a)
			return a + "-moved"
		}},
		"moved, and copied since": {fine, func(t *testing.T, a string) string {
			copied(t, moved(t, a, a+"-moved"), a+"-copy")
			return a + "-moved"
		}},
		"a copy of one that was moved": {isUnsettled, func(t *testing.T, a string) string {
			return copied(t, moved(t, a, a+"-moved"), a+"-copy")
		}},
		"a copy of one that was moved since": {isUnsettled, func(t *testing.T, a string) string {
			copied(t, a, a+"-copy")
			moved(t, a, a+"-moved")
			return a + "-copy"
		}},
		"a copy of one that was moved, another clone in its place": {isUnsettled, func(t *testing.T, a string) string {
			copied(t, moved(t, a, a+"-moved"), a+"-copy")
			clone(t, a)
			return a + "-copy"
		}},
		"a copy of one that was moved, whose record was renewed": {isCopy, func(t *testing.T, a string) string {
			moved(t, a, a+"-moved")
			Renew(a + "-moved")
			return copied(t, a+"-moved", a+"-copy")
		}},
		"somebody said that it was moved": {fine, func(t *testing.T, a string) string {
			copied(t, moved(t, a, a+"-moved"), a+"-copy")
			must(t, os.WriteFile(filepath.Join(a+"-copy", ".lab", "moved"), nil, 0o600))
			return a + "-copy"
		}},
		"somebody said that a copy was moved": {isCopy, func(t *testing.T, a string) string {
			must(t, os.WriteFile(filepath.Join(a, ".lab", "moved"), nil, 0o600))
			return copied(t, a, a+"-copy")
		}},
		"an older version's record, copied and moved": {fine, func(t *testing.T, a string) string {
			must(t, os.WriteFile(file(a), []byte(Of(a).ID+"\n"+a+"\n"), 0o600))
			return copied(t, moved(t, a, a+"-moved"), a+"-copy")
		}},
		"an older version's record, copied": {isCopy, func(t *testing.T, a string) string {
			must(t, os.WriteFile(file(a), []byte(Of(a).ID+"\n"+a+"\n"), 0o600))
			return copied(t, a, a+"-copy")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := clone(t, filepath.Join(t.TempDir(), "a"))
			dir := tt.change(t, a.Dir)
			if err := Check(dir); !tt.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The record of where a clone is follows it, and what somebody said of it holds once.
func TestRenew(t *testing.T) {
	t.Parallel()
	a := clone(t, filepath.Join(t.TempDir(), "a\n12"))
	for name, text := range map[string]string{
		"an older version's":     a.ID + "\n" + filepath.Dir(a.Dir) + "\n",
		"of another place":       a.ID + "\n/elsewhere\n" + inode(a.Dir) + "\n",
		"of another folder":      a.ID + "\n" + a.Dir + "\n1\n",
		"without an inode":       a.ID + "\n" + a.Dir + "\n\n",
		"as it is to be already": a.ID + "\n" + a.Dir + "\n" + inode(a.Dir) + "\n",
	} {
		must(t, os.WriteFile(file(a.Dir), []byte(text), 0o600))
		must(t, os.WriteFile(filepath.Join(a.Dir, ".lab", "moved"), nil, 0o600))
		Renew(a.Dir)
		if got := Of(a.Dir); got != a || got.made != a.Dir || got.inode != inode(a.Dir) {
			t.Errorf("%s: %+v, want %+v", name, got, a)
		}
		entries, err := os.ReadDir(filepath.Join(a.Dir, ".lab"))
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: left behind: %v, %v", name, entries, err)
		}
	}
	none := t.TempDir()
	Renew(none)
	if entries, err := os.ReadDir(none); err != nil || len(entries) != 0 {
		t.Errorf("a clone without an identity was given something: %v, %v", entries, err)
	}
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
