// Results-app shows the result of the vote live.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/results"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
)

const name = "results-app"

const usage = `Shows the result live. Settings, by environment:

  POSTGRES_ADDR           host:port                                     (store:5432)
  POSTGRES_USER           user                                          (postgres)
  POSTGRES_DB             database                                      (votes)
  POSTGRES_PASSWORD_FILE  file with the password of Postgres, or empty  (/run/secrets/postgres-password)
  OPTION_A, OPTION_B      the two answers                               (Cats, Dogs)
  LISTEN                  address to listen on                          (:80)
`

func main() {
	os.Exit(service.Main(name, usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	database := store.Config{
		Addr:     env.Addr("POSTGRES_ADDR", "store:5432"),
		User:     env.String("POSTGRES_USER", "postgres"),
		Database: env.String("POSTGRES_DB", "votes"),
		Password: env.Secret("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres-password"),
		Conns:    2,
		Name:     name,
	}
	cfg := results.Config{
		OptionA: env.String("OPTION_A", "Cats"), OptionB: env.String("OPTION_B", "Dogs"), ServedBy: name,
	}
	listen := env.Addr("LISTEN", ":80")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	log = log.With("container", name)

	votes, err := store.Open(ctx, database)
	if err != nil {
		return err
	}
	defer votes.Close()
	registry := service.Registry()
	app, err := results.New(cfg, votes, registry, log)
	if err != nil {
		return err
	}
	listener, err := service.Listen(ctx, listen)
	if err != nil {
		return err
	}
	// Run ends the streams of the viewers first: Shutdown waits for them.
	var live sync.WaitGroup
	defer live.Wait()
	live.Go(func() { app.Run(ctx) })
	log.Info("serving", "address", listener.Addr().String(), "postgres", database.Addr, "version", service.Version())
	return service.Serve(ctx, service.Server(app, log), listener, service.Drain{Finish: 3 * time.Second})
}
