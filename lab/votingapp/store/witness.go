package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Sighting is what tells whether a queue still has all that it ever had.
type Sighting struct {
	// Identity is a random name that the queue was given when it was new.
	Identity string
	// Captured is the number of votes that it ever captured.
	Captured int64
}

// Loss is how a queue lost what it had acknowledged.
type Loss string

// Losses.
const (
	// LossNone: it has not.
	LossNone Loss = ""
	// LossEmpty: it came back as a new one, or is another one.
	LossEmpty Loss = "empty"
	// LossOlder: it came back with data of an earlier time.
	LossOlder Loss = "older"
)

// loss compares a queue with an earlier look at it.
func loss(before, now Sighting) Loss {
	switch {
	case now.Identity != before.Identity:
		return LossEmpty
	case now.Captured < before.Captured:
		return LossOlder
	default:
		return LossNone
	}
}

const (
	lastSeenSQL = `SELECT identity, captured, incidents FROM queues WHERE queue = $1`
	firstSQL    = `INSERT INTO queues (queue, identity, captured) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	againSQL    = `
UPDATE queues SET captured = greatest(captured, $3), seen_at = now()
WHERE queue = $1 AND identity = $2 AND incidents = $4 AND captured < $3`
	incidentSQL = `
WITH changed AS (
	UPDATE queues SET identity = $2, captured = $3, incidents = incidents + 1, seen_at = now()
	WHERE queue = $1 AND incidents = $4 RETURNING queue)
INSERT INTO incidents (queue, what, captured_before, captured_after) SELECT queue, $5, $6, $3 FROM changed`
)

// Witness looks at a queue and compares it with what any worker ever saw of it. A loss is recorded in the table incidents, once however many
// workers see it, and returned to the one who recorded it.
//
// A loss by which the counter goes back is seen only if the counter has not caught up by then with the last look before.
func (s *Store) Witness(ctx context.Context, queue string, look func(context.Context) (Sighting, error)) (Loss, error) {
	var (
		before    Sighting
		incidents int
	)
	// First the record, then the queue: whatever others record meanwhile, the queue is not behind what was read here.
	err := s.pool.QueryRow(ctx, lastSeenSQL, queue).Scan(&before.Identity, &before.Captured, &incidents)
	first := errors.Is(err, pgx.ErrNoRows)
	if err != nil && !first {
		return LossNone, fmt.Errorf("what was last seen of queue %s: %w", queue, err)
	}
	now, err := look(ctx)
	if err != nil {
		return LossNone, err
	}
	found := loss(before, now)
	// The number of incidents keeps a late look at the queue as it was before one from being recorded after it.
	switch {
	case first:
		found = LossNone
		_, err = s.pool.Exec(ctx, firstSQL, queue, now.Identity, now.Captured)
	case found == LossNone && now.Captured == before.Captured:
	case found == LossNone:
		_, err = s.pool.Exec(ctx, againSQL, queue, now.Identity, now.Captured, incidents)
	default:
		tag, failed := s.pool.Exec(ctx, incidentSQL, queue, now.Identity, now.Captured, incidents, string(found), before.Captured)
		if err = failed; tag.RowsAffected() == 0 {
			found = LossNone // Somebody else has recorded it.
		}
	}
	if err != nil {
		return LossNone, fmt.Errorf("record what is seen of queue %s: %w", queue, err)
	}
	return found, nil
}
