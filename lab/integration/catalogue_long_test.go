//go:build integration && long

package integration

import "testing"

// Every drill passes on a healthy lab.
func TestEveryDrillPasses(t *testing.T) {
	l := open(t)
	for _, d := range l.possible(t) {
		t.Run(d.ID, func(t *testing.T) { l.drillsPass(t, d.ID) })
	}
}
