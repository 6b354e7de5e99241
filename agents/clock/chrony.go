package clock

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// Tracking is what chrony says of the clock that it keeps.
type Tracking struct {
	// Source is what the clock is synchronised to: an address, or the name of a reference clock such as "PPS". It is [Local] for a clock
	// that is synchronised to nothing but serves others all the same, and empty for one that is not synchronised.
	Source string
	// Stratum is the number of hops to a reference clock, 1…15; 0 when not synchronised.
	Stratum int
}

// Local is the source of a clock that runs by itself, by chrony's directive of that name.
const Local = "local"

const (
	// trackingFields is how many fields `chronyc -c tracking` prints; the first, second, third and last are used.
	trackingFields = 14
	// localReference is the reference id of chrony's local mode: 127.127.1.1.
	localReference = "7F7F0101"
	unsynchronised = "Not synchronised"
	maxStratum     = 15
)

// ParseTracking reads what `chronyc -n -c tracking` prints: reference id, address or name, stratum, and so on until the leap status.
func ParseTracking(text string) (Tracking, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return Tracking{}, fmt.Errorf("%.100q is not what `chronyc -c tracking` prints: %w", text, err)
	}
	if len(fields) != trackingFields {
		return Tracking{}, fmt.Errorf("%.100q is not what `chronyc -c tracking` prints: %d fields, not %d", text, len(fields), trackingFields)
	}
	id, source, leap := fields[0], fields[1], fields[trackingFields-1]
	stratum, err := strconv.Atoi(fields[2])
	if err != nil || stratum < 0 {
		return Tracking{}, fmt.Errorf("`chronyc -c tracking` says a stratum of %.100q", fields[2])
	}
	switch {
	case leap == unsynchronised || stratum == 0 || stratum > maxStratum:
		return Tracking{}, nil
	case strings.EqualFold(id, localReference):
		return Tracking{Source: Local, Stratum: stratum}, nil
	case source == "":
		return Tracking{}, fmt.Errorf("%.100q names no source", text)
	}
	return Tracking{Source: source, Stratum: stratum}, nil
}
