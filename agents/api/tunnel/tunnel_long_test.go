//go:build long

package tunnel_test

import "testing"

func TestBytesInAreBytesOutOften(t *testing.T) { bytesInAreBytesOut(t, 100) }
