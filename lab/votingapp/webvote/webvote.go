// Package webvote is the voting page: it takes votes over HTTP and hands them to a queue. It answers 200 only when the queue has the
// vote.
//
//	GET  /         the page
//	POST /         vote=a|b, and optionally vote_id=<uuid>; HTML, or JSON with "Accept: application/json"
//	GET  /healthz  200 if votes can be written at this moment, else 503 with the reason
//	GET  /clock    the time by which votes are put in order where no balancer has stamped them, in RFC 3339
//	GET  /metrics  Prometheus
//
// The package keeps nothing between two requests: a voter may be served by another frontend each time. It knows neither Redis nor Postgres.
package webvote

import (
	"bytes"
	"context"
	_ "embed" // for the page
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votingapp/page"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
)

const (
	// RequestHeader is stamped by the load balancer with a UUID of version 7 (RFC 9562), which tells when the request came: the same on
	// each retry of a request, another one for each request. From anywhere else it would only let a client choose the id and the
	// order of its own vote.
	RequestHeader = "X-Vote-Request"

	// maxBody is far more than vote=a&vote_id=<uuid> needs.
	maxBody = 4 << 10
)

var (
	// captureTimeout is how long a vote may wait for the queue, and patienceStep more.
	captureTimeout = timescale.PageTimeout()
	// patienceStep is how far apart two votes may be that stop waiting at the same moment.
	patienceStep = captureTimeout / 20
)

// UseOneProcessor is for main to call. The page has its node's processor to share with Redis, and does so little per vote that threads
// which wake each other cost more than they bring; more frontends take more votes. GOMAXPROCS in the environment says otherwise.
func UseOneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

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
	// Now is this container's clock, by which votes are put in order; nil: the machine's.
	Now func() time.Time
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
	patience patience
	prepared prepared
	mux      *http.ServeMux
	// servedBy is the name of this container as JSON.
	servedBy []byte
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
	servedBy, err := json.Marshal(cfg.Frontend)
	if err != nil {
		return nil, fmt.Errorf("name of the frontend: %w", err)
	}
	a := &App{
		cfg: cfg, queue: queue, health: health, log: log, now: time.Now,
		metrics: newMetrics(registry), template: parsed, inlined: page.Inline(pageCSS, ""), mux: http.NewServeMux(),
		patience: patience{length: captureTimeout, step: patienceStep}, servedBy: servedBy,
	}
	if a.prepared, err = prepare(a.page); err != nil {
		return nil, fmt.Errorf("voting page: %w", err)
	}
	a.mux.HandleFunc("GET /{$}", a.show)
	a.mux.HandleFunc("POST /{$}", a.cast)
	a.mux.HandleFunc("GET /healthz", a.healthz)
	a.mux.HandleFunc("GET /clock", a.clock)
	a.mux.Handle("GET /metrics", service.Metrics(registry))
	if cfg.Now != nil {
		a.now = cfg.Now
	}
	return a, nil
}

// ServeHTTP serves any Host.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.draining.Load() {
		// Whoever holds this connection comes back on another one, while there is somebody to answer.
		w.Header().Set("Connection", "close")
	}
	a.mux.ServeHTTP(w, r)
}

// StartDraining makes /healthz say 503 from now on, so that the load balancer stops sending requests; those that come are served, each as the
// last one of its connection.
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

func (a *App) clock(w http.ResponseWriter, _ *http.Request) {
	page.Common(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, a.now().UTC().Format(time.RFC3339Nano))
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
	a.setCookie(w, id)
	a.writePage(w, http.StatusOK, a.prepared.shown[id.Choice])
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
	began := time.Now() // not by the container's clock, which may be set meanwhile
	id := a.voter(r)
	asked, refused := readBallot(w, r)
	if refused != nil {
		a.refuse(w, r, id, refused)
		return
	}
	v := a.vote(r, id, asked)
	if err := a.capture(v); err != nil { //nolint:contextcheck // The wait has a bound of its own: see capture.
		a.log.Debug("vote not captured", "error", err)
		a.refuse(w, r, id, &refusal{
			http.StatusServiceUnavailable, "queue",
			"Your vote could not be saved at the moment. Please try again.",
		})
		return
	}
	a.metrics.captured(v.Choice, time.Since(began))
	a.setCookie(w, voter.Identity{ID: v.Voter, Order: v.Order, Choice: v.Choice})
	if wantsJSON(r) {
		a.writeReceipt(w, v)
		return
	}
	buffer := pages.Get().(*[]byte)
	defer pages.Put(buffer)
	*buffer = a.prepared.saved[v.Choice].append((*buffer)[:0], v)
	a.writePage(w, http.StatusOK, *buffer)
}

// vote completes a ballot: the same for every retry of a request, its order included. A frontend that was frozen with a request in its
// hands, which another one has answered meanwhile, thus cannot have it win over what the voter did since.
func (a *App) vote(r *http.Request, id voter.Identity, asked ballot) vote.Vote {
	request, arrived, stamped := stamp(r)
	if !stamped {
		request, arrived = uuid.New(), a.now()
	}
	v := vote.Vote{
		ID: asked.id, Voter: id.ID, Choice: asked.choice,
		Order: vote.Next(arrived, id.Order), Frontend: a.cfg.Frontend,
	}
	if v.ID == uuid.Nil {
		v.ID = a.cfg.Key.VoteID(request)
	}
	if v.Voter == uuid.Nil {
		v.Voter = a.cfg.Key.VoterID(v.ID)
	}
	return v
}

// stamp reads what the balancer put on r: the request's id, and when it came by the balancer's clock. What is no such stamp is none.
func stamp(r *http.Request) (request uuid.UUID, arrived time.Time, ok bool) {
	const version = 7
	request, err := uuid.Parse(r.Header.Get(RequestHeader))
	if err != nil || request.Version() != version {
		return uuid.Nil, time.Time{}, false
	}
	return request, time.Unix(request.Time().UnixTime()), true
}

// capture hands v to the queue. It does not end with the client's connection: once the queue is asked, the vote may be there, and an
// answer is worth more than a hurry.
func (a *App) capture(v vote.Vote) error {
	// A queue that is known to be away is not worth the wait, and waiting requests cost memory.
	if err := a.health.Err(); err != nil {
		return err
	}
	return a.queue.Append(a.patience.context(), v)
}

// setCookie has the client's browser carry id.
func (a *App) setCookie(w http.ResponseWriter, id voter.Identity) {
	w.Header()["Set-Cookie"] = []string{a.cfg.Key.SetCookie(id)}
}

// buffers are for bodies, of requests and of answers.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxBody); return &b }}

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
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	body, err := readBody(w, r, *buffer)
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

// readBody reads the body of r into buffer, or as much as the limit allows. A length that was announced, as nearly all are, saves asking
// for more.
func readBody(w http.ResponseWriter, r *http.Request, buffer []byte) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= maxBody {
		_, err := io.ReadFull(r.Body, buffer[:n])
		return buffer[:n], err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

// parseBallot reads a form as url.ParseQuery does, but for the fields of no interest, which it only checks.
func parseBallot(body string) (ballot, *refusal) {
	bad := func(text string) (ballot, *refusal) {
		return ballot{}, &refusal{http.StatusBadRequest, "ballot", text}
	}
	var (
		choice, id   string
		choices, ids int
	)
	for rest := body; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, err := parseField(pair)
		if err != nil {
			return bad("The form cannot be read.")
		}
		switch name {
		case "vote":
			choice, choices = value, choices+1
		case "vote_id":
			id, ids = value, ids+1
		}
	}
	if choices != 1 {
		return bad("The form needs the field vote, once: a or b.")
	}
	var (
		asked ballot
		err   error
	)
	if asked.choice, err = vote.ParseChoice(choice); err != nil {
		return bad("This is not one of the answers: vote must be a or b.")
	}
	switch {
	case ids > 1:
		return bad("The field vote_id may be given once only.")
	case id != "":
		if asked.id, err = uuid.Parse(id); err != nil || len(id) != 36 || asked.id == uuid.Nil {
			return bad("The field vote_id must be a uuid, as 0b7e1f9e-6c55-4c0a-9f0e-3a1d2c4b5e6f.")
		}
	}
	return asked, nil
}

// parseField reads name=value. Nothing is allocated for one without escapes.
func parseField(pair string) (name, value string, err error) {
	if strings.Contains(pair, ";") {
		return "", "", errors.New("a semicolon separates nothing")
	}
	name, value, _ = strings.Cut(pair, "=")
	if name, err = url.QueryUnescape(name); err != nil {
		return "", "", err
	}
	value, err = url.QueryUnescape(value)
	return name, value, err
}

// writeReceipt is the answer to a vote in JSON:
//
//	{"vote_id":"…","voter_id":"…","vote":"a","order":1234567890123456,"served_by":"frontend01"}
func (a *App) writeReceipt(w http.ResponseWriter, v vote.Vote) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	text := append((*buffer)[:0], `{"vote_id":"`...)
	text = appendUUID(text, v.ID)
	text = append(text, `","voter_id":"`...)
	text = appendUUID(text, v.Voter)
	text = append(text, `","vote":"`...)
	text = append(text, byte(v.Choice))
	text = append(text, `","order":`...)
	text = strconv.AppendInt(text, int64(v.Order), 10)
	text = append(text, `,"served_by":`...)
	text = append(text, a.servedBy...)
	writeJSON(w, http.StatusOK, append(text, '}', '\n'))
}

func appendUUID(dst []byte, id uuid.UUID) []byte {
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return append(dst, text[:]...)
}

func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// jsonType is shared by all answers, as page.Common's values are.
var jsonType = []string{"application/json"}

func writeJSON(w http.ResponseWriter, status int, text []byte) {
	page.Common(w.Header())
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write(text) // Nobody is left to be told.
}

func (a *App) refuse(w http.ResponseWriter, r *http.Request, id voter.Identity, why *refusal) {
	a.metrics.refused.WithLabelValues(why.reason).Inc()
	if why.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if wantsJSON(r) {
		text, err := json.Marshal(map[string]string{"error": why.text, "served_by": a.cfg.Frontend})
		if err != nil { // Two texts can be marshalled.
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(w, why.status, append(text, '\n'))
		return
	}
	body, err := a.page(view{Chosen: id.Choice.String(), Problem: why.text})
	if err != nil {
		a.log.ErrorContext(r.Context(), "voting page not rendered", "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	a.writePage(w, why.status, body)
}

// view is what the page shows.
type view struct {
	Chosen  string // "a", "b" or ""
	Saved   bool
	Problem string

	VoteID, VoterID, Order string

	// The rest is filled in by page.
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

// page renders the page.
func (a *App) page(v view) ([]byte, error) {
	v.A = page.Option{Value: "a", Label: a.cfg.OptionA}
	v.B = page.Option{Value: "b", Label: a.cfg.OptionB}
	v.ServedBy = a.cfg.Frontend
	v.Style = a.inlined.Style
	var body bytes.Buffer
	if err := a.template.Execute(&body, v); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

func (a *App) writePage(w http.ResponseWriter, status int, body []byte) {
	a.inlined.Headers(w.Header())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // Nobody is left to be told.
}
