package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// Files are named NNNN_what.sql and applied in the order of their names; NNNN is the version after it, without gaps. A file that was
// released is never changed: a correction is a new file.
//
//go:embed migrations/*.sql
var migrations embed.FS

// NewerSchemaError says that the database was prepared by a newer program than this one. To go on could destroy what that one relies on.
type NewerSchemaError struct {
	// Have is the database's schema version, Know the latest that this program knows.
	Have, Know int
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the database has schema version %d, and this program knows only up to %d: "+
		"run a program of the newer version, or start with an empty database", e.Have, e.Know)
}

// migrationLock keeps programs that start at the same time from migrating together.
const migrationLock = 0x766f746573 // "votes"

// Migrate brings the database's schema up to date, all of it or nothing, and returns its version. Its error is a [*NewerSchemaError] if
// the schema is newer than this program.
func (s *Store) Migrate(ctx context.Context) (int, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	version := 0
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return fmt.Errorf("wait for the migration lock: %w", err)
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
			version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
			return fmt.Errorf("create table schema_migrations: %w", err)
		}
		if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM schema_migrations").Scan(&version); err != nil {
			return fmt.Errorf("read the schema's version: %w", err)
		}
		if version > len(files) {
			return &NewerSchemaError{Have: version, Know: len(files)}
		}
		for _, name := range files[version:] {
			script, err := migrations.ReadFile(name)
			if err != nil {
				return fmt.Errorf("migration %s: %w", name, err)
			}
			if _, err := tx.Exec(ctx, string(script)); err != nil {
				return fmt.Errorf("migration %s: %w", name, err)
			}
			version++
			if _, err := tx.Exec(ctx, "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
				version, name); err != nil {
				return fmt.Errorf("record migration %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("migrate the database: %w", err)
	}
	return version, nil
}
