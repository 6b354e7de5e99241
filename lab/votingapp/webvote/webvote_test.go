package webvote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
)

// fakeQueue keeps votes in memory.
type fakeQueue struct {
	mu     sync.Mutex
	votes  []vote.Vote
	append func(ctx context.Context) error
	health error
}

var (
	_ Appender = (*fakeQueue)(nil)
	_ Health   = (*fakeQueue)(nil)
)

func (q *fakeQueue) Append(ctx context.Context, v vote.Vote) error {
	if q.append != nil {
		if err := q.append(ctx); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.votes = append(q.votes, v)
	return nil
}

func (q *fakeQueue) Err() error { return q.health }

func (q *fakeQueue) taken() []vote.Vote {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.votes
	q.votes = nil
	return taken
}

func testKey(t testing.TB) voter.Key {
	t.Helper()
	key, err := voter.ParseKey(strings.Repeat("5", 64))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// stamped is a request's id as the balancer makes it.
const stamped = "01a1fdc5-189e-74ad-b3bc-811aeb317bdb"

func newApp(t testing.TB, q *fakeQueue) *App {
	t.Helper()
	a, err := New(Config{Frontend: "frontend01", OptionA: "Cats", OptionB: "Dogs", Key: testKey(t)},
		q, q, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// post sends a form; headers are name, value pairs.
func post(h http.Handler, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(h, r, headers...)
}

func do(h http.Handler, r *http.Request, headers ...string) *http.Response {
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func cookie(t testing.TB, resp *http.Response) voter.Identity {
	t.Helper()
	for _, c := range resp.Cookies() {
		if c.Name == voter.CookieName {
			id, err := testKey(t).Open(c.Value)
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	t.Fatal("no cookie was set")
	return voter.Identity{}
}

func asCookie(t testing.TB, id voter.Identity) string {
	t.Helper()
	return voter.CookieName + "=" + testKey(t).Seal(id)
}

const someID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

func TestBallots(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"a", form, "vote=a", 200},
		{"b", form, "vote=b", 200},
		{"with a charset", form + "; charset=UTF-8", "vote=a", 200},
		{"with an id", form, "vote=a&vote_id=" + someID, 200},
		{"with an id in capitals", form, "vote=a&vote_id=" + strings.ToUpper(someID), 200},
		{"with an empty id", form, "vote=a&vote_id=", 200},
		{"with fields of no interest", form, "vote=a&utm_source=tv", 200},
		{"neither a nor b", form, "vote=c", 400},
		{"capital", form, "vote=A", 400},
		{"markup", form, "vote=%3Cscript%3E", 400},
		{"nothing", form, "", 400},
		{"empty", form, "vote=", 400},
		{"both", form, "vote=a&vote=b", 400},
		{"twice", form, "vote=a&vote=a", 400},
		{"broken escape", form, "vote=%zz", 400},
		{"semicolon", form, "vote=a;x=1", 400},
		{"id that is none", form, "vote=a&vote_id=17", 400},
		{"id in braces", form, "vote=a&vote_id={" + someID + "}", 400},
		{"id of zeros", form, "vote=a&vote_id=" + uuid.Nil.String(), 400},
		{"two ids", form, "vote=a&vote_id=" + someID + "&vote_id=" + someID, 400},
		{"at the limit", form, "vote=a&x=" + strings.Repeat("x", maxBody-9), 200},
		{"over the limit", form, "vote=a&x=" + strings.Repeat("x", maxBody-8), 413},
		{"10 MB", form, "vote=a&x=" + strings.Repeat("x", 10<<20), 413},
		{"JSON", "application/json", `{"vote":"a"}`, 415},
		{"multipart", "multipart/form-data; boundary=x", "--x--", 415},
		{"no type", "", "vote=a", 415},
		{"broken type", ";;;", "vote=a", 415},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &fakeQueue{}
			app := newApp(t, q)
			resp := post(app, tt.body, "Content-Type", tt.contentType)
			if resp.StatusCode != tt.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
				t.Errorf("HTML: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
			}
			html := text(t, resp)
			if strings.Contains(html, `role="alert"`) != (tt.status != 200) {
				t.Errorf("HTML: an alert is missing, or should not be there:\n%s", html)
			}
			resp = post(app, tt.body, "Content-Type", tt.contentType, "Accept", "application/json")
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("JSON: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
			}
			var answer map[string]any
			if err := json.Unmarshal([]byte(text(t, resp)), &answer); err != nil {
				t.Fatal(err)
			}
			if said, _ := answer["error"].(string); (said != "") != (tt.status != 200) {
				t.Errorf("JSON: %v", answer)
			}
			if n := len(q.taken()); n != 0 && tt.status != 200 || n != 2 && tt.status == 200 {
				t.Errorf("%d votes were captured", n)
			}
		})
	}
}

func TestMethodsAndPaths(t *testing.T) {
	app := newApp(t, &fakeQueue{})
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"PUT", "/", 405},
		{"DELETE", "/", 405},
		{"PATCH", "/", 405},
		{"GET", "/favicon.ico", 404},
		{"POST", "/healthz", 405},
		{"POST", "/clock", 405},
		{"GET", "/healthz", 200},
		{"GET", "/metrics", 200},
	} {
		if resp := do(app, httptest.NewRequest(tt.method, tt.path, nil)); resp.StatusCode != tt.status {
			t.Errorf("%s %s: %s, want %d", tt.method, tt.path, resp.Status, tt.status)
		}
	}
}

// receipt is the answer to a vote in JSON.
type receipt struct {
	VoteID   uuid.UUID  `json:"vote_id"`
	VoterID  uuid.UUID  `json:"voter_id"`
	Vote     string     `json:"vote"`
	Order    vote.Order `json:"order"`
	ServedBy string     `json:"served_by"`
}

func TestReceipt(t *testing.T) {
	q := &fakeQueue{}
	resp := post(newApp(t, q), "vote=b&vote_id="+someID, "Accept", "application/json")
	var got receipt
	if err := json.Unmarshal([]byte(text(t, resp)), &got); err != nil {
		t.Fatal(err)
	}
	v := q.taken()[0]
	if got != (receipt{v.ID, v.Voter, "b", v.Order, "frontend01"}) || v.ID.String() != someID || v.Frontend != "frontend01" {
		t.Errorf("receipt %v for vote %v", got, v)
	}
	if id := cookie(t, resp); id != (voter.Identity{ID: v.Voter, Order: v.Order, Choice: vote.B}) {
		t.Errorf("cookie %v for vote %v", id, v)
	}
}

func TestReceiptPage(t *testing.T) {
	q := &fakeQueue{}
	app := newApp(t, q)
	for _, choice := range []string{"a", "b"} {
		html := text(t, post(app, "vote="+choice))
		v := q.taken()[0]
		want, err := app.page(view{
			Chosen: choice, Saved: true, VoteID: v.ID.String(), VoterID: v.Voter.String(), Order: fmt.Sprint(int64(v.Order)),
		})
		if err != nil || html != string(want) {
			t.Errorf("%v: the prepared page is not the rendered one:\n%s", err, html)
		}
	}
}

func TestVoterKeepsIdentityAndOrder(t *testing.T) {
	q := &fakeQueue{}
	// Three frontends, whose clocks are an hour apart.
	var apps []*App
	for i := range 3 {
		app := newApp(t, q)
		app.now = func() time.Time { return time.Now().Add(time.Duration(i-1) * time.Hour) }
		apps = append(apps, app)
	}
	resp := do(apps[0], httptest.NewRequest(http.MethodGet, "/", nil))
	id := cookie(t, resp)
	if id.ID == uuid.Nil || id.Order != 0 || id.Choice != 0 {
		t.Errorf("a new visitor is %v", id)
	}
	for i := range 12 {
		before := id
		resp = post(apps[(i*i+2*i)%3], "vote="+string("ab"[i%2]), "Cookie", asCookie(t, id))
		id = cookie(t, resp)
		v := q.taken()[0]
		if v.Voter != before.ID || v.Order <= before.Order || id.Order != v.Order {
			t.Fatalf("vote %d: %v after %v", i, v, before)
		}
	}
}

func TestClockIsTold(t *testing.T) {
	app := newApp(t, &fakeQueue{})
	app.now = func() time.Time { return time.Unix(1e9, 5).Local() }
	resp := do(app, httptest.NewRequest(http.MethodGet, "/clock", nil))
	if told := text(t, resp); resp.StatusCode != http.StatusOK || told != "2001-09-09T01:46:40.000000005Z\n" {
		t.Errorf("%s: %q", resp.Status, told)
	}
}

// The balancer gave up on a frontend that was frozen, had the vote answered by another one, and took on what the voter did next. The first
// one then wakes up with the request still in its hands.
func TestFrozenFrontendDoesNotWinOverLaterVotes(t *testing.T) {
	q := &fakeQueue{}
	frozen, other := newApp(t, q), newApp(t, q)
	frozen.now = func() time.Time { return time.Now().Add(time.Minute) }
	for name, alice := range map[string]voter.Identity{
		"a first vote":     {},
		"a vote after one": {ID: uuid.New(), Order: vote.Next(time.Now().Add(-time.Hour), 0), Choice: vote.B},
	} {
		first := []string{RequestHeader, stamp7(t)}
		if alice.ID != uuid.Nil {
			first = append(first, "Cookie", asCookie(t, alice))
		}
		answered := cookie(t, post(other, "vote=a", first...))
		post(other, "vote=b", RequestHeader, stamp7(t), "Cookie", asCookie(t, answered))
		post(frozen, "vote=a", first...)
		votes := q.taken()
		if !votes[1].After(votes[0]) || !votes[1].After(votes[2]) || votes[2].ID != votes[0].ID || votes[2].Order != votes[0].Order {
			t.Errorf("%s: of %v, the second is the last", name, votes)
		}
	}
}

// stamp7 is what the balancer would put on a request now.
func stamp7(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// A frontend whose clock is far ahead does not make its voters' later votes, on frontends with good clocks, lose.
func TestClockFromTheFarFuture(t *testing.T) {
	for _, year := range []int{2100, 9999, 200_000_000} {
		q := &fakeQueue{}
		ahead, right := newApp(t, q), newApp(t, q)
		ahead.now = func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
		id := cookie(t, post(ahead, "vote=a"))
		for i := range 5 {
			before := id
			app := []*App{right, ahead}[i%2]
			if id = cookie(t, post(app, "vote=b", "Cookie", asCookie(t, id))); id.ID != before.ID || id.Order <= before.Order {
				t.Errorf("year %d: %v after %v", year, id, before)
			}
		}
		for _, v := range q.taken() {
			if !v.Order.Valid() || v.Order.Time().Year() > 2200 {
				t.Errorf("year %d: order %d, of the year %d", year, v.Order, v.Order.Time().Year())
			}
		}
	}
}

func TestBadCookiesMakeNewVoters(t *testing.T) {
	other, err := voter.ParseKey(strings.Repeat("6", 64))
	if err != nil {
		t.Fatal(err)
	}
	alice := voter.Identity{ID: uuid.New(), Order: 5, Choice: vote.A}
	good := asCookie(t, alice)
	for name, value := range map[string]string{
		"forged":    voter.CookieName + "=" + other.Seal(alice),
		"damaged":   good[:len(good)-2] + "xx",
		"old":       strings.Replace(good, "=v1.", "=v0.", 1),
		"oversized": voter.CookieName + "=" + strings.Repeat("v1.", 5000),
		"duplicate": good + "; " + good,
		"empty":     voter.CookieName + "=",
		"garbage":   "\x01;;=;voter_id",
	} {
		t.Run(name, func(t *testing.T) {
			q := &fakeQueue{}
			app := newApp(t, q)
			resp := post(app, "vote=b", "Cookie", value)
			if resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
			if v := q.taken()[0]; v.Voter == alice.ID || v.Voter == uuid.Nil || cookie(t, resp).ID != v.Voter {
				t.Errorf("vote %v", v)
			}
			if resp := do(app, httptest.NewRequest(http.MethodGet, "/", nil), "Cookie", value); resp.StatusCode != 200 {
				t.Errorf("page: %s", resp.Status)
			}
		})
	}
}

func TestRetriesAreOneVoteOfOneVoter(t *testing.T) {
	q := &fakeQueue{}
	apps := []*App{newApp(t, q), newApp(t, q)} // The balancer retries on another frontend.
	for _, tt := range []struct {
		name, body string
		headers    []string
		same       bool
	}{
		{"stamped by the balancer", "vote=a", []string{RequestHeader, stamped}, true},
		{"with the client's vote id", "vote=a&vote_id=" + someID, nil, true},
		{"with both", "vote=a&vote_id=" + someID, []string{RequestHeader, "01a1fdc5-189e-74ad-b3bc-811aeb317bdc"}, true},
		{"with neither", "vote=a", nil, false},
		{"with a stamp that is not the balancer's", "vote=a", []string{RequestHeader, strings.Repeat("x", 1000)}, false},
		{"with an id that tells no time", "vote=a", []string{RequestHeader, someID}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, app := range apps {
				if resp := post(app, tt.body, tt.headers...); resp.StatusCode != 200 {
					t.Fatal(resp.Status)
				}
			}
			votes := q.taken()
			if same := votes[0].ID == votes[1].ID && votes[0].Voter == votes[1].Voter; same != tt.same {
				t.Errorf("%v and %v: the same is %v, want %v", votes[0], votes[1], same, tt.same)
			}
		})
	}
	post(apps[0], "vote=a", RequestHeader, stamp7(t))
	post(apps[0], "vote=a", RequestHeader, stamp7(t))
	if votes := q.taken(); votes[0].ID == votes[1].ID || votes[0].Voter == votes[1].Voter {
		t.Error("two requests are one vote")
	}
}

func TestQueueAway(t *testing.T) {
	away := errors.New("redis is away")
	for name, q := range map[string]*fakeQueue{
		"known to be away": {health: away},
		"fails":            {append: func(context.Context) error { return away }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, accept := range []string{"text/html", "application/json"} {
				alice := voter.Identity{ID: uuid.New(), Order: 7, Choice: vote.A}
				resp := post(newApp(t, q), "vote=b", "Accept", accept, "Cookie", asCookie(t, alice))
				if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
					t.Errorf("%s: %s, %v", accept, resp.Status, resp.Header)
				}
				if len(resp.Cookies()) != 0 {
					t.Error("a vote that was not captured changed the cookie")
				}
				if body := text(t, resp); strings.Contains(body, "redis is away") {
					t.Errorf("the voter is told about our insides: %s", body)
				}
				if len(q.taken()) != 0 {
					t.Error("captured all the same")
				}
			}
		})
	}
}

func TestPatienceIsSharedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := patience{length: time.Second, step: 100 * time.Millisecond}
		var last context.Context
		contexts := map[context.Context]bool{}
		for range 100 {
			ctx := p.context()
			contexts[ctx] = true
			last = ctx
			until, ok := ctx.Deadline()
			if left := time.Until(until); !ok || left < p.length || left > p.length+p.step {
				t.Fatalf("a context that ends in %v", left)
			}
			time.Sleep(7 * time.Millisecond)
		}
		if len(contexts) > 8 {
			t.Errorf("%d contexts in 700 ms", len(contexts))
		}
		<-last.Done()
		if !errors.Is(last.Err(), context.DeadlineExceeded) {
			t.Error(last.Err())
		}
	})
}

func TestWaitForTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{append: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		began := time.Now()
		if resp := post(newApp(t, q), "vote=a"); resp.StatusCode != http.StatusServiceUnavailable {
			t.Error(resp.Status)
		}
		if took := time.Since(began); took < captureTimeout || took > captureTimeout+patienceStep {
			t.Errorf("answered after %v", took)
		}
	})
}

func TestHealthz(t *testing.T) {
	q := &fakeQueue{}
	app := newApp(t, q)
	check := func(status int, says string) {
		t.Helper()
		resp := do(app, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if body := text(t, resp); resp.StatusCode != status || !strings.Contains(body, says) {
			t.Errorf("%s: %s; want %d, %s", resp.Status, body, status, says)
		}
	}
	check(200, "ok")
	q.health = errors.New("redis cannot be written: disk full")
	check(503, "disk full")
	q.health = nil
	check(200, "ok")
	app.StartDraining()
	check(503, "stopping")
	if resp := post(app, "vote=a"); resp.StatusCode != 200 {
		t.Errorf("a draining frontend refused a vote: %s", resp.Status)
	}
}

func TestPage(t *testing.T) {
	q := &fakeQueue{}
	app, err := New(Config{Frontend: "frontend02", OptionA: "Cats", OptionB: `<b>"Dogs"`, Key: testKey(t)},
		q, q, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	show := func(id voter.Identity) (string, http.Header) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		resp := do(app, r, "Cookie", asCookie(t, id))
		return text(t, resp), resp.Header
	}
	id := voter.Identity{ID: uuid.New()}
	fresh, header := show(id)
	if strings.Count(fresh, `aria-pressed="false"`) != 2 || strings.Contains(fresh, "<b>") || !strings.Contains(fresh, "frontend02") {
		t.Errorf("page of a new voter:\n%s", fresh)
	}
	for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"} {
		if header.Get(name) == "" {
			t.Errorf("header %s is missing", name)
		}
	}
	id.Order, id.Choice = 9, vote.B
	chosen, _ := show(id)
	if strings.Count(chosen, `aria-pressed="true"`) != 1 || !strings.Contains(chosen, "To change it, choose again.") {
		t.Errorf("page of one who voted:\n%s", chosen)
	}
	for _, outside := range []string{"src=", "@import", "url(", "<script"} {
		if strings.Contains(fresh, outside) {
			t.Errorf("the page refers to something outside of it: %s", outside)
		}
	}
}

func FuzzCast(f *testing.F) {
	key := testKey(f)
	alice := voter.Identity{ID: uuid.MustParse(someID), Order: 1 << 50, Choice: vote.B}
	const form = "application/x-www-form-urlencoded"
	f.Add("vote=a", form, voter.CookieName+"="+key.Seal(alice), "application/json", stamped)
	f.Add("vote=b&vote_id="+someID, form+"; charset=utf-8", "", "text/html", "")
	f.Add("vote=a&vote=b", form, "voter_id=; voter_id=", "*/*", "\x00")
	f.Add("%", "multipart/form-data; boundary=", "=;", "application/json;q=0", strings.Repeat("x", 200))
	q := &fakeQueue{}
	app := newApp(f, q)
	f.Fuzz(func(t *testing.T, body, contentType, cookies, accept, request string) {
		resp := post(app, body, "Content-Type", contentType, "Cookie", cookies, "Accept", accept, RequestHeader, request)
		votes := q.taken()
		switch resp.StatusCode {
		case 200:
			if len(votes) != 1 {
				t.Fatalf("acknowledged, but %d votes were captured", len(votes))
			}
			v := votes[0]
			if v.ID == uuid.Nil || v.Voter == uuid.Nil || !v.Choice.Valid() || !v.Order.Valid() {
				t.Fatalf("captured %v", v)
			}
			if got := cookie(t, resp); got != (voter.Identity{ID: v.Voter, Order: v.Order, Choice: v.Choice}) {
				t.Fatalf("cookie %v for %v", got, v)
			}
		case 400, 413, 415:
			if len(votes) != 0 {
				t.Fatalf("refused with %s, but captured %v", resp.Status, votes)
			}
		default:
			t.Fatalf("unexpected %s", resp.Status)
		}
	})
}

// answerWriter is as little of a server as there can be.
type answerWriter struct {
	header http.Header
	status int
}

func (w *answerWriter) Header() http.Header         { return w.header }
func (w *answerWriter) WriteHeader(status int)      { w.status = status }
func (w *answerWriter) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkCast(b *testing.B) {
	for _, accept := range []string{"application/json", "text/html"} {
		b.Run(fmt.Sprintf("accept=%s", accept), func(b *testing.B) {
			q := &fakeQueue{}
			app := newApp(b, q)
			body := strings.NewReader("")
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.ContentLength = 51
			for name, value := range map[string]string{
				"Content-Type": "application/x-www-form-urlencoded", "Accept": accept, RequestHeader: stamped,
				"Cookie": asCookie(b, voter.Identity{ID: uuid.New(), Order: 7, Choice: vote.A}),
			} {
				r.Header.Set(name, value)
			}
			w := &answerWriter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset("vote=b&vote_id=" + someID)
				app.ServeHTTP(w, r)
				if w.status != 200 {
					b.Fatal(w.status)
				}
				q.votes = q.votes[:0]
			}
		})
	}
}
