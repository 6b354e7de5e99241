package widget_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]string{-1: "?", 0: "0", 999: "999", 12_345: "12.3k", 123_456: "123k", 4_500_000: "4.5M"} {
		if got := widget.Number(n); got != want {
			t.Errorf("%v: got %s, want %s", n, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", 3 * time.Minute: "3m", 2 * time.Hour: "2h"} {
		if got := widget.Ago(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

// What others wrote neither moves the cursor nor breaks a line.
func TestPlain(t *testing.T) {
	t.Parallel()
	if got := widget.Plain("a\x1b[2Jb\nc\td\x07e\u009bf"); got != "ab c def" {
		t.Errorf("got %q", got)
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	rows := widget.Chart([]float64{-1, 0, 1, 8, 16}, 6, 2, 16, true)
	if rows[0] != "     █" || rows[1] != "   ▁██" {
		t.Errorf("got %q", rows)
	}
	if rows := widget.Chart([]float64{8, 16, 1}, 3, 2, 16, false); rows[0] != " # " || rows[1] != "###" {
		t.Errorf("got %q", rows)
	}
}

// Fit makes any text exactly so large.
func FuzzFit(f *testing.F) {
	f.Add("one\ntwo \x1b[1mbold\x1b[0m 漢字", 5, 3)
	f.Fuzz(func(t *testing.T, text string, width, height int) {
		width, height = width%200, height%100
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != 0x1b || r == 0x7f }) {
			return
		}
		got := widget.Fit(text, width, height)
		if width <= 0 || height <= 0 {
			if got != "" {
				t.Errorf("got %q", got)
			}
			return
		}
		lines := strings.Split(got, "\n")
		if len(lines) != height {
			t.Fatalf("%d lines, want %d", len(lines), height)
		}
		for _, l := range lines {
			if w := ansi.StringWidth(l); w != width {
				t.Errorf("%d cells, want %d: %q", w, width, l)
			}
		}
	})
}

// A strip says what it shows, how much that is now, and what its height means; a time that is shaded is so behind the bars.
func TestStrip(t *testing.T) {
	t.Parallel()
	th := theme.New(lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii)), nil)
	for name, tt := range map[string]struct {
		values []float64
		shaded []bool
		width  int
		want   []string
	}{
		"few":    {[]float64{0, 5, 10}, nil, 23, []string{"queued         10     #", "    at most    10    ##"}},
		"shaded": {[]float64{0, 5, 10}, []bool{true, true, false}, 23, []string{"queued         10   ::#", "    at most    10   :##"}},
		"more than fit": {
			[]float64{10, 10, 0, 5, 10},
			[]bool{true, true, false, true, false},
			21,
			[]string{"queued         10  :#", "    at most    10  ##"},
		},
		"nobody tells": {[]float64{-1}, nil, 20, []string{"queued          ?   ", "    at most     1   "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := widget.Strip(th, th.Warn, "queued", tt.values, tt.shaded, tt.width, 2)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
