// Web-vote-app is the voting page of one frontend. It appends each vote to its own Redis and answers when that has it on disk.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/skew"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
)

const usage = `The voting page of one frontend. Settings, by environment:

  WEB_VOTE_NUMBER      number of this frontend, 1 to 99
  REDIS_ADDR           its Redis, host:port                       (redisNN:6379)
  REDIS_PASSWORD_FILE  file with the password of Redis, or empty  (/run/secrets/redis-password)
  VOTER_KEY_FILE       file with the key that signs voter cookies (/run/secrets/voter-key)
  OPTION_A, OPTION_B   the two answers                            (Cats, Dogs)
  LISTEN               address to listen on                       (:80)
  CLOCK_OFFSET_FILE    file that says by how much its clock is to be off, as -5s; read each second; none: 0
                                                                  (/run/clock/offset)
`

func main() {
	webvote.UseOneProcessor()
	os.Exit(service.Main("web-vote-app", usage, os.Args[1:], os.Stdout, os.Stderr, lingering(linger)))
}

// Stopping: the balancer checks twice a second and needs two failures; Docker gives ten seconds in all. On a slow machine the balancer checks
// less often than Docker's patience allows to wait for: there it notices by a refused connection, and sends the request to another frontend.
const (
	linger = 2 * time.Second
	finish = 5 * time.Second
)

// lingering is the program, which goes on for so long after it was told to stop.
func lingering(linger time.Duration) func(context.Context, *slog.Logger) error {
	return func(ctx context.Context, log *slog.Logger) error { return run(ctx, log, linger) }
}

func run(ctx context.Context, log *slog.Logger, linger time.Duration) error {
	env := config.FromOS()
	number := env.Int("WEB_VOTE_NUMBER", 1, 99)
	redisAddr := env.Addr("REDIS_ADDR", fmt.Sprintf("redis%02d:6379", number))
	redisPassword := env.Secret("REDIS_PASSWORD_FILE", "/run/secrets/redis-password")
	secret := env.Secret("VOTER_KEY_FILE", "/run/secrets/voter-key")
	key, err := voter.ParseKey(secret)
	if err != nil && (secret != "" || env.Err() == nil) { // A file that could not be read has been complained about.
		env.Invalid("VOTER_KEY_FILE", err)
	}
	cfg := webvote.Config{
		Frontend: fmt.Sprintf("frontend%02d", number),
		OptionA:  env.String("OPTION_A", "Cats"),
		OptionB:  env.String("OPTION_B", "Dogs"),
		Key:      key,
	}
	listen := env.Addr("LISTEN", ":80")
	offset := env.String("CLOCK_OFFSET_FILE", "/run/clock/offset")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	queue.LogTo(log)
	log = log.With("container", cfg.Frontend)

	registry := service.Registry()
	batches := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "vote_pipeline_votes", Help: "Votes per round trip to Redis.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
	})
	up := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "redis_writable", Help: "1 if the last probe could write to Redis.",
	})
	registry.MustRegister(batches, up)

	client := queue.Dial(redisAddr, redisPassword)
	defer client.Close() //nolint:errcheck // nothing is left to be written
	writer := queue.NewWriter(client, func(n int) { batches.Observe(float64(n)) })
	defer writer.Close()

	// The prober goes on while the server drains: until the last request, /healthz and capture need to know. So does the clock.
	probing, stopProbing := context.WithCancel(context.WithoutCancel(ctx))
	watch := &watcher{client: client, log: log, up: up}
	prober := queue.NewProber(queue.Dial(redisAddr, redisPassword), watch.probed)
	var probes sync.WaitGroup
	probes.Go(func() { prober.Run(probing) })
	defer probes.Wait()
	defer stopProbing()

	clock := skew.New(offset, log)
	probes.Go(func() { clock.Run(probing) })
	cfg.Now = clock.Now

	app, err := webvote.New(cfg, writer, prober, registry, log)
	if err != nil {
		return err
	}
	listener, err := service.Listen(ctx, listen)
	if err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String(), "redis", redisAddr, "version", service.Version())
	return service.Serve(ctx, service.Server(app, log), listener,
		service.Drain{Announce: app.StartDraining, Linger: linger, Finish: finish})
}
