package main

import (
	"os"
	"os/user"
	"runtime"
	"testing"
)

// Cron, cloud-init and systemd start programs without a home, and what lab starts wants one.
func TestEnsureHome(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has other variables for that")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for before, want := range map[string]string{"": me.HomeDir, "/somewhere": "/somewhere"} {
		t.Setenv("HOME", before)
		ensureHome()
		if got := os.Getenv("HOME"); got != want {
			t.Errorf("HOME was %q and is %q, want %q", before, got, want)
		}
	}
	if err := os.Unsetenv("HOME"); err != nil { // t.Setenv gives it back
		t.Fatal(err)
	}
	ensureHome()
	if got := os.Getenv("HOME"); got != me.HomeDir {
		t.Errorf("HOME was not set and is %q, want %q", got, me.HomeDir)
	}
}
