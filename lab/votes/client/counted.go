package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Queue tells how many votes of a frontend have been counted, to find out when one's own has: the tally does not change
// visibly when a voter says the same again.
type Queue interface {
	// Depth returns how many votes the frontend captured since it was made and how many of those wait, as of one check.
	// check identifies it: the same value is the same check.
	Depth(ctx context.Context, frontend string) (captured, queued float64, check time.Time, err error)
}

// CastCounted casts a vote and waits until it is counted: until the tally shows it or the frontend that took it has
// handed on all that it held by then. The receipt is valid also with an error, when the vote was acknowledged but not
// seen counted.
func (c *Client) CastCounted(ctx context.Context, vote, cookie string, q Queue) (Receipt, string, Tally, error) {
	before, err := c.AwaitTally(ctx, func(Tally) bool { return true })
	if err != nil {
		return Receipt{}, cookie, Tally{}, explainTimeout(ctx, err)
	}
	newcomer := cookie == ""
	receipt, cookie, err := c.Cast(ctx, vote, cookie)
	if err != nil {
		return Receipt{}, cookie, Tally{}, explainTimeout(ctx, err)
	}
	seen := func(t Tally) bool {
		return t.Of(vote) > before.Of(vote) && (!newcomer || t.Total > before.Total)
	}
	tally, err := c.awaitCounted(ctx, receipt.ServedBy, seen, newcomer, q)
	if err != nil {
		return receipt, cookie, Tally{}, fmt.Errorf("the vote was taken by %s but not seen counted: %w; `lab status` shows where votes wait",
			receipt.ServedBy, explainTimeout(ctx, err))
	}
	return receipt, cookie, tally, nil
}

func (c *Client) awaitCounted(ctx context.Context, frontend string, seen func(Tally) bool, newcomer bool, q Queue) (Tally, error) {
	var drained drain
	for {
		tally, err := c.Tally(ctx)
		if err == nil && seen(tally) {
			return tally, nil
		}
		if !newcomer {
			captured, queued, check, qErr := q.Depth(ctx, frontend)
			if qErr == nil && drained.past(captured, queued, check) {
				// The queue may have drained between the two questions.
				return c.Tally(ctx)
			}
			err = errors.Join(err, qErr)
		}
		select {
		case <-ctx.Done():
			return Tally{}, errors.Join(ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// drain decides when all votes that a frontend held at the start have been counted.
type drain struct {
	checks int
	last   time.Time
	target float64
}

// conclusive is the first check that cannot have begun before the vote was cast: the first may have ended before, and the
// second may have begun before.
const conclusive = 3

// past takes one check and says whether what was held at the conclusive one is counted.
func (d *drain) past(captured, queued float64, check time.Time) bool {
	if !check.Equal(d.last) || d.checks == 0 {
		d.checks++
		d.last = check
		if d.checks == conclusive {
			d.target = captured
		}
	}
	return d.checks >= conclusive && captured-queued >= d.target
}

func explainTimeout(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}
