package usage

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

const patience = 5 * time.Minute

// inChild is set for a process that uses the lab of that folder until it is killed.
const inChild = "USAGE_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(inChild); dir != "" {
		if _, _, err := Begin(context.Background(), &settings.Lab{Dir: dir}, "`child`"); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("using\n") //nolint:errcheck // the parent notices
		select {}
	}
	os.Exit(m.Run())
}

func silent(string) {}

func TestCloseTellsAndWaits(t *testing.T) {
	t.Parallel()
	lab := &settings.Lab{Dir: t.TempDir()}
	using, end, err := Begin(t.Context(), lab, "`lab load`")
	if err != nil {
		t.Fatal(err)
	}
	if users := Users(lab); len(users) != 1 || !strings.HasPrefix(users[0], "`lab load`, process ") {
		t.Errorf("users: %v", users)
	}
	told := make(chan error, 1)
	go func() {
		<-using.Done()
		told <- context.Cause(using)
		end()
	}()
	users, open, err := Close(t.Context(), lab, "`lab reset`", patience, silent)
	if err != nil || len(users) != 1 {
		t.Fatalf("%v, %v", users, err)
	}
	var closed *ClosedError
	if err := <-told; !errors.As(err, &closed) || !strings.HasPrefix(closed.By, "`lab reset`, process ") {
		t.Errorf("the load was told %v", err)
	}
	if _, _, err := Begin(t.Context(), lab, "`lab load`"); !errors.As(err, &closed) || !strings.Contains(err.Error(), "try again when that is done") {
		t.Errorf("another one while it is closed: %v", err)
	}
	open()
	_, again, err := Begin(t.Context(), lab, "`lab load`")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if users := Users(lab); len(users) > 0 {
		t.Errorf("after the end: %v", users)
	}
}

func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	lab := &settings.Lab{Dir: t.TempDir()}
	_, end, err := Begin(t.Context(), lab, "`lab load`")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	var still *StillUsedError
	_, open, err := Close(t.Context(), lab, "`lab reset`", time.Millisecond, silent)
	if !errors.As(err, &still) || !strings.Contains(err.Error(), "`lab load`, process ") {
		t.Fatalf("got %v", err)
	}
	open()
	ctx, cancel := context.WithCancel(t.Context())
	if _, open, err := Close(ctx, lab, "`lab reset`", patience, func(string) { cancel() }); !errors.Is(err, context.Canceled) || open != nil {
		t.Errorf("interrupted: %v", err)
	}
	if err := closed(lab); err != nil {
		t.Errorf("closed after an interrupt: %v", err)
	}
}

// One that was killed uses nothing any more, and cannot be told.
func TestKilledUser(t *testing.T) {
	t.Parallel()
	lab := &settings.Lab{Dir: t.TempDir()}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), inChild+"="+lab.Dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if users := Users(lab); len(users) != 1 {
		t.Errorf("users: %v", users)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	users, open, err := Close(t.Context(), lab, "`lab down`", patience, silent)
	if err != nil || len(users) > 0 {
		t.Fatalf("%v, %v", users, err)
	}
	open()
}
