//go:build integration && long

package integration

import "testing"

// Four and three: more than one of each kind comes and goes at the same time.
func TestScalingFarLosesNoVote(t *testing.T) { open(t).scale(t, 4, 3) }
