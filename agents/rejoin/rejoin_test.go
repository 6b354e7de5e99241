package rejoin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPending(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name    string
		silence time.Duration // since the last sign of life; negative: the clock was set back
		lived   bool
		left    bool
		want    time.Duration
	}{
		{name: "never ran", want: 0},
		{name: "left cleanly a moment ago", lived: true, left: true, silence: time.Second, want: 0},
		{name: "killed a moment ago", lived: true, silence: time.Second, want: RejoinDelay - time.Second},
		{name: "killed long ago", lived: true, silence: time.Hour, want: 0},
		{name: "killed exactly Quiet ago", lived: true, silence: RejoinDelay, want: 0},
		{name: "clock set back", lived: true, silence: -time.Hour, want: RejoinDelay},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.lived {
				if err := Beat(dir); err != nil {
					t.Fatal(err)
				}
				at := now.Add(-tt.silence)
				if err := os.Chtimes(filepath.Join(dir, aliveFile), at, at); err != nil {
					t.Fatal(err)
				}
			}
			if err := NoteExit(dir, tt.left); err != nil {
				t.Fatal(err)
			}
			got, err := pending(dir, now)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("pending = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBeatRenews(t *testing.T) {
	dir := t.TempDir()
	if err := Beat(dir); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	path := filepath.Join(dir, aliveFile)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if err := Beat(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(info.ModTime()) > time.Minute {
		t.Errorf("sign of life still dates from %v", info.ModTime())
	}
}

// A clean exit lets one start through; the next one has to earn it again.
func TestAwaitUsesTheCleanExitUp(t *testing.T) {
	dir := t.TempDir()
	if err := Beat(dir); err != nil {
		t.Fatal(err)
	}
	if err := NoteExit(dir, true); err != nil {
		t.Fatal(err)
	}
	if err := Await(t.Context(), dir); err != nil {
		t.Fatalf("after a clean exit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Await(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("after a kill: got %v, want it to wait until cancelled", err)
	}
}

func TestErrorsNameWhatFailed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing", "folder")
	if err := Beat(dir); err == nil {
		t.Error("Beat in a missing folder: no error")
	}
	if err := NoteExit(dir, true); err == nil {
		t.Error("NoteExit in a missing folder: no error")
	}
}
