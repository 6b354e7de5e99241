package theme_test

import (
	"bytes"
	"math"
	"strconv"
	"testing"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/tui/theme"
)

func TestUnicode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		want    bool
	}{
		"utf-8":                     {[]string{"LANG=en_US.UTF-8"}, true},
		"without a hyphen":          {[]string{"LANG=C.utf8"}, true},
		"none":                      {nil, false},
		"another encoding":          {[]string{"LANG=de_DE.ISO-8859-1"}, false},
		"all goes before the rest":  {[]string{"LANG=C.UTF-8", "LC_ALL=C"}, false},
		"an empty one says nothing": {[]string{"LANG=C.UTF-8", "LC_ALL="}, true},
		"the console of Linux":      {[]string{"LANG=C.UTF-8", "TERM=linux"}, false},
		"a terminal of old":         {[]string{"LANG=C.UTF-8", "TERM=vt220"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := theme.Unicode(tt.environ); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// Text can be read on black and on white: a contrast of 4.5 to 1, as WCAG 2.2 wants it (1.4.3).
func TestContrast(t *testing.T) {
	t.Parallel()
	for name, dark := range map[string]bool{"dark": true, "light": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := lipgloss.NewRenderer(&bytes.Buffer{}, termenv.WithProfile(termenv.ANSI256))
			r.SetHasDarkBackground(dark)
			th := theme.New(r, []string{"LANG=C.UTF-8"})
			ground := 1.0
			if dark {
				ground = 0
			}
			for what, style := range map[string]lipgloss.Style{"good": th.Good, "warn": th.Warn, "bad": th.Bad, "dim": th.Dim, "accent": th.Accent} {
				colour, ok := style.GetForeground().(lipgloss.AdaptiveColor)
				if !ok {
					t.Fatalf("%s does not adapt", what)
				}
				value := colour.Light
				if dark {
					value = colour.Dark
				}
				l := luminance(t, value)
				contrast := (max(l, ground) + 0.05) / (min(l, ground) + 0.05)
				if contrast < 4.5 {
					t.Errorf("%s, colour %s: %.1f to 1", what, value, contrast)
				}
			}
		})
	}
}

// luminance of a colour of the 256 that terminals have, by its number (WCAG 2.2).
func luminance(t *testing.T, number string) float64 {
	t.Helper()
	n, err := strconv.Atoi(number)
	if err != nil || n < 16 || n > 255 {
		t.Fatalf("%s is none of the colours that look the same everywhere", number)
	}
	var rgb [3]int
	if n >= 232 {
		grey := 8 + 10*(n-232)
		rgb = [3]int{grey, grey, grey}
	} else {
		steps := [6]int{0, 95, 135, 175, 215, 255}
		rgb = [3]int{steps[(n-16)/36], steps[(n-16)/6%6], steps[(n-16)%6]}
	}
	var linear [3]float64
	for i, c := range rgb {
		if v := float64(c) / 255; v <= 0.04045 {
			linear[i] = v / 12.92
		} else {
			linear[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// Where nobody wants colours there are none.
func TestWithoutColours(t *testing.T) {
	t.Parallel()
	r := lipgloss.NewRenderer(&bytes.Buffer{}, termenv.WithProfile(termenv.Ascii))
	th := theme.New(r, nil)
	if got := th.Bad.Render("x") + th.Good.Render("o"); got != "xo" {
		t.Errorf("%q", got)
	}
}
