package skew

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// off is by how much the clock is wrong. It is exact in a bubble, where no time passes while a test computes.
func (c *Clock) off() time.Duration { return time.Until(c.Now()) }

func TestTheFileSaysHowWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, theFileSaysHowWrong)
}

func theFileSaysHowWrong(t *testing.T) {
	var said bytes.Buffer
	path := filepath.Join(t.TempDir(), "offset")
	c := New(path, slog.New(slog.NewTextHandler(&said, nil)))
	for _, step := range []struct {
		file string // empty: none
		want time.Duration
		says string // empty: nothing new
	}{
		{"", 0, ""},
		{"-5s\n", -5 * time.Second, "offset=-5s before=0s"},
		{"-5s\n", -5 * time.Second, ""},
		{"1h", time.Hour, "offset=1h0m0s before=-5s"},
		{"61m", 0, "an offset of 1h1m0s"},
		{"61m", 0, ""},
		{"-3.5s", -3500 * time.Millisecond, "offset=-3.5s"},
		{"five seconds", 0, "is no offset"},
		{strings.Repeat("0", 100) + "s", 0, "is no offset"},
		{"5", 0, "is no offset"},
		{"", 0, ""},
		{"\x00", 0, "is no offset"},
		{"90s", 90 * time.Second, "offset=1m30s"},
		{"", 0, "offset=0s before=1m30s"},
	} {
		said.Reset()
		if step.file == "" {
			_ = os.Remove(path)
		} else if err := os.WriteFile(path, []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		c.read()
		if got := c.off(); got != step.want {
			t.Errorf("%q: off by %s, want %s", step.file, got, step.want)
		}
		if text := said.String(); (text == "") != (step.says == "") || !strings.Contains(text, step.says) {
			t.Errorf("%q: it says %q, want %q", step.file, text, step.says)
		}
	}
}

func TestRunFollowsTheFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, runFollowsTheFile)
}

func runFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "offset")
	c := New(path, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for _, want := range []time.Duration{time.Minute, 0} {
		if want == 0 {
			_ = os.Remove(path)
		} else if err := os.WriteFile(path, []byte(want.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(Interval + time.Nanosecond) // one look at the file
		if got := c.off(); got != want {
			t.Errorf("off by %s, want %s", got, want)
		}
	}
}

// Whatever stands in the file: the clock is off by an hour at most.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"-5s", "1h", "1h1ns", "", "0", "-", "1e9s", "9223372036854775807ns", "-2562047h47m16.854775808s", "5s5s\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		offset, err := parse(text)
		if offset < -Most || offset > Most || err != nil && offset != 0 {
			t.Errorf("%q: %s, %v", text, offset, err)
		}
		if err == nil {
			if again, err := parse(offset.String()); again != offset || err != nil {
				t.Errorf("%q: %s, then %s, %v", text, offset, again, err)
			}
		}
	})
}
