//go:build integration

// Wall-clock-app is the web-vote-app with one fault: it puts votes in order by its own clock alone, whatever order their voter has seen.
// Tests put it into the real one's place, to see a drill fail. No node gets it from anybody else.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/skew"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
)

const usage = "A faulty web-vote-app, for tests. Its settings are the web-vote-app's, of which it knows those that a lab gives.\n"

func main() {
	webvote.UseOneProcessor()
	os.Exit(service.Main("web-vote-app", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	number := env.Int("WEB_VOTE_NUMBER", 1, 99)
	address := fmt.Sprintf("redis%02d:6379", number)
	password := env.Secret("REDIS_PASSWORD_FILE", "/run/secrets/redis-password")
	key, err := voter.ParseKey(env.Secret("VOTER_KEY_FILE", "/run/secrets/voter-key"))
	if err != nil {
		env.Invalid("VOTER_KEY_FILE", err)
	}
	cfg := webvote.Config{
		Frontend: fmt.Sprintf("frontend%02d", number), Key: key, OptionA: env.String("OPTION_A", "Cats"), OptionB: env.String("OPTION_B", "Dogs"),
	}
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	queue.LogTo(log)
	client := queue.Dial(address, password)
	defer client.Close() //nolint:errcheck // nothing is left to be written
	writer := queue.NewWriter(client, nil)
	defer writer.Close()

	probing, stopProbing := context.WithCancel(context.WithoutCancel(ctx))
	prober := queue.NewProber(queue.Dial(address, password), func(error) {})
	clock := skew.New("/run/clock/offset", log)
	var background sync.WaitGroup
	background.Go(func() { prober.Run(probing) })
	background.Go(func() { clock.Run(probing) })
	defer background.Wait()
	defer stopProbing()
	cfg.Now = clock.Now

	app, err := webvote.New(cfg, wallClock{writer, clock.Now}, prober, service.Registry(), log)
	if err != nil {
		return err
	}
	listener, err := service.Listen(ctx, ":80")
	if err != nil {
		return err
	}
	return service.Serve(ctx, service.Server(app, log), listener,
		service.Drain{Announce: app.StartDraining, Linger: 2 * time.Second, Finish: 5 * time.Second})
}

// wallClock gives each vote another order than the app did.
type wallClock struct {
	webvote.Appender
	now func() time.Time
}

func (w wallClock) Append(ctx context.Context, v vote.Vote) error {
	v.Order = vote.Next(w.now(), 0)
	return w.Appender.Append(ctx, v)
}
