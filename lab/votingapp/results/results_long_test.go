//go:build long

package results

import "testing"

func TestStreamToAThousand(t *testing.T) { stream(t, 1000) }
