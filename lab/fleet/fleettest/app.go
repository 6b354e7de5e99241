package fleettest

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

const voterCookie = "voter_id"

// App stands in for the voting app at a lab's two web ports: it takes votes and counts them at once.
type App struct {
	mu    sync.Mutex
	votes map[string]string
	// refuse, when set, is the status that votes are answered with.
	refuse int
}

// StartApp serves the voting page and the results of lab until the test ends.
func StartApp(t testing.TB, lab *settings.Lab) *App {
	t.Helper()
	app := &App{votes: map[string]string{}}
	voting, results := http.NewServeMux(), http.NewServeMux()
	voting.HandleFunc("POST /{$}", app.vote)
	voting.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("Cats or dogs?\n")) })
	results.HandleFunc("GET /api/tally", app.tally)
	for port, handler := range map[int]http.Handler{lab.VotingPort(): voting, lab.ResultsPort(): results} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Shutdown(context.WithoutCancel(t.Context())) })
	}
	return app
}

// Refuse makes the app answer votes with an HTTP status; 0 makes it take them again.
func (a *App) Refuse(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = status
}

func (a *App) vote(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	vote := r.PostFormValue("vote")
	if a.refuse != 0 {
		http.Error(w, "the queue cannot be written", a.refuse)
		return
	}
	if vote != "a" && vote != "b" {
		http.Error(w, "vote must be a or b", http.StatusBadRequest)
		return
	}
	voter := ""
	if c, err := r.Cookie(voterCookie); err == nil {
		voter = c.Value
	}
	if voter == "" {
		voter = uuid.NewString()
	}
	a.votes[voter] = vote
	http.SetCookie(w, &http.Cookie{Name: voterCookie, Value: voter, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"vote_id": r.PostFormValue("vote_id"), "voter_id": voter, "vote": vote, "order": len(a.votes), "served_by": "frontend01",
	})
}

func (a *App) tally(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := map[string]int{"a": 0, "b": 0, "total": len(a.votes)}
	for _, v := range a.votes {
		counts[v]++
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts)
}
