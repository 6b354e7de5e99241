package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// memory is a book that checks the history as it is written.
type memory struct {
	t interface{ Errorf(string, ...any) }

	mu      sync.Mutex
	voters  map[ledger.Voter]*history
	refuse  int64 // votes until Sent fails; 0: never
	written int64
	counts  Counts
	served  map[string]int64
}

// history is what the book knows of a voter.
type history struct {
	choices []byte
	pending bool
	sentAt  time.Duration
	ended   time.Duration
	known   bool // was acknowledged at least once
	ids     map[uuid.UUID]bool
	orders  []int64 // of those acknowledged
	kinds   []ledger.Kind
}

func newMemory(t interface{ Errorf(string, ...any) }) *memory {
	return &memory{t: t, voters: map[ledger.Voter]*history{}, served: map[string]int64{}}
}

var errFull = errors.New("no space left on device")

func (m *memory) Sent(v ledger.Voter, s ledger.Seq, choice byte, at time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.written++; m.refuse > 0 && m.written >= m.refuse {
		return errFull
	}
	h := m.voters[v]
	if h == nil {
		h = &history{ids: map[uuid.UUID]bool{}}
		m.voters[v] = h
	}
	switch {
	case choice != 'a' && choice != 'b':
		m.t.Errorf("voter %d chose %q", v, choice)
	case h.pending:
		m.t.Errorf("voter %d votes while a vote is on its way", v)
	case int(s) != len(h.choices):
		m.t.Errorf("voter %d: vote %d after %d votes", v, s, len(h.choices))
	case s > 0 && !h.known:
		m.t.Errorf("voter %d goes on without ever having got a cookie", v)
	case at < h.ended:
		m.t.Errorf("voter %d: sent at %s, before %s", v, at, h.ended)
	}
	h.choices, h.pending, h.sentAt = append(h.choices, choice), true, at
	m.counts.Votes++
	return nil
}

func (m *memory) Answered(v ledger.Voter, s ledger.Seq, o ledger.Outcome, at time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.voters[v]
	if h == nil || !h.pending || int(s) != len(h.choices)-1 || at < h.sentAt {
		m.t.Errorf("voter %d, vote %d: an answer to nothing, or before it", v, s)
		return nil
	}
	h.pending, h.ended = false, at
	h.kinds = append(h.kinds, o.Kind)
	switch o.Kind {
	case ledger.Acknowledged:
		m.counts.Acknowledged++
		h.known = true
		h.ids[o.VoterID] = true
		h.orders = append(h.orders, o.Order)
		m.served[o.ServedBy]++
	case ledger.Refused:
		m.counts.Refused++
	case ledger.Unknown:
		m.counts.Unknown++
	default:
		m.t.Errorf("voter %d, vote %d: %s", v, s, o.Kind)
	}
	if o.Kind != ledger.Acknowledged && o != (ledger.Outcome{Kind: o.Kind}) {
		m.t.Errorf("voter %d, vote %d was not acknowledged, yet %+v", v, s, o)
	}
	return nil
}

// sent is 0 unless the vote is on its way; orders are those of the voter's acknowledged votes.
func (m *memory) sent(v ledger.Voter, s ledger.Seq) (choice byte, orders []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.voters[v]; h != nil && h.pending && int(s) == len(h.choices)-1 {
		return h.choices[s], h.orders
	}
	return 0, nil
}

// app is a voting app that may do anything with a vote, but is honest about voters: a cookie is a voter.
type app struct {
	t      interface{ Errorf(string, ...any) }
	run    ledger.RunID
	book   *memory
	tricks []trick

	mu       sync.Mutex
	random   *rand.Rand
	requests int64
	order    int64
	votes    map[uuid.UUID]*cast1
	cookies  map[int64]string // by the order of the vote that they came with
}

// cast1 is what the app did with a vote.
type cast1 struct {
	voter     string
	taken     bool
	receipted bool
}

// trick is what the app does with a request to vote.
type trick string

const (
	honest    trick = "honest"
	late      trick = "takes it and answers too late"
	slow      trick = "takes a while"
	busy      trick = "503"
	broken    trick = "takes it and answers 500"
	limited   trick = "429"
	bad       trick = "400"
	moved     trick = "302"
	hangsUp   trick = "closes"
	takesIt   trick = "takes it and closes"
	cutShort  trick = "takes it and cuts the answer short"
	noJSON    trick = "200 and HTML"
	otherVote trick = "200 for another vote"
	otherID   trick = "200 under another id"
	nobody    trick = "200 without a voter"
	huge      trick = "200 and a megabyte"
	garbage   trick = "no HTTP"
	more      trick = "more than it announced"
	noCookie  trick = "no cookie"
	longOne   trick = "a cookie that is too long"
	closing   trick = "honest, closes after"
	stranger  trick = "takes the voter for another one"
)

var tricks = []trick{
	late, slow, busy, broken, limited, bad, moved, hangsUp, takesIt, cutShort, noJSON, otherVote, otherID, nobody, huge, garbage, more, noCookie, longOne, closing,
}

func newApp(t interface{ Errorf(string, ...any) }, book *memory, run ledger.RunID, seed uint64, tricks ...trick) *app {
	return &app{
		t: t, run: run, book: book, tricks: tricks, random: rand.New(rand.NewPCG(seed, 1)),
		votes: map[uuid.UUID]*cast1{}, cookies: map[int64]string{},
	}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(r.PostFormValue("vote_id"))
	choice := r.PostFormValue("vote")
	run, voter, seq, ok := ledger.Split(id)
	if err != nil || !ok || run != a.run || r.Method != http.MethodPost || r.Header.Get("Accept") != "application/json" {
		a.t.Errorf("a strange request: %v %v", r.Form, err)
	}
	sent, orders := a.book.sent(voter, seq)
	if string(sent) != choice {
		a.t.Errorf("vote %s for %s is not in the book, or over", id, choice)
	}
	cookie := ""
	switch cookies := r.CookiesNamed(client.CookieName); len(cookies) {
	case 0:
	case 1:
		cookie = cookies[0].Value
	default:
		a.t.Errorf("%d cookies", len(cookies))
	}

	a.mu.Lock()
	a.requests++
	have := ""
	for _, order := range orders {
		have = cmp.Or(a.cookies[order], have)
	}
	if have != cookie {
		a.t.Errorf("voter %d came with cookie %q, has %q", voter, cookie, have)
	}
	what := honest
	if len(a.tricks) > 0 {
		what = a.tricks[a.random.IntN(len(a.tricks))]
	}
	pause := time.Duration(a.random.IntN(3000)) * time.Millisecond
	who := uuid.NewSHA1(uuid.NameSpaceURL, id[:]).String()
	if cookie != "" {
		who = cookie[:36]
	}
	v := a.votes[id]
	if v == nil {
		v = &cast1{voter: who}
		a.votes[id] = v
	}
	if v.voter != who {
		a.t.Errorf("vote %s was %s's and now is %s's", id, v.voter, who)
	}
	a.order++
	order := a.order
	a.mu.Unlock()

	took := func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		v.taken = true
	}
	receipt := func(vote, voteID, voterID string) string {
		return fmt.Sprintf(`{"vote_id":%q,"voter_id":%q,"vote":%q,"order":%d,"served_by":"frontend%02d"}`, voteID, voterID, vote, order, order%3)
	}
	good := receipt(choice, id.String(), who)
	answer := func(cookie string) {
		took()
		a.mu.Lock()
		v.receipted = true
		a.cookies[order] = cookie
		a.mu.Unlock()
		if cookie != "" {
			http.SetCookie(w, &http.Cookie{Name: client.CookieName, Value: cookie, Path: "/", HttpOnly: true})
		}
		_, _ = io.WriteString(w, good)
	}
	next := who + "." + strconv.FormatInt(order, 10)
	raw := func(text string) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			a.t.Errorf("%v", err)
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
	switch what {
	case honest:
		answer(next)
	case slow:
		time.Sleep(pause)
		answer(next)
	case late:
		took()
		time.Sleep(tryTimeout + pause)
	case busy:
		w.Header().Set("Retry-After", strconv.Itoa(1+int(pause/time.Second)))
		http.Error(w, "no queue", http.StatusServiceUnavailable)
	case broken:
		took()
		http.Error(w, "who knows", http.StatusInternalServerError)
	case limited:
		http.Error(w, "slower", http.StatusTooManyRequests)
	case bad:
		http.Error(w, "bad", http.StatusBadRequest)
	case moved:
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	case hangsUp:
		raw("")
	case takesIt:
		took()
		raw("")
	case cutShort:
		took()
		raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\nSet-Cookie: voter_id=x\r\n\r\n" + good)
	case noJSON:
		_, _ = io.WriteString(w, "<html>")
	case otherVote:
		_, _ = io.WriteString(w, receipt(string('a'+'b'-choice[0]), id.String(), who))
	case otherID:
		_, _ = io.WriteString(w, receipt(choice, uuid.NewString(), who))
	case nobody:
		_, _ = io.WriteString(w, receipt(choice, id.String(), uuid.Nil.String()))
	case huge:
		_, _ = w.Write(make([]byte, 1<<20))
	case garbage:
		raw("SSH-2.0-OpenSSH\r\n\r\n")
	case more:
		took()
		a.mu.Lock()
		v.receipted = true
		a.cookies[order] = next
		a.mu.Unlock()
		raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nset-cookie: voter_id=%s; Path=/\r\n\r\n%sHTTP/1.1 200 OK\r\n\r\n", len(good), next, good))
	case noCookie:
		answer("")
	case longOne:
		answer(next + strings.Repeat(".", maxCookie))
	case closing:
		w.Header().Set("Connection", "close")
		answer(next)
	case stranger:
		good = receipt(choice, id.String(), uuid.NewString())
		answer(next)
	}
}

// pipes connect clients to a server without a network, so that time can be virtual.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve lets h answer until the returned function is called.
func serve(h http.Handler) (*httpClient, func()) {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(p)
	}()
	c := newClient("http://votingapp.local/", "")
	c.connect = p.dial
	return c, func() {
		c.abort()
		_ = server.Shutdown(context.Background()) // waits for handlers that sleep
		<-ended
	}
}

// complaints collects what goes wrong in goroutines that are not the test's.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprintf(format, args...))
}

// TestWhateverTheAppDoes: the book is a legal history, says no more than the app promised, and the summary says what the book says.
func TestWhateverTheAppDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		plan := Plan{
			URL: "http://votingapp.local/", Votes: rapid.Int64Range(1, 80).Draw(rt, "votes"),
			Change: rapid.SampledFrom([]float64{0, 0.3, 0.9, 1}).Draw(rt, "change"), Rate: rapid.SampledFrom([]float64{0, 1, 50}).Draw(rt, "rate"),
			Concurrency: rapid.IntRange(1, 8).Draw(rt, "concurrency"), Patience: rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Second, time.Minute}).Draw(rt, "patience"),
			Seed: rapid.Uint64().Draw(rt, "seed"),
		}
		plan.Voters = rapid.IntRange(0, int(plan.Votes)).Draw(rt, "voters")
		some := rapid.SliceOfN(rapid.SampledFrom(tricks), 0, 4).Draw(rt, "tricks")
		some = append(some, honest)
		stopAfter := time.Duration(rapid.IntRange(0, 100).Draw(rt, "stop after")) * time.Second // 0: not
		var wrong complaints
		synctest.Test(t, func(t *testing.T) {
			book := newMemory(&wrong)
			run := ledger.NewRunID()
			app := newApp(&wrong, book, run, plan.Seed, some...)
			c, stop := serve(app)
			defer stop()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if stopAfter > 0 {
				ctx, cancel = context.WithTimeout(ctx, stopAfter)
				defer cancel()
			}
			s, err := cast(ctx, plan, run, book, func(p Progress) {
				if p.Votes < p.Acknowledged+p.Refused+p.Unknown || p.Planned != plan.Votes {
					wrong.Errorf("progress %+v", p)
				}
			}, c)
			if err != nil {
				wrong.Errorf("%v", err)
			}
			stop()
			judge(&wrong, book, app, plan, s, stopAfter > 0)
		})
		if len(wrong.all) > 0 {
			rt.Fatal(strings.Join(wrong.all[:min(len(wrong.all), 10)], "\n"))
		}
	})
}

func judge(t *complaints, book *memory, app *app, plan Plan, s Summary, stopped bool) {
	counts := s.Counts
	counts.Retried = 0
	if diff := gocmp.Diff(book.counts, counts); diff != "" {
		t.Errorf("the book and the summary: %s", diff)
	}
	if s.Votes != s.Acknowledged+s.Refused+s.Unknown || s.Retried > s.Votes || s.Tries < s.Votes+s.Retried || s.Tries < app.requests {
		t.Errorf("%+v", s)
	}
	if !stopped && s.Votes != plan.Votes {
		t.Errorf("%d votes of %d", s.Votes, plan.Votes)
	}
	if int(s.Voters) != len(book.voters) {
		t.Errorf("%d voters, in the book %d", s.Voters, len(book.voters))
	}
	if s.Strangers != 0 {
		t.Errorf("%d strangers", s.Strangers)
	}
	if diff := gocmp.Diff(book.served, s.ServedBy); diff != "" {
		t.Errorf("served by: %s", diff)
	}
	var seconds, buckets, troubles int64
	for _, n := range s.PerSecond {
		seconds += n
	}
	for _, b := range s.Latency.Buckets {
		buckets += b.Votes
	}
	for n := range maps.Values(s.Troubles) {
		troubles += n
	}
	if seconds != s.Acknowledged || buckets != s.Acknowledged || troubles != s.Tries-s.Acknowledged {
		t.Errorf("%d in seconds, %d in buckets, %d troubles: %+v", seconds, buckets, troubles, s)
	}
	for v, h := range book.voters {
		if h.pending || len(h.ids) > 1 {
			t.Errorf("voter %d: %+v", v, h)
		}
		for seq, kind := range h.kinds {
			did := app.votes[app.run.VoteID(v, ledger.Seq(seq))]
			switch {
			case kind == ledger.Acknowledged && (did == nil || !did.receipted):
				t.Errorf("voter %d, vote %d: nobody promised", v, seq)
			case kind == ledger.Refused && did.taken:
				t.Errorf("voter %d, vote %d was taken and is called refused", v, seq)
			}
		}
	}
}

// worker answers each vote after a while.
type workers struct {
	takes   func(n int) (time.Duration, outcome)
	mu      sync.Mutex
	n       int
	begun   time.Time
	started []time.Duration
}

func (w *workers) line() line { return w }
func (w *workers) abort()     {}
func (w *workers) close()     {}

func (w *workers) try(b *ballot, _ uuid.UUID, _ time.Time, a *answer) {
	w.mu.Lock()
	n := w.n
	w.n++
	w.started = append(w.started, time.Since(w.begun))
	w.mu.Unlock()
	took, v := w.takes(n)
	time.Sleep(took)
	*a = answer{verdict: v, voterID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, b.voter)), cookie: []byte("c"), servedBy: []byte("frontend01")}
}

// TestOpenLoop: who is due while the only connection is busy waits, and the wait counts.
func TestOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Due every 50 ms; the third takes a second, all others no time at all.
		w := &workers{begun: time.Now(), takes: func(n int) (time.Duration, outcome) {
			if n == 2 {
				return time.Second, taken
			}
			return 0, taken
		}}
		plan := Plan{Votes: 40, Rate: 20, Concurrency: 1, Patience: time.Minute}
		var reports []Progress
		s, err := cast(t.Context(), plan, ledger.NewRunID(), newMemory(t), func(p Progress) { reports = append(reports, p) }, w)
		if err != nil {
			t.Fatal(err)
		}
		// Those due at 100, 150, …, 1100 ms are over at 1100 ms: 1000, 950, …, 0 ms.
		if got := s.Latency; got.Max < 999 || got.Max > 1001 || got.P90 < 799 || got.P90 > 801 {
			t.Errorf("latency %+v: the wait of those behind the slow one must count", got)
		}
		if last := w.started[39]; last != 39*50*time.Millisecond {
			t.Errorf("the last vote was cast at %s: late votes must not delay those that are not due yet", last)
		}
		if s.Overdue != 0 || s.Seconds < 1.949 || s.Seconds > 1.951 {
			t.Errorf("%+v", s)
		}
		// At 1 s: due are 0 to 20, of which three got the connection.
		if len(reports) < 2 || reports[1].Overdue != 18 || reports[1].Elapsed != time.Second {
			t.Errorf("%+v", reports)
		}
	})
}

// TestOverdue: votes that were due and never cast are told.
func TestOverdue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &workers{takes: func(int) (time.Duration, outcome) { return time.Second, taken }}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		s, err := cast(ctx, Plan{Rate: 100, Concurrency: 2, Patience: time.Minute}, ledger.NewRunID(), newMemory(t), nil, w)
		if err != nil || s.Votes != 21 || s.Acknowledged != 21 {
			t.Errorf("%+v %v", s, err)
		}
		if due := s.Votes + s.Overdue; due != 1001 {
			t.Errorf("%d votes were due until the load was stopped", due)
		}
	})
}

// TestEnds: by the context, by an abort, by a book that cannot be written to.
func TestEnds(t *testing.T) {
	t.Parallel()
	t.Run("no more votes, but those on their way are answered", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := &workers{takes: func(int) (time.Duration, outcome) { return time.Minute, taken }}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s, err := cast(ctx, Plan{Concurrency: 3, Patience: time.Hour}, ledger.NewRunID(), newMemory(t), nil, w)
			if err != nil || s.Acknowledged != 3 || s.Votes != 3 || s.Seconds != 60 {
				t.Errorf("%+v %v", s, err)
			}
		})
	})
	t.Run("abort", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			book := newMemory(t)
			run := ledger.NewRunID()
			c, stop := serve(newApp(t, book, run, 1, busy, late))
			defer stop()
			abort := make(chan struct{})
			time.AfterFunc(5*time.Second, func() { close(abort) })
			s, err := cast(t.Context(), Plan{Concurrency: 20, Patience: time.Hour, Abort: abort}, run, book, nil, c)
			if err != nil || s.Unknown != 20 || s.Votes != 20 || s.Seconds != 5 {
				t.Errorf("%+v %v", s, err)
			}
		})
	})
	t.Run("patience", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := &workers{takes: func(int) (time.Duration, outcome) { return 0, unsent }}
			s, err := cast(t.Context(), Plan{Votes: 5, Concurrency: 3, Patience: 7 * time.Second}, ledger.NewRunID(), newMemory(t), nil, w)
			if err != nil || s.Unknown != 5 || s.Retried != 5 || s.Seconds > 14 || s.Tries < 25 {
				t.Errorf("%+v %v", s, err)
			}
		})
	})
	t.Run("book", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := &workers{takes: func(int) (time.Duration, outcome) { return time.Millisecond, taken }}
			book := newMemory(t)
			book.refuse = 50
			s, err := cast(t.Context(), Plan{Concurrency: 7, Patience: time.Second}, ledger.NewRunID(), book, nil, w)
			if !errors.Is(err, errFull) || s.Votes != 49 || s.Acknowledged != 49 || w.n != 49 {
				t.Errorf("%d tries, %+v %v", w.n, s, err)
			}
		})
	})
}

// TestRefused: what may have been taken before is not called refused.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		answers []outcome
		kind    Counts
	}{
		"at once":               {[]outcome{rejected}, Counts{Votes: 1, Refused: 1}},
		"after no connection":   {[]outcome{unsent, unsent, rejected}, Counts{Votes: 1, Refused: 1, Retried: 1}},
		"after a lost answer":   {[]outcome{unsure, rejected}, Counts{Votes: 1, Unknown: 1, Retried: 1}},
		"after both":            {[]outcome{unsure, unsent, rejected}, Counts{Votes: 1, Unknown: 1, Retried: 1}},
		"taken after all of it": {[]outcome{unsure, unsent, taken}, Counts{Votes: 1, Acknowledged: 1, Retried: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &workers{takes: func(n int) (time.Duration, outcome) { return 0, want.answers[n] }}
				s, err := cast(t.Context(), Plan{Votes: 1, Concurrency: 1, Patience: time.Minute}, ledger.NewRunID(), newMemory(t), nil, w)
				if diff := gocmp.Diff(want.kind, s.Counts); diff != "" || err != nil {
					t.Error(diff, err)
				}
			})
		})
	}
}

// TestStranger: a browser whose voter changed is told and not used again.
func TestStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		book := newMemory(t)
		run := ledger.NewRunID()
		c, stop := serve(newApp(t, book, run, 1, stranger))
		defer stop()
		s, err := cast(t.Context(), Plan{Votes: 100, Voters: 10, Concurrency: 4, Patience: time.Second}, run, book, nil, c)
		if err != nil || s.Acknowledged != 100 || s.Strangers == 0 || s.Strangers+s.Voters > 110 {
			t.Errorf("%+v %v", s, err)
		}
		for v, h := range book.voters {
			if len(h.choices) > 2 {
				t.Errorf("voter %d voted %d times", v, len(h.choices))
			}
		}
	})
}
