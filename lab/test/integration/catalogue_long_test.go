//go:build integration && long

package integration

import (
	"testing"

	"github.com/swarmlab/swarmlab/lab/drill"
)

// Every drill passes on a healthy lab.
func TestEveryDrillPasses(t *testing.T) {
	l := open(t)
	catalogue, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range catalogue {
		t.Run(d.ID, func(t *testing.T) {
			if why := l.unable(t, d); why != "" {
				t.Skip(why)
			}
			l.drillsPass(t, d.ID)
		})
	}
}
