// Web takes votes as the seeds' voting page did: one connection to Redis per request. For benchmarks only.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/lab/test/bench/seedstyle"
	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
)

const usage = `The voting page of the seeds. Settings: REDIS_ADDR, REDIS_PASSWORD_FILE, LISTEN, as web-vote-app's.
`

const cookieName = "voter_id"

func main() {
	os.Exit(service.Main("seedstyle-web", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	redisAddr := env.Addr("REDIS_ADDR", "redis01:6379")
	password := env.Secret("REDIS_PASSWORD_FILE", "/run/secrets/redis-password")
	listen := env.Addr("LISTEN", ":80")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	listener, err := service.Listen(ctx, listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		voter, err := r.Cookie(cookieName)
		if err != nil {
			voter = &http.Cookie{Name: cookieName, Value: uuid.NewString(), Path: "/"}
		}
		ballot, err := json.Marshal(seedstyle.Ballot{VoterID: voter.Value, Vote: r.FormValue("vote")})
		if err == nil {
			err = push(r.Context(), redisAddr, password, ballot)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: voter.Value, Path: "/"})
		w.Header().Set("Content-Type", "application/json")
		// The seeds had no receipts; the load wants one.
		fmt.Fprintf(w, `{"vote_id":%q,"voter_id":%q,"vote":%q,"served_by":"seedstyle"}`+"\n",
			r.FormValue("vote_id"), voter.Value, r.FormValue("vote"))
	})
	return service.Serve(ctx, service.Server(mux, log), listener, service.Drain{})
}

func push(ctx context.Context, addr, password string, ballot []byte) error {
	client := redis.NewClient(&redis.Options{Addr: addr, Password: password, PoolSize: 1, DisableIdentity: true})
	defer client.Close() //nolint:errcheck // the answer is known
	return client.RPush(ctx, seedstyle.List, ballot).Err()
}
