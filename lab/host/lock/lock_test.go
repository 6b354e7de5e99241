package lock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func TestLab(t *testing.T) {
	t.Parallel()
	lab := &settings.Lab{Dir: t.TempDir()}
	release, err := Lab(lab, "lab up")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lab(lab, "lab down"); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "`lab up`, process ") {
		t.Errorf("a second one: %v", err)
	}
	release()
	release, err = Lab(lab, "lab down")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// One at a time has the lock, though its file goes each time.
func TestFileKeepsApart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var inside, times atomic.Int32
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for range 20 {
				f, err := Try(path)
				if errors.Is(err, ErrHeld) {
					f, err = Wait(ctx, path)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold it")
				}
				times.Add(1)
				inside.Add(-1)
				f.Remove()
				f.Release()
			}
		})
	}
	group.Wait()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || times.Load() != 120 {
		t.Errorf("%v; taken %d times", err, times.Load())
	}
}

func TestWaitGivesUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	f, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if !Held(path) {
		t.Error("it is locked, and not held")
	}
	defer f.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Wait(ctx, path); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
	f.Release()
	if Held(path) || Held(path+".none") {
		t.Error("nobody has it, and yet it is held")
	}
	if _, err := Try(filepath.Join(path, "nowhere")); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("where no file can be: %v", err)
	}
}
