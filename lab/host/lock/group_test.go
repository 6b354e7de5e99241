package lock

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// await waits until the condition is true.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 5*time.Minute {
			t.Fatalf("not so: %s", what)
		}
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "group")
	if who := Members(dir); len(who) > 0 {
		t.Errorf("nobody ever joined, and there is %v", who)
	}
	one, err := Join(dir, "one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := Join(dir, "two")
	if err != nil {
		t.Fatal(err)
	}
	two.Sign("second", 17)
	if who := Members(dir); len(who) != 2 || !strings.HasPrefix(who[0], "one, process ") || !strings.HasPrefix(who[1], "second, process 17, since ") {
		t.Errorf("members: %v", who)
	}
	one.Leave()
	// As of one that was killed: the file is there, and nobody has it.
	if err := os.WriteFile(filepath.Join(dir, "1-0.lock"), []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	if who := Members(dir); len(who) != 1 {
		t.Errorf("members: %v", who)
	}
	if _, err := os.Stat(filepath.Join(dir, "1-0.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is left of one that is gone: %v", err)
	}
	two.Leave()
	if who := Members(dir); len(who) > 0 {
		t.Errorf("members: %v", who)
	}
}

// What a command has started keeps the lab locked when the command is gone.
func TestLabIsLockedByWhatIsLeft(t *testing.T) {
	t.Parallel()
	lab := &settings.Lab{Dir: t.TempDir()}
	member, err := Join(Working(lab), "`vagrant up`")
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "sh", "-c", "read line")
	child.ExtraFiles = []*os.File{member.File()}
	end, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	member.Sign("`vagrant up`", child.Process.Pid)
	_ = member.File().Close() // as when the command is killed
	if _, err := Lab(lab, "lab up"); !errors.Is(err, ErrHeld) ||
		!strings.Contains(err.Error(), "what another command has started still works on the lab of this clone: `vagrant up`, process ") {
		t.Errorf("while it works: %v", err)
	}
	_ = end.Close()
	_ = child.Wait()
	await(t, "the lab can be locked", func() bool {
		release, err := Lab(lab, "lab up")
		if err == nil {
			release()
		}
		return err == nil
	})
}
