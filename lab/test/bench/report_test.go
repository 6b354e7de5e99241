package bench

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{5, 1, 4, 2, 100}, 4},
	} {
		if got := Median(tt.values); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	r := Report{Began: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), Machine: "linux/amd64, 2 processors"}
	r.Add(Row{Part: "capture", Name: "votes", Value: 30000, Unit: "votes/s", Of: "no Redis", Limit: 40000, Target: AtLeast(0.8)})
	r.Add(Row{Part: "capture", Name: "p99", Value: 12.34, Unit: "ms", Target: AtMost(25)})
	r.Add(Row{Part: "capture", Name: "votes in a pipeline", Value: math.Inf(1), Unit: "votes"})
	r.Add(Row{Part: "drain", Name: "votes", Value: 0.5, Unit: "s"})
	r.Add(Row{Part: "drain", Name: "read", Value: 2, Unit: "ms", Of: "without rows", Limit: math.NaN()})
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	for line := range strings.Lines(out.String()) {
		page.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	golden(t, "report.txt", page.String())
	text, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", string(text))
}
