//go:build long

package controls

import "testing"

func TestManyVotes(t *testing.T) {
	controls(t, size{acknowledge: 400, skew: 2000, kill: 2000, path: 4000})
}
