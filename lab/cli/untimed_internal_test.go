package cli

import (
	"testing"
	"time"
)

// The option reaches the runner. A whole run takes a lab, and as long as it does.
func TestUntimedReachesTheRunner(t *testing.T) {
	t.Parallel()
	for _, untimed := range []bool{true, false} {
		if o := (drillFlags{untimed: untimed}).options(time.Minute); o.Untimed != untimed || o.SteadyWithin != time.Minute {
			t.Errorf("untimed %v: %+v", untimed, o)
		}
	}
}
