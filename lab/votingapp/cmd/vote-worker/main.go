// Vote-worker drains the frontends' Redis queues into Postgres.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

const usage = `Moves votes from the frontends' queues to Postgres. Settings, by environment:

  WORKER_NUMBER           number of this worker, 1 to 99
  FROM_REDIS_HOST         first and last queue to drain: 1 and 2 mean redis01 and redis02;
  TO_REDIS_HOST             both unset: every queue redis01 to redis99 that the DNS knows
  REDIS_ADDRS             instead of all that: the queues as host:port, separated by commas
  REDIS_PASSWORD_FILE     file with the password of Redis, or empty      (/run/secrets/redis-password)
  POSTGRES_ADDR           host:port                                      (store:5432)
  POSTGRES_USER           user                                           (postgres)
  POSTGRES_DB             database                                       (votes)
  POSTGRES_PASSWORD_FILE  file with the password of Postgres, or empty   (/run/secrets/postgres-password)
  METRICS_LISTEN          address of /metrics and /healthz               (:9100)
`

func main() {
	os.Exit(service.Main("vote-worker", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

// maxConns bounds the connections to Postgres: workers times queues may be many, and all share one disk.
const maxConns = 8

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	number := env.Int("WORKER_NUMBER", 1, 99)
	hosts := queueHosts(env)
	redisPassword := env.Secret("REDIS_PASSWORD_FILE", "/run/secrets/redis-password")
	name := fmt.Sprintf("worker%02d", number)
	database := store.Config{
		Addr:     env.Addr("POSTGRES_ADDR", "store:5432"),
		User:     env.String("POSTGRES_USER", "postgres"),
		Database: env.String("POSTGRES_DB", "votes"),
		Password: env.Secret("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres-password"),
		Conns:    maxConns,
		Name:     name,
	}
	listen := env.Addr("METRICS_LISTEN", ":9100")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	queue.LogTo(log)
	log = log.With("container", name)

	votes, err := store.Open(ctx, database)
	if err != nil {
		return err
	}
	defer votes.Close()
	registry := service.Registry()
	pulse := newPulse(registry)

	listener, err := service.Listen(ctx, listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", service.Metrics(registry))
	mux.Handle("GET /healthz", pulse)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() {
		if err := service.Serve(ctx, service.Server(mux, log), listener, service.Drain{Finish: time.Second}); err != nil {
			cancel(err)
		}
	})
	background.Go(func() { pulse.watch(ctx, votes) })

	log.Info("started", "metrics", listener.Addr().String(), "postgres", database.Addr, "version", service.Version())
	if err := prepare(ctx, votes, log); err != nil {
		cancel(nil)
		return err
	}
	// Redis must be able to tell this run from every other one: two containers may have the same number, or a frozen one wake up.
	consumer, err := uniqueName(name)
	if err != nil {
		return err
	}
	open := func(host string) (worker.Queue, func()) {
		addr := host
		if !strings.Contains(addr, ":") {
			addr = net.JoinHostPort(host, strconv.Itoa(contract.RedisPort))
		}
		client := queue.Dial(addr, redisPassword)
		return queue.NewReader(client, consumer, worker.Lease, worker.Batch), func() { _ = client.Close() }
	}
	w := worker.New(votes, worker.NewMetrics(registry), log)
	if len(hosts) > 0 {
		log.Info("draining", "queues", hosts, "consumer", consumer)
		w.All(ctx, hosts, open)
	} else {
		log.Info("draining every queue that the DNS knows", "consumer", consumer)
		w.Discover(ctx, net.DefaultResolver, open)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// queueHosts are the queues to be drained; none means that the DNS is to be asked.
func queueHosts(env *config.Env) []string {
	if env.Has("REDIS_ADDRS") {
		return strings.Split(env.String("REDIS_ADDRS", ""), ",")
	}
	if !env.Has("FROM_REDIS_HOST") && !env.Has("TO_REDIS_HOST") {
		return nil
	}
	from, to := env.Int("FROM_REDIS_HOST", 1, worker.MaxQueues), env.Int("TO_REDIS_HOST", 1, worker.MaxQueues)
	if from > to {
		env.Invalid("TO_REDIS_HOST", fmt.Errorf("%d is below FROM_REDIS_HOST, which is %d", to, from))
	}
	var hosts []string
	for n := from; n <= to; n++ {
		hosts = append(hosts, worker.QueueHost(n))
	}
	return hosts
}

// prepare waits for Postgres and brings its schema up to date. A database that is newer than this program is an error: waiting would
// not help.
func prepare(ctx context.Context, votes *store.Store, log *slog.Logger) error {
	every := timescale.Scale(500 * time.Millisecond)
	for waiting := false; ; waiting = true {
		attempt, cancel := context.WithTimeout(ctx, timescale.Scale(30*time.Second))
		version, err := votes.Migrate(attempt)
		cancel()
		var newer *store.NewerSchemaError
		switch {
		case err == nil:
			log.Info("database is ready", "schema", version)
			return nil
		case errors.As(err, &newer):
			return err
		case ctx.Err() != nil:
			return nil // told to stop while waiting: that is no failure
		case !waiting:
			log.Warn("waiting for the database", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

func uniqueName(name string) (string, error) {
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("random name: %w", err)
	}
	return name + "-" + hex.EncodeToString(random[:]), nil
}

// pulse knows whether Postgres answers.
type pulse struct {
	mu  sync.Mutex
	err error
	up  prometheus.Gauge
}

func newPulse(registry *prometheus.Registry) *pulse {
	p := &pulse{
		err: errors.New("postgres has not been tried yet"),
		up:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "postgres_up", Help: "1 if Postgres answers."}),
	}
	registry.MustRegister(p.up)
	return p
}

func (p *pulse) watch(ctx context.Context, votes *store.Store) {
	every := timescale.Scale(time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, every)
		err := votes.Ping(attempt)
		cancel()
		p.set(err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *pulse) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	if err == nil {
		p.up.Set(1)
	} else {
		p.up.Set(0)
	}
}

// ServeHTTP is /healthz.
func (p *pulse) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
