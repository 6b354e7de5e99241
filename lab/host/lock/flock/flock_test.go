package flock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	is := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
	one, two, three := open(), open(), open()
	is("nobody has it", TryLock(one), nil)
	is("one has it, for itself", TryLock(two), ErrLocked)
	is("one has it, to share", TryRLock(two), ErrLocked)
	// Who holds a lock says in the file who that is: others read it.
	if _, err := one.WriteString("one"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "one" {
		t.Fatalf("%q, %v", text, err)
	}
	is("given back", Unlock(one), nil)
	is("shared", TryRLock(two), nil)
	is("shared by two", TryRLock(three), nil)
	is("shared, for itself", TryLock(one), ErrLocked)
	// A lock goes with its file.
	is("closed", errors.Join(two.Close(), three.Close()), nil)
	is("nobody has it any more", TryLock(one), nil)

	// Who waits gets it when it is given back, and not before.
	four := open()
	has := make(chan error, 1)
	go func() { has <- Lock(four) }()
	is("given back to who waits", Unlock(one), nil)
	is("waited for", <-has, nil)
	is("had by who waited", TryLock(one), ErrLocked)
}
