package bench

import (
	"encoding/json"
	"strings"
	"testing"
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
	var r Report
	r.Add(Row{Part: "capture", Name: "votes", Value: 30000, Unit: "votes/s", Of: "no Redis", Limit: 40000, Target: AtLeast(0.8)})
	r.Add(Row{Part: "capture", Name: "p99", Value: 12.34, Unit: "ms", Target: AtMost(25)})
	r.Add(Row{Part: "drain", Name: "votes", Value: 0.5, Unit: "s"})
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	want := `
part     measured  value  unit     limit  of        ratio  target
capture  votes     30000  votes/s  40000  no Redis  0.75   ≥ 0.8 MISSED
capture  p99       12.3   ms                               ≤ 25
drain    votes     0.5    s
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if "\n"+got.String() != want {
		t.Errorf("got\n%s\nwant%s", got.String(), want)
	}
	text, err := json.Marshal(r.Rows)
	if err != nil || !strings.Contains(string(text), `"met":false`) || !strings.Contains(string(text), `"ratio":0.75`) {
		t.Errorf("%s, %v", text, err)
	}
}
