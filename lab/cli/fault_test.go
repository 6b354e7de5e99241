package cli

import (
	"math"
	"strings"
	"testing"
)

func TestParseShareAndRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"20%": 0.2, "0.5%": 0.005, "100%": 1, "0%": 0, "-1%": -0.01} {
		if got, err := parseShare(text); err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]uint64{"64KiB": 64 << 10, "1.5MiB/s": 3 << 19, "1GiB": 1 << 30, "0KiB": 0} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "20", "twenty%", "KiB", "64", "64kB", "-1KiB", "1e300GiB", "NaNKiB", "64 KiB/s/s"} {
		if _, err := parseRate(text); err == nil {
			t.Errorf("%q is a rate", text)
		}
		if _, err := parseShare(text); err == nil {
			t.Errorf("%q is a share", text)
		}
	}
}

// What is shown of a flag's value is what gives it.
func FuzzParseShareAndRate(f *testing.F) {
	for _, text := range []string{"20%", "1e-9%", "NaN%", "64KiB", "1.5MiB/s", "0x1p4GiB", "", "%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if share, err := parseShare(text); err == nil && share != 0 && !math.IsNaN(share) && !math.IsInf(share, 0) {
			again, err := parseShare(shareFlag{&share}.String())
			if err != nil || math.Abs(again-share) > 1e-9*math.Abs(share) {
				t.Errorf("%q: %v, then %v, %v", text, share, again, err)
			}
		}
		if rate, err := parseRate(text); err == nil && (rate > 1<<62 || !strings.Contains(text, "iB")) {
			t.Errorf("%q: %d bytes a second", text, rate)
		}
	})
}
