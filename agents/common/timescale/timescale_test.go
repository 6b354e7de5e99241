package timescale

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 1, "1": 1, "8": 8, "100": 100, "101": 1, "0": 1, "-3": 1, "2.5": 1, " 4": 1, "fast": 1, "99999999999999999999": 1} {
		if got := int(parse(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
