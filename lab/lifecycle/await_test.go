package lifecycle

import (
	"testing"
	"time"
)

func TestWaitsUntil(t *testing.T) {
	begun := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		changed time.Duration
		want    time.Duration
	}{
		{"nothing changed yet", 0, 4 * time.Minute},
		{"a lab that changes is waited for", 3 * time.Minute, 7 * time.Minute},
		{"long", 15 * time.Minute, 19 * time.Minute},
		{"not for ever", 19 * time.Minute, 20 * time.Minute},
		{"over", 30 * time.Minute, 20 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := waitsUntil(begun, begun.Add(tt.changed), 4*time.Minute).Sub(begun); got != tt.want {
				t.Errorf("given up after %s, want %s", got, tt.want)
			}
		})
	}
}
