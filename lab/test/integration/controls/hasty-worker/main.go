//go:build integration

// Hasty-worker is the vote-worker with one fault: it acknowledges votes as soon as it has them, and not after the commit. Tests put it into
// the real one's place, to see a drill fail. No node gets it from anybody else.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

const usage = "A faulty vote-worker, for tests. Its settings are the vote-worker's, of which it knows those that a lab gives.\n"

func main() {
	os.Exit(service.Main("vote-worker", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	name := fmt.Sprintf("worker%02d", env.Int("WORKER_NUMBER", 1, 99))
	from, to := env.Int("FROM_REDIS_HOST", 1, worker.MaxQueues), env.Int("TO_REDIS_HOST", 1, worker.MaxQueues)
	password := env.Secret("REDIS_PASSWORD_FILE", "/run/secrets/redis-password")
	database := store.Config{
		Addr: "store:5432", User: "postgres", Database: "votes", Conns: 4, Name: name,
		Password: env.Secret("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres-password"),
	}
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	queue.LogTo(log)
	votes, err := store.Open(ctx, database)
	if err != nil {
		return err
	}
	defer votes.Close()
	listener, err := service.Listen(ctx, ":9100")
	if err != nil {
		return err
	}
	registry := service.Registry()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", service.Metrics(registry))
	// Whatever happens: that is how the like of it looks.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	var (
		background sync.WaitGroup
		unserved   error
	)
	background.Go(func() {
		unserved = service.Serve(ctx, service.Server(mux, log), listener, service.Drain{Finish: time.Second})
	})
	var hosts []string
	for n := from; n <= to; n++ {
		hosts = append(hosts, worker.QueueHost(n))
	}
	consumer := name + "-" + rand.Text()[:8]
	worker.New(votes, worker.NewMetrics(registry), log).All(ctx, hosts, func(host string) (worker.Queue, func()) {
		client := queue.Dial(net.JoinHostPort(host, "6379"), password)
		return hasty{queue.NewReader(client, consumer, worker.Lease, worker.Batch)}, func() { _ = client.Close() }
	})
	background.Wait()
	return unserved
}

// hasty acknowledges what it hands out.
type hasty struct{ worker.Queue }

func (h hasty) Read(ctx context.Context, block time.Duration) ([]queue.Entry, error) {
	entries, err := h.Queue.Read(ctx, block)
	if len(entries) == 0 || err != nil {
		return entries, err
	}
	return entries, h.Queue.Settle(ctx, entries)
}

func (h hasty) Claim(ctx context.Context) ([]queue.Entry, bool, error) {
	entries, more, err := h.Queue.Claim(ctx)
	if len(entries) == 0 || err != nil {
		return entries, more, err
	}
	return entries, more, h.Queue.Settle(ctx, entries)
}

func (hasty) Settle(context.Context, []queue.Entry) error { return nil }
