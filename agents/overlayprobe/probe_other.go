//go:build !linux

package overlayprobe

import "errors"

func probeFrom(int, []Target) ([]Finding, error) {
	return nil, errors.New("network namespaces are Linux's")
}
