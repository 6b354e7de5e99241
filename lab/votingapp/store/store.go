// Package store counts votes in Postgres.
//
// [Store.Merge] is idempotent: however often, in whichever order and by how many workers at once a vote is merged, each voter ends
// up with one row that holds their latest vote, and the tally is the sum of these rows. That is what makes at-least-once delivery
// good enough.
//
// The schema, with the tally kept by triggers, stands in migrations/. The package knows nothing about queues or HTTP.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// Config says where the database is.
type Config struct {
	// Addr is host:port.
	Addr, User, Password, Database string
	// Conns bounds the connections.
	Conns int
	// Name is shown in pg_stat_activity.
	Name string
	// ConnectTimeout bounds the making of a connection; 0 means 2 s, or more on a slow machine (package pace).
	ConnectTimeout time.Duration
}

// Store is a pool of connections. Safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// Open prepares the pool; connections are made when they are needed, so that an absent Postgres is no error here.
func Open(ctx context.Context, c Config) (*Store, error) {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("address of postgres %q: %w", c.Addr, err)
	}
	// A string of key=value pairs is the documented way to a complete configuration; the password is set afterwards, so that no error can quote it.
	cfg, err := pgxpool.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable",
		quote(host), quote(port), quote(c.User), quote(c.Database)))
	if err != nil {
		return nil, fmt.Errorf("settings of postgres: %w", err)
	}
	cfg.ConnConfig.Password = c.Password
	cfg.ConnConfig.ConnectTimeout = cmp.Or(c.ConnectTimeout, timescale.Scale(2*time.Second))
	cfg.MaxConns = int32(c.Conns)
	cfg.MaxConnIdleTime = time.Minute
	for name, value := range map[string]string{
		"application_name": c.Name,
		// A worker that vanishes without a goodbye (power, partition) must not leave its locks behind for hours: the server
		// notices within seconds, whether it waits for us, computes for us, or sends to us.
		"idle_in_transaction_session_timeout": "10s",
		"statement_timeout":                   "30s",
		"client_connection_check_interval":    "5s",
		"tcp_keepalives_idle":                 "5",
		"tcp_keepalives_interval":             "2",
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    "10s",
	} {
		cfg.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("pool of connections to postgres at %s: %w", c.Addr, err)
	}
	return &Store{pool: pool}, nil
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// closeTimeout is how long a connection may take to be closed.
const closeTimeout = time.Second

// Close closes all connections. One with nobody at its other end any more would take the pool 15 seconds, more than Docker gives to stop.
func (s *Store) Close() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
}

// Ping tells whether Postgres answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("postgres does not answer: %w", err)
	}
	return nil
}

// mergeSQL is one statement, hence one transaction and one round trip: no lock is ever held for a worker that went away in between.
// Rows come in the order of their voters, so that two workers cannot deadlock.
const mergeSQL = `
INSERT INTO votes AS v (voter_id, vote, vote_id, clock, frontend)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[])
ON CONFLICT (voter_id) DO UPDATE
SET vote = excluded.vote, vote_id = excluded.vote_id, clock = excluded.clock, frontend = excluded.frontend, counted_at = now()
WHERE (excluded.clock, excluded.vote_id) > (v.clock, v.vote_id)`

// Merge counts a batch: when it returns nil, every vote of it has had its effect, durably. It returns the number of rows that changed. After an
// error the batch may or may not have been counted; merge it again.
func (s *Store) Merge(ctx context.Context, batch []vote.Vote) (int64, error) {
	values := columns(vote.Latest(batch))
	var changed int64
	err := s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		// Below pgx, which would take each array apart and together again by reflection, element by element.
		result := conn.Conn().PgConn().ExecParams(ctx, mergeSQL, values, nil, binaryFormat, nil).Read()
		changed = result.CommandTag.RowsAffected()
		return result.Err
	})
	if err != nil {
		return 0, fmt.Errorf("merge %d votes: %w", len(batch), err)
	}
	return changed, nil
}

// Rejected tells whether err says that Postgres will refuse this very batch for ever, because of the votes in it.
func Rejected(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	// Class 22: data exception; class 23: integrity constraint violation. One in another table is our mistake, not the votes'.
	return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23") && pg.TableName == "votes"
}

// undefinedTable is Postgres' code for a table that does not exist.
const undefinedTable = "42P01"

// Unprepared tells whether err says that the database lacks our tables: it is new, or was emptied.
func Unprepared(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == undefinedTable
}

// Tally is the result so far.
type Tally struct {
	A, B int64
	// Merged counts the votes that had an effect, changes of mind included. It never goes down.
	Merged    int64
	Frontends []FrontendTally
}

// Total is the number of voters who voted.
func (t Tally) Total() int64 { return t.A + t.B }

// FrontendTally is the part of the result that came through one frontend.
type FrontendTally struct {
	Name string
	A, B int64
}

const tallySQL = `
SELECT frontend, sum(a)::bigint, sum(b)::bigint, sum(merged)::bigint FROM tally GROUP BY frontend ORDER BY frontend`

// Tally reads the result; its cost does not depend on the number of votes. Before the first worker has prepared the database,
// nothing is counted: that is a result, not an error.
func (s *Store) Tally(ctx context.Context) (Tally, error) {
	var t Tally
	rows, err := s.pool.Query(ctx, tallySQL)
	if err != nil {
		return t, tallyError(err)
	}
	var (
		f      FrontendTally
		merged int64
	)
	_, err = pgx.ForEachRow(rows, []any{&f.Name, &f.A, &f.B, &merged}, func() error {
		t.A += f.A
		t.B += f.B
		t.Merged += merged
		t.Frontends = append(t.Frontends, f)
		return nil
	})
	if err != nil {
		return Tally{}, tallyError(err)
	}
	return t, nil
}

// tallyError is nil for a database without our tables.
func tallyError(err error) error {
	if Unprepared(err) {
		return nil
	}
	return fmt.Errorf("read the tally: %w", err)
}
