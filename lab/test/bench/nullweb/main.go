// Nullweb is web-vote-app with the push to Redis taken out: the limit of what the voting page could capture. For benchmarks only.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
)

const usage = `The voting page with a queue that keeps nothing. Settings: WEB_VOTE_NUMBER, VOTER_KEY_FILE, LISTEN, as web-vote-app's.
`

// null acknowledges every vote and forgets it.
type null struct{}

func (null) Append(context.Context, vote.Vote) error { return nil }

func (null) Err() error { return nil }

func main() {
	webvote.UseOneProcessor()
	os.Exit(service.Main("nullweb", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	number := env.Int("WEB_VOTE_NUMBER", 1, 99)
	key, err := voter.ParseKey(env.Secret("VOTER_KEY_FILE", "/run/secrets/voter-key"))
	if err != nil {
		env.Invalid("VOTER_KEY_FILE", err)
	}
	listen := env.Addr("LISTEN", ":80")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	app, err := webvote.New(webvote.Config{
		Frontend: fmt.Sprintf("frontend%02d", number), OptionA: "Cats", OptionB: "Dogs", Key: key,
	}, null{}, null{}, service.Registry(), log)
	if err != nil {
		return err
	}
	listener, err := service.Listen(ctx, listen)
	if err != nil {
		return err
	}
	return service.Serve(ctx, service.Server(app, log), listener, service.Drain{})
}
