package webvote

import (
	"context"
	"sync/atomic"
	"time"
)

// patience bounds how long votes wait. Votes that come within one step share a context, and so a timer: a deadline of its own for each of
// them would be a good part of what a vote costs.
type patience struct {
	length, step time.Duration
	current      atomic.Pointer[shared]
}

type shared struct {
	context.Context
	// until is when votes no longer share it.
	until time.Time
	// end is for contexts that nobody waits on.
	end context.CancelFunc
}

// context ends between length and length+step from now.
func (p *patience) context() context.Context {
	now := time.Now()
	have := p.current.Load()
	if have != nil && now.Before(have.until) {
		return have
	}
	next := &shared{until: now.Add(p.step)}
	next.Context, next.end = context.WithTimeout(context.Background(), p.length+p.step)
	if !p.current.CompareAndSwap(have, next) {
		// Somebody else was faster.
		next.end()
		return p.current.Load()
	}
	return next
}
