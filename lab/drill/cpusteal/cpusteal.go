// Package cpusteal tells how much of the processors' time this machine was kept from by the host it runs on: "steal time", as Linux counts it
// (/proc/stat). A laptop has none of it. A virtual machine whose host is busy has, and what it measures then, it measures of the host.
package cpusteal

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Reading is what the processors, taken together, did since this machine started, in seconds.
type Reading struct {
	// Busy is how long they worked. Stolen is how long they had something to do, and the host did not let them.
	Busy, Stolen float64
}

// Read reads it. Systems that do not count it, all but Linux, give an error.
func Read() (Reading, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return Reading{}, fmt.Errorf("read the time stolen by the host: %w", err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return Reading{}, fmt.Errorf("read the time stolen by the host: %w", err)
	}
	c := stat.CPUTotal
	return Reading{Busy: c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ, Stolen: c.Steal}, nil
}

// Share is the part of the time that was wanted since an earlier reading, from 0 to 1, that was stolen.
func (r Reading) Share(since Reading) float64 {
	busy, stolen := max(r.Busy-since.Busy, 0), max(r.Stolen-since.Stolen, 0)
	if stolen == 0 {
		return 0
	}
	return stolen / (busy + stolen)
}

// Clock measures time as this machine has it: while a third of its time is stolen, a second counts two thirds. It is for one goroutine.
type Clock struct {
	read      func() (Reading, error)
	last      Reading
	at, begun time.Time
	lost      time.Duration
}

// NewClock starts a clock. Where nothing is known of stolen time it is an ordinary one.
func NewClock(read func() (Reading, error)) *Clock {
	now := time.Now()
	c := &Clock{read: read, at: now, begun: now}
	c.last, _ = read() // an ordinary clock, then
	return c
}

// Elapsed is the time since the start, without what was lost. It looks at the share since it was asked last: ask often.
func (c *Clock) Elapsed() time.Duration {
	now := time.Now()
	if r, err := c.read(); err == nil {
		c.lost += time.Duration(r.Share(c.last) * float64(now.Sub(c.at)))
		c.last = r
	}
	c.at = now
	return now.Sub(c.begun) - c.lost
}

// Lost is what was lost until it was last asked what had elapsed.
func (c *Clock) Lost() time.Duration { return c.lost }
