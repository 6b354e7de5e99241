//go:build integration && long

package integration

import "testing"

// One node in a few is taken for down all the same, and joins anew: that is met in some of these rounds.
func TestEveryNodeComesBackAgainAndAgain(t *testing.T) {
	l := open(t)
	l.nodesComeBack(t, 5, l.Topology.Nodes)
}
