// Package webvote is the voting page: it takes votes over HTTP and hands them to a queue. It answers 200 only when the queue has the
// vote.
//
//	GET  /         the page
//	POST /         vote=a|b, and optionally vote_id=<uuid>; HTML, or JSON with "Accept: application/json"
//	GET  /healthz  200 if votes can be written at this moment, else 503 with the reason
//	GET  /metrics  Prometheus
//
// The package keeps nothing between two requests: a voter may be served by another frontend each time. It knows neither Redis nor Postgres.
package webvote

import (
	"bytes"
	"context"
	_ "embed" // for the page
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/page"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
)

const (
	// RequestHeader is stamped by the load balancer: the same on each retry of a request, another one for each request. From anywhere
	// else it would only let a client choose the id of its own vote.
	RequestHeader = "X-Vote-Request"

	// maxBody is far more than vote=a&vote_id=<uuid> needs.
	maxBody = 4 << 10
	// maxRequestID bounds RequestHeader; a longer one is not ours.
	maxRequestID = 128
	// captureTimeout is how long a vote may wait for the queue.
	captureTimeout = time.Second
)

// Appender is a queue. Append returns nil only when the vote is safe.
type Appender interface {
	Append(ctx context.Context, v vote.Vote) error
}

// Health tells whether the queue can be written: nil, or the reason why not. It answers at once.
type Health interface {
	Err() error
}

// Config is what the page is about and who serves it.
type Config struct {
	// Frontend names this container, as frontend01.
	Frontend string
	// OptionA and OptionB are what the voter reads.
	OptionA, OptionB string
	Key              voter.Key
}

// App serves the voting page.
type App struct {
	cfg      Config
	queue    Appender
	health   Health
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics
	template *template.Template
	inlined  page.Inlined
	draining atomic.Bool
	mux      *http.ServeMux
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// New makes the app. Its metrics go to registry, which it also serves.
func New(cfg Config, queue Appender, health Health, registry *prometheus.Registry, log *slog.Logger) (*App, error) {
	parsed, err := page.Templates("vote", pageHTML)
	if err != nil {
		return nil, fmt.Errorf("voting page: %w", err)
	}
	a := &App{
		cfg: cfg, queue: queue, health: health, log: log, now: time.Now,
		metrics: newMetrics(registry), template: parsed, inlined: page.Inline(pageCSS, ""), mux: http.NewServeMux(),
	}
	a.mux.HandleFunc("GET /{$}", a.show)
	a.mux.HandleFunc("POST /{$}", a.cast)
	a.mux.HandleFunc("GET /healthz", a.healthz)
	a.mux.Handle("GET /metrics", service.Metrics(registry))
	return a, nil
}

// ServeHTTP serves any Host.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// StartDraining makes /healthz say 503 from now on, so that the load balancer stops sending requests; those that come are served.
func (a *App) StartDraining() { a.draining.Store(true) }

func (a *App) healthz(w http.ResponseWriter, _ *http.Request) {
	page.Common(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	err := a.health.Err()
	if a.draining.Load() {
		err = errors.New("this container is stopping")
	}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// voter finds who asks. A cookie that is not good makes a new voter, never an error.
func (a *App) voter(r *http.Request) voter.Identity {
	id, err := a.cfg.Key.FromRequest(r)
	if err != nil {
		a.metrics.cookieRefused(err)
	}
	return id
}

func (a *App) show(w http.ResponseWriter, r *http.Request) {
	id := a.voter(r)
	if id.ID == uuid.Nil {
		// A voter who has seen the page is known before the first vote: a double click is then no second voter.
		id.ID = uuid.New()
	}
	http.SetCookie(w, a.cfg.Key.Cookie(id))
	a.render(w, r, http.StatusOK, view{Chosen: id.Choice.String()})
}

// ballot is what a request asks for.
type ballot struct {
	choice vote.Choice
	// id is the vote's id if the client gave one, else uuid.Nil.
	id uuid.UUID
}

// refusal is an answer that is no 200.
type refusal struct {
	status int
	reason string // for metrics
	text   string // for the voter
}

func (a *App) cast(w http.ResponseWriter, r *http.Request) {
	began := a.now()
	id := a.voter(r)
	asked, refused := readBallot(w, r)
	if refused != nil {
		a.refuse(w, r, id, refused)
		return
	}
	v := a.vote(r, id, asked)
	if err := a.capture(r.Context(), v); err != nil {
		a.log.Debug("vote not captured", "error", err)
		a.refuse(w, r, id, &refusal{
			http.StatusServiceUnavailable, "queue",
			"Your vote could not be saved at the moment. Please try again.",
		})
		return
	}
	a.metrics.captured(v.Choice, a.now().Sub(began))
	http.SetCookie(w, a.cfg.Key.Cookie(voter.Identity{ID: v.Voter, Order: v.Order, Choice: v.Choice}))
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, receipt{v.ID, v.Voter, v.Choice.String(), v.Order, a.cfg.Frontend})
		return
	}
	a.render(w, r, http.StatusOK, view{
		Chosen: v.Choice.String(), Saved: true,
		VoteID: v.ID.String(), VoterID: v.Voter.String(), Order: int64(v.Order),
	})
}

// vote completes a ballot: the same for every retry of a request, but for the order, which may grow.
func (a *App) vote(r *http.Request, id voter.Identity, asked ballot) vote.Vote {
	v := vote.Vote{
		ID: asked.id, Voter: id.ID, Choice: asked.choice,
		Order: vote.Next(a.now(), id.Order), Frontend: a.cfg.Frontend,
	}
	if v.ID == uuid.Nil {
		if request := r.Header.Get(RequestHeader); request != "" && len(request) <= maxRequestID {
			v.ID = a.cfg.Key.VoteID(request)
		} else {
			v.ID = uuid.New()
		}
	}
	if v.Voter == uuid.Nil {
		v.Voter = a.cfg.Key.VoterID(v.ID)
	}
	return v
}

func (a *App) capture(ctx context.Context, v vote.Vote) error {
	// A queue that is known to be away is not worth the wait, and waiting requests cost memory.
	if err := a.health.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, captureTimeout)
	defer cancel()
	return a.queue.Append(ctx, v)
}

// readBallot reads the form in the body of r.
func readBallot(w http.ResponseWriter, r *http.Request) (ballot, *refusal) {
	const form = "application/x-www-form-urlencoded"
	if got := r.Header.Get("Content-Type"); got != form {
		if media, _, err := mime.ParseMediaType(got); err != nil || media != form {
			return ballot{}, &refusal{
				http.StatusUnsupportedMediaType, "type",
				"The vote must be sent as a form (Content-Type: " + form + ").",
			}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return ballot{}, &refusal{
			http.StatusRequestEntityTooLarge, "size",
			fmt.Sprintf("The request is larger than %d bytes.", maxBody),
		}
	}
	if err != nil {
		return ballot{}, &refusal{http.StatusBadRequest, "body", "The request broke off before its end."}
	}
	return parseBallot(string(body))
}

func parseBallot(body string) (ballot, *refusal) {
	bad := func(text string) (ballot, *refusal) {
		return ballot{}, &refusal{http.StatusBadRequest, "ballot", text}
	}
	fields, err := url.ParseQuery(body)
	if err != nil {
		return bad("The form cannot be read.")
	}
	if len(fields["vote"]) != 1 {
		return bad("The form needs the field vote, once: a or b.")
	}
	var asked ballot
	if asked.choice, err = vote.ParseChoice(fields.Get("vote")); err != nil {
		return bad("This is not one of the answers: vote must be a or b.")
	}
	switch given := fields["vote_id"]; {
	case len(given) == 0 || len(given) == 1 && given[0] == "":
	case len(given) > 1:
		return bad("The field vote_id may be given once only.")
	default:
		if asked.id, err = uuid.Parse(given[0]); err != nil || len(given[0]) != 36 || asked.id == uuid.Nil {
			return bad("The field vote_id must be a uuid, as 0b7e1f9e-6c55-4c0a-9f0e-3a1d2c4b5e6f.")
		}
	}
	return asked, nil
}

// receipt is the answer to a vote in JSON.
type receipt struct {
	VoteID   uuid.UUID  `json:"vote_id"`
	VoterID  uuid.UUID  `json:"voter_id"`
	Vote     string     `json:"vote"`
	Order    vote.Order `json:"order"`
	ServedBy string     `json:"served_by"`
}

func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // All of our bodies can be marshalled.
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	page.Common(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // Nobody is left to be told.
}

func (a *App) refuse(w http.ResponseWriter, r *http.Request, id voter.Identity, why *refusal) {
	a.metrics.refused.WithLabelValues(why.reason).Inc()
	if why.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if wantsJSON(r) {
		writeJSON(w, why.status, map[string]string{"error": why.text, "served_by": a.cfg.Frontend})
		return
	}
	a.render(w, r, why.status, view{Chosen: id.Choice.String(), Problem: why.text})
}

// view is what the page shows.
type view struct {
	Chosen  string // "a", "b" or ""
	Saved   bool
	Problem string

	VoteID, VoterID string
	Order           int64

	// The rest is filled in by render.
	A, B     page.Option
	ServedBy string
	Style    template.CSS
}

// Options are both answers in their order.
func (v view) Options() []page.Option { return []page.Option{v.A, v.B} }

// ChosenLabel is the label of the chosen answer.
func (v view) ChosenLabel() string {
	if v.Chosen == v.B.Value {
		return v.B.Label
	}
	return v.A.Label
}

func (a *App) render(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.A = page.Option{Value: "a", Label: a.cfg.OptionA}
	v.B = page.Option{Value: "b", Label: a.cfg.OptionB}
	v.ServedBy = a.cfg.Frontend
	v.Style = a.inlined.Style
	var body bytes.Buffer
	if err := a.template.Execute(&body, v); err != nil {
		a.log.ErrorContext(r.Context(), "voting page not rendered", "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	a.inlined.Headers(w.Header())
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // Nobody is left to be told.
}
