package results

import (
	"bytes"
	"context"
	_ "embed" // for the page
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votingapp/page"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
)

// idleInterval is the time between two reads, and two events, when nothing happens.
var idleInterval = timescale.Scale(time.Second)

const (
	// maxViewers bounds the connections that are kept open.
	maxViewers = 10_000
	// writeTimeout is how long a viewer's connection may be stuck.
	writeTimeout = 10 * time.Second
)

// Config is what the page is about and who serves it.
type Config struct {
	OptionA, OptionB string
	// ServedBy names this container.
	ServedBy string
}

// App serves the results.
type App struct {
	cfg      Config
	poller   *poller
	hub      *hub
	log      *slog.Logger
	now      func() time.Time
	template *template.Template
	inlined  page.Inlined
	mux      *http.ServeMux
	reads    *prometheus.CounterVec
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// New makes the app; Run keeps it live. Its metrics go to registry, which it also serves.
func New(cfg Config, source Source, registry *prometheus.Registry, log *slog.Logger) (*App, error) {
	parsed, err := page.Templates("results", pageHTML)
	if err != nil {
		return nil, fmt.Errorf("results page: %w", err)
	}
	a := &App{
		cfg: cfg, hub: newHub(), log: log, now: time.Now, template: parsed,
		inlined: page.Inline(pageCSS, pageJS), mux: http.NewServeMux(),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tally_reads_total", Help: "Reads of the tally, by outcome.",
		}, []string{"outcome"}),
	}
	a.poller = newPoller(source, func() time.Time { return a.now() })
	registry.MustRegister(a.reads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "result_viewers", Help: "Viewers connected at the moment.",
	}, func() float64 { return float64(a.hub.count()) }))
	a.mux.HandleFunc("GET /{$}", a.show)
	a.mux.HandleFunc("GET /api/tally", a.tally)
	a.mux.HandleFunc("GET /api/stream", a.stream)
	a.mux.HandleFunc("GET /healthz", a.healthz)
	a.mux.Handle("GET /metrics", service.Metrics(registry))
	return a, nil
}

// ServeHTTP serves any Host.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Run reads the tally and tells the viewers until ctx ends, and then says goodbye to them.
func (a *App) Run(ctx context.Context) {
	defer a.hub.close()
	tick := time.NewTicker(MaxAge)
	defer tick.Stop()
	var (
		told    time.Time // when the last event was sent
		toldOf  int64     // the merged votes in it
		wasAway bool
	)
	for {
		now := a.now()
		if last := a.poller.latest(); a.hub.count() > 0 || last.age(now) >= idleInterval-MaxAge/2 {
			s, err := a.poller.fresh(ctx, MaxAge/2)
			if ctx.Err() != nil {
				return
			}
			a.note(err, &wasAway)
			if s.tally.Merged != toldOf || now.Sub(told) >= idleInterval-MaxAge/2 {
				told, toldOf = now, s.tally.Merged
				a.hub.send(a.event(s))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// note logs when Postgres goes and when it is back.
func (a *App) note(err error, wasAway *bool) {
	if err != nil {
		a.reads.WithLabelValues("failed").Inc()
	} else {
		a.reads.WithLabelValues("ok").Inc()
	}
	switch away := err != nil; {
	case away && !*wasAway:
		a.log.Warn("the result cannot be read; showing the last one", "error", err)
	case !away && *wasAway:
		a.log.Info("the result can be read again")
	}
	*wasAway = err != nil
}

// live is the result as the page's script gets it.
type live struct {
	A     int64 `json:"a"`
	B     int64 `json:"b"`
	Total int64 `json:"total"`
	// AgeMillis is how old the numbers were when they were sent; -1 if there are none. An age, since the viewer's clock may be wrong.
	AgeMillis int64 `json:"age_ms"`
	// Stale asks for a warning.
	Stale     bool           `json:"stale"`
	History   []int64        `json:"history"`
	Frontends []liveFrontend `json:"frontends"`
}

type liveFrontend struct {
	Name string `json:"name"`
	A    int64  `json:"a"`
	B    int64  `json:"b"`
}

func (a *App) live(s snapshot) live {
	l := live{
		A: s.tally.A, B: s.tally.B, Total: s.tally.Total(),
		AgeMillis: -1, Stale: true, History: s.history, Frontends: []liveFrontend{},
	}
	if !s.asOf.IsZero() {
		age := s.age(a.now())
		l.AgeMillis, l.Stale = age.Milliseconds(), age > staleAfter
	}
	for _, f := range s.tally.Frontends {
		l.Frontends = append(l.Frontends, liveFrontend{f.Name, f.A, f.B})
	}
	return l
}

func (a *App) event(s snapshot) []byte {
	text, err := json.Marshal(a.live(s))
	if err != nil { // A struct of numbers and names can be marshalled.
		a.log.Error("event not sent", "error", err)
		return []byte(": \n\n")
	}
	return fmt.Appendf(nil, "data: %s\n\n", text)
}

func (a *App) stream(w http.ResponseWriter, r *http.Request) {
	if a.hub.count() >= maxViewers {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many viewers at the moment", http.StatusServiceUnavailable)
		return
	}
	events, ok := a.hub.join()
	if !ok {
		http.Error(w, "this container is stopping", http.StatusServiceUnavailable)
		return
	}
	defer a.hub.leave(events)
	page.Common(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that would collect events
	connection := http.NewResponseController(w)
	// The request has been read; the server's limit for that must not end the stream.
	if err := connection.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	for first := true; ; first = false {
		var event []byte
		if first {
			event = append([]byte("retry: 1000\n"), a.event(a.poller.latest())...)
		} else {
			select {
			case <-r.Context().Done():
				return
			case event, ok = <-events:
				if !ok {
					return
				}
			}
		}
		// A stream is as long as it is watched; only a stuck one ends.
		if err := connection.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		if _, err := w.Write(event); err != nil {
			return
		}
		if err := connection.Flush(); err != nil {
			return
		}
	}
}

// tallyAnswer is the answer of /api/tally.
type tallyAnswer struct {
	A     int64     `json:"a"`
	B     int64     `json:"b"`
	Total int64     `json:"total"`
	AsOf  time.Time `json:"as_of,omitzero"`
	Error string    `json:"error,omitempty"`
}

func (a *App) tally(w http.ResponseWriter, r *http.Request) {
	s, err := a.poller.fresh(r.Context(), MaxAge)
	answer := tallyAnswer{A: s.tally.A, B: s.tally.B, Total: s.tally.Total(), AsOf: s.asOf}
	status := http.StatusOK
	if err != nil {
		status, answer.Error = http.StatusServiceUnavailable, "the database cannot be read; these are the last known numbers"
		w.Header().Set("Retry-After", "1")
	}
	page.Common(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // Nobody is left to be told.
}

func (a *App) healthz(w http.ResponseWriter, _ *http.Request) {
	page.Common(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s := a.poller.latest()
	switch {
	case s.asOf.IsZero():
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "no result has been read yet")
	case s.age(a.now()) > staleAfter:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "the result is %v old: %v\n", s.age(a.now()).Round(time.Second), s.err)
	default:
		fmt.Fprintln(w, "ok")
	}
}

// view is what the page shows before its script, or without it.
type view struct {
	live
	OptionA, OptionB page.Option
	ServedBy         string
	Style            template.CSS
	Script           template.JS
}

// Percent is the share of a count, with one decimal.
func (v view) Percent(n int64) string {
	if v.Total == 0 {
		return "0"
	}
	return strconv.FormatFloat(100*float64(n)/float64(v.Total), 'f', 1, 64)
}

// Number is a count with separators between the thousands.
func (v view) Number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var out []byte
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			out = append(out, ',')
		}
		out = append(out, digits[i])
	}
	return string(out)
}

// Rate is the number of votes in the last full second.
func (v view) Rate() int64 {
	if len(v.History) < 2 {
		return 0
	}
	return v.History[len(v.History)-2]
}

// Chart is the last minute as the page's script draws it: the path of a line, a point a second, in a box of 600 by 110. The last second is not
// over yet and is left out.
func (v view) Chart() string {
	if len(v.History) < 3 {
		return ""
	}
	values := v.History[:len(v.History)-1]
	top := float64(max(slices.Max(values), 1))
	path := make([]byte, 0, 12*len(values))
	for i, n := range values {
		verb := byte('L')
		if i == 0 {
			verb = 'M'
		}
		path = append(path, verb)
		path = strconv.AppendFloat(path, 600*float64(i)/float64(len(values)-1), 'f', 1, 64)
		path = append(path, ' ')
		path = strconv.AppendFloat(path, 108-100*float64(n)/top, 'f', 1, 64)
	}
	return string(path)
}

// Sum is the number of votes through a frontend.
func (f liveFrontend) Sum() int64 { return f.A + f.B }

func (a *App) show(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), MaxAge)
	defer cancel()
	s, _ := a.poller.fresh(ctx, idleInterval) // The page says how old its numbers are.
	v := view{
		live:     a.live(s),
		OptionA:  page.Option{Value: "a", Label: a.cfg.OptionA},
		OptionB:  page.Option{Value: "b", Label: a.cfg.OptionB},
		ServedBy: a.cfg.ServedBy,
		Style:    a.inlined.Style,
		Script:   a.inlined.Script,
	}
	var body bytes.Buffer
	if err := a.template.Execute(&body, v); err != nil {
		a.log.ErrorContext(r.Context(), "results page not rendered", "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	a.inlined.Headers(w.Header())
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	_, _ = body.WriteTo(w) // Nobody is left to be told.
}
