// Worker counts votes as the seeds' worker did: one vote, one row, one commit. For benchmarks only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/swarmlab/swarmlab/lab/test/bench/seedstyle"
	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
)

const usage = `The worker of the seeds, one connection per queue. Settings: REDIS_ADDRS, REDIS_PASSWORD_FILE, POSTGRES_*, as vote-worker's.
`

func main() {
	os.Exit(service.Main("seedstyle-worker", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, _ *slog.Logger) error {
	env := config.FromOS()
	queues := strings.Split(env.String("REDIS_ADDRS", "redis01:6379"), ",")
	redisPassword := env.Secret("REDIS_PASSWORD_FILE", "/run/secrets/redis-password")
	database, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable",
		env.String("POSTGRES_USER", "postgres"), env.Addr("POSTGRES_ADDR", "store:5432"), env.String("POSTGRES_DB", "votes")))
	if err != nil {
		return err
	}
	database.Password = env.Secret("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres-password")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, addr := range queues {
		all.Go(func() error { return drain(ctx, addr, redisPassword, database.Copy()) })
	}
	return all.Wait()
}

func drain(ctx context.Context, addr, password string, database *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // every row was committed by itself
	queue := redis.NewClient(&redis.Options{Addr: addr, Password: password, DisableIdentity: true})
	defer queue.Close() //nolint:errcheck // nothing is left to be written
	for ctx.Err() == nil {
		popped, err := queue.BLPop(ctx, time.Second, seedstyle.List).Result()
		switch {
		case errors.Is(err, redis.Nil):
			continue
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		var ballot seedstyle.Ballot
		if err := json.Unmarshal([]byte(popped[1]), &ballot); err != nil {
			return err
		}
		// The seeds tried to insert and, when that failed, updated.
		if _, err = conn.Exec(ctx, "INSERT INTO seed_votes (id, vote) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET vote = $2",
			ballot.VoterID, ballot.Vote); err != nil {
			return err
		}
	}
	return nil
}
