package console_test

import (
	"math"
	"testing"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

func TestSpark(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values []int64
		width  int
		want   string
	}{
		{nil, 10, ""},
		{[]int64{0, 0}, 10, "  "},
		{[]int64{5}, 10, "█"},
		{[]int64{0, 1, 2, 3, 4, 5, 6, 7, 8}, 10, " ▂▃▄▅▆▇██"},
		{[]int64{0, 1, 1000}, 10, " ▁█"},
		{[]int64{1, 1, 4, 4, 0}, 3, "▃█ "},
		{[]int64{math.MaxInt64, 1}, 2, "█▁"},
		{[]int64{1, 2}, 0, "█"},
		{[]int64{1, 2}, -30, "█"},
	} {
		if got := console.Spark(tt.values, tt.width); got != tt.want {
			t.Errorf("%v in %d: %q, want %q", tt.values, tt.width, got, tt.want)
		}
	}
}

func TestGauge(t *testing.T) {
	t.Parallel()
	for done, want := range map[float64]string{-1: "░░░░", 0: "░░░░", 0.5: "██░░", 0.99: "███░", 1: "████", 7: "████"} {
		if got := console.Gauge(done, 4); got != want {
			t.Errorf("%g: %q, want %q", done, got, want)
		}
	}
}
