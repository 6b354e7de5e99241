//go:build integration && long

package integration

import (
	"syscall"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/power"
)

func TestDrillsOutliveNeitherCommandNorPower(t *testing.T) {
	l := open(t)
	l.drillOutlives(t, "the command is killed", false, func(t *testing.T, d *drilling) { d.signal(t, syscall.SIGKILL) })
	l.drillOutlives(t, "the node loses power", true, func(t *testing.T, _ *drilling) {
		l.kill(t, "store")
		l.start(t, "store")
	})
}

// The reaper gives a node its power back when the command was killed.
func TestTheReaperGivesPowerBack(t *testing.T) {
	l := open(t)
	d, o := l.startPowerOff(t)
	began := time.Now()
	d.signal(t, syscall.SIGKILL)
	l.waitPower(t, power.StateRunning)
	t.Logf("the power was on after %.1f s", time.Since(began).Seconds())
	l.noOutage(t, o)
	l.waitReady(t)
	t.Logf("ready after %.1f s", time.Since(began).Seconds())
}
