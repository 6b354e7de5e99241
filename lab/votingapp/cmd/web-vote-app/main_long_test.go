//go:build long

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// Those of ten thousand who are slow on purpose are cut off, which takes as long as the limits of a request.
func TestSlowConnectionsOfTenThousandAreCutOff(t *testing.T) {
	tenThousandConnections(t, func(slow []net.Conn) {
		for _, conn := range slow {
			if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("a slow connection is kept for ever")
			}
		}
	})
}
