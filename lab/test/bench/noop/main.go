// Noop is an HTTP server that answers a vote with a receipt for it and does nothing else: with it behind HAProxy, a load generator and HAProxy
// meet their own limit. For benchmarks only.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/swarmlab/swarmlab/lab/votingapp/config"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
)

const usage = `Answers every request with a receipt. Settings: LISTEN, as web-vote-app's.
`

// cookie is as long as the voting page's.
const cookie = "voter_id=v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"

func main() {
	os.Exit(service.Main("noop", usage, os.Args[1:], os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, log *slog.Logger) error {
	env := config.FromOS()
	listen := env.Addr("LISTEN", ":80")
	if err := env.Err(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	listener, err := service.Listen(ctx, listen)
	if err != nil {
		return err
	}
	nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var form [64]byte // vote=a&vote_id=…
		n, _ := io.ReadFull(r.Body, form[:])
		choice, id, _ := bytes.Cut(bytes.TrimPrefix(form[:n], []byte("vote=")), []byte("&vote_id="))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", cookie)
		answer := make([]byte, 0, 256)
		answer = append(append(answer, `{"vote_id":"`...), id...)
		answer = append(answer, `","voter_id":"00000000-0000-4000-8000-000000000001","vote":"`...)
		answer = append(append(answer, choice...), `","order":1234567890123456,"served_by":"frontend01"}`...)
		_, _ = w.Write(answer) // Nobody is left to be told.
	})
	return service.Serve(ctx, service.Server(nothing, log), listener, service.Drain{})
}
