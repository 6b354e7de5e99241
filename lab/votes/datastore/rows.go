package datastore

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"net"

	"github.com/jackc/pgx/v5"

	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// Snapshot is the database at one moment.
type Snapshot struct {
	Tally checker.Tally
	// Rows streams the votes, in no order. It can be ranged over once.
	Rows iter.Seq2[checker.Row, error]
}

// Count calls judge with a snapshot of the database, which holds until judge returns. Postgres must answer: an error of its connection is returned.
// A database in which no worker has made our tables yet is empty.
func (c *Datastore) Count(ctx context.Context, judge func(Snapshot) error) error {
	conn, err := c.postgres(ctx)
	if err != nil {
		return fmt.Errorf("%s on %s: %w", c.store.container, c.store.node, err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only read
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("begin to read the votes: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // only read
	var s Snapshot
	// The first statement of the transaction takes its snapshot.
	err = tx.QueryRow(ctx, "SELECT coalesce(sum(a), 0)::bigint, coalesce(sum(b), 0)::bigint FROM tally").Scan(&s.Tally.A, &s.Tally.B)
	switch {
	case store.Unprepared(err):
		s.Rows = func(func(checker.Row, error) bool) {}
	case err != nil:
		return fmt.Errorf("read the tally: %w", err)
	default:
		s.Rows = rows(ctx, tx)
	}
	return judge(s)
}

func (c *Datastore) postgres(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("postgres://postgres@pg/votes?sslmode=disable&connect_timeout=5&application_name=lab")
	if err != nil {
		return nil, fmt.Errorf("settings of postgres: %w", err)
	}
	cfg.Password = c.postgresPassword
	// Names are the agents' to resolve.
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, c.store) }
	return pgx.ConnectConfig(ctx, cfg)
}

// rows decodes Postgres' binary format itself: of ten million rows most of the time would go into finding out how to.
func rows(ctx context.Context, tx pgx.Tx) iter.Seq2[checker.Row, error] {
	return func(yield func(checker.Row, error) bool) {
		formats := pgx.QueryResultFormats{pgx.BinaryFormatCode}
		result, err := tx.Query(ctx, "SELECT voter_id, vote_id, vote, clock FROM votes", formats)
		if err != nil {
			yield(checker.Row{}, fmt.Errorf("read the votes: %w", err))
			return
		}
		defer result.Close()
		for result.Next() {
			row, err := decode(result.RawValues())
			if !yield(row, err) || err != nil {
				return
			}
		}
		if err := result.Err(); err != nil {
			yield(checker.Row{}, fmt.Errorf("read the votes: %w", err))
		}
	}
}

func decode(fields [][]byte) (checker.Row, error) {
	var row checker.Row
	voter, id, choice, clock := fields[0], fields[1], fields[2], fields[3]
	if len(voter) != len(row.VoterID) || len(id) != len(row.VoteID) || len(choice) != 1 || len(clock) != 8 {
		return row, fmt.Errorf("a row of another shape than voter_id uuid, vote_id uuid, vote text of one letter, clock bigint: %x", fields)
	}
	copy(row.VoterID[:], voter)
	copy(row.VoteID[:], id)
	row.Choice = choice[0]
	row.At = vote.Order(binary.BigEndian.Uint64(clock)).Time()
	return row, nil
}
