package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Report collects what was measured. Safe for concurrent use.
type Report struct {
	Began time.Time `json:"began"`
	// Machine says what it was measured on.
	Machine string `json:"machine"`
	Rows    []Row  `json:"rows"`

	mu sync.Mutex
}

// Row is one figure.
type Row struct {
	// Part groups rows: capture, drain, end to end.
	Part string `json:"part"`
	// Name says what was measured.
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit of Value and of Limit, as votes/s.
	Unit string `json:"unit"`
	// Of names what Value is compared with, and Limit is its value; empty and 0 if there is nothing to compare with.
	Of    string  `json:"of,omitempty"`
	Limit float64 `json:"limit,omitempty"`
	// Ratio is Value divided by Limit.
	Ratio float64 `json:"ratio,omitempty"`
	// Target bounds Ratio, or Value where there is no limit.
	Target *Target `json:"target,omitempty"`
	// Met tells whether the target was; absent without a target.
	Met *bool `json:"met,omitempty"`
}

// Target is what the project holds itself to.
type Target struct {
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

// AtLeast is a lower bound.
func AtLeast(x float64) *Target { return &Target{AtLeast: x} }

// AtMost is an upper bound.
func AtMost(x float64) *Target { return &Target{AtMost: x} }

func (t Target) met(x float64) bool { return x >= t.AtLeast && (t.AtMost == 0 || x <= t.AtMost) }

func (t Target) String() string {
	if t.AtMost != 0 {
		return "≤ " + short(t.AtMost)
	}
	return "≥ " + short(t.AtLeast)
}

// Add completes a row and keeps it. What a short run was too short to measure, as a quotient by nothing, has no number and is left out.
func (r *Report) Add(row Row) {
	if notNumber(row.Value) || notNumber(row.Limit) {
		return
	}
	judged := row.Value
	if row.Limit != 0 {
		row.Ratio = row.Value / row.Limit
		judged = row.Ratio
	}
	if row.Target != nil {
		met := row.Target.met(judged)
		row.Met = &met
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Rows = append(r.Rows, row)
}

func notNumber(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// Print writes the report as a page of text: when and where, and a table with one line per row, the limit beside the value.
func (r *Report) Print(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(w, "%s, %s\n\n", r.Began.Format(time.RFC3339), r.Machine)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "part\tmeasured\tvalue\tunit\tlimit\tof\tratio\ttarget\t")
	for _, row := range r.Rows {
		limit, ratio, target := "", "", ""
		if row.Limit != 0 {
			limit, ratio = short(row.Limit), fmt.Sprintf("%.2f", row.Ratio)
		}
		if row.Target != nil {
			target = row.Target.String()
			if !*row.Met {
				target += " MISSED"
			}
		}
		fmt.Fprintln(table, strings.Join([]string{row.Part, row.Name, short(row.Value), row.Unit, limit, row.Of, ratio, target, ""}, "\t"))
	}
	return table.Flush()
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// short writes three digits that count, and large numbers in full.
func short(x float64) string {
	switch size := max(x, -x); {
	case size >= 100:
		return fmt.Sprintf("%.0f", x)
	case size >= 10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0")
	default:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
	}
}

// Median is the middle one of values, or the mean of the middle two; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	low, high := sorted[(len(sorted)-1)/2], sorted[len(sorted)/2]
	return (low + high) / 2
}
