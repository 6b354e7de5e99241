package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votes/client"
)

// app is a voting app that does what a test says.
type app struct {
	mu sync.Mutex
	// answers are the statuses with which votes are answered, one after the other; then 200.
	answers []int
	ids     []string
	cookies []string
	tallies []client.Tally
	asked   int
	reply   string
	// requests so far, of both pages; at the last one, time is over for whoever asks.
	requests, last int
	over           chan struct{}
}

// deadline is a context whose time is over when the app has been asked so many times. However slow the machine is, each answer but that to
// the last request has come by then.
type deadline struct {
	context.Context
	over chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.over }

func (d deadline) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// until gives whoever asks the app so many requests from now on.
func (a *app) until(t *testing.T, requests int) context.Context {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.over = a.requests+requests, make(chan struct{})
	return deadline{t.Context(), a.over}
}

// request counts one; the mutex is held.
func (a *app) request() {
	if a.requests++; a.requests == a.last {
		close(a.over)
	}
}

func (a *app) client(t *testing.T) *client.Client {
	t.Helper()
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL + "/"
	}
	return client.New(serve(a.vote), serve(a.tally))
}

func (a *app) vote(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.request()
	if r.Method == http.MethodPost {
		a.ids = append(a.ids, r.PostFormValue("vote_id"))
		if c, err := r.Cookie("voter_id"); err == nil {
			a.cookies = append(a.cookies, c.Value)
		}
	}
	if len(a.answers) > 0 {
		status := a.answers[0]
		a.answers = a.answers[1:]
		http.Error(w, "the queue   cannot\nbe written", status)
		return
	}
	if a.reply != "" {
		fmt.Fprint(w, a.reply)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "voter_id", Value: "signed", HttpOnly: true, Secure: true})
	_ = json.NewEncoder(w).Encode(map[string]string{"vote_id": r.PostFormValue("vote_id"), "vote": r.PostFormValue("vote"), "served_by": "frontend01"})
}

func (a *app) tally(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.request()
	i := min(a.asked, len(a.tallies)-1)
	a.asked++
	if i < 0 {
		http.Error(w, "no database", http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(a.tallies[i])
}

// patiently bounds what is to happen.
func patiently(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestCastTriesAgainAsOneVote(t *testing.T) {
	t.Parallel()
	a := &app{answers: []int{503, 502, 429}}
	receipt, cookie, err := a.client(t).Cast(patiently(t), "b", "old")
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Vote != "b" || receipt.ServedBy != "frontend01" || cookie != "signed" {
		t.Errorf("receipt %+v, cookie %q", receipt, cookie)
	}
	if len(a.ids) != 4 || a.ids[0] == "" || a.ids[3] != a.ids[0] {
		t.Errorf("vote ids %v: a retry must be the same vote", a.ids)
	}
	if strings.Join(a.cookies, " ") != "old old old old" {
		t.Errorf("cookies %v", a.cookies)
	}
}

func TestCastRefused(t *testing.T) {
	t.Parallel()
	a := &app{answers: []int{400}}
	_, cookie, err := a.client(t).Cast(patiently(t), "c", "old")
	var refused *client.Refused
	if !errors.As(err, &refused) || refused.Status != 400 || refused.Text != "the queue cannot be written" || cookie != "old" {
		t.Errorf("got %v, cookie %q", err, cookie)
	}
	for reply, want := range map[string]string{`{"vote":"a"}`: `asked for "b", it answered for "a"`, "<html>": "the answer is no receipt"} {
		a := &app{reply: reply}
		if _, _, err := a.client(t).Cast(a.until(t, 2), "b", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", reply, err)
		}
	}
}

// TestTimeoutTellsWhy: what went wrong last is worth more than that time is over.
func TestTimeoutTellsWhy(t *testing.T) {
	t.Parallel()
	a := &app{answers: make([]int, 1000)}
	for i := range a.answers {
		a.answers[i] = 503
	}
	c := a.client(t)
	if _, _, err := c.Cast(a.until(t, 2), "a", ""); err == nil || !strings.Contains(err.Error(), "status 503: the queue cannot be written") {
		t.Errorf("cast: %v", err)
	}
	if err := c.Answers(a.until(t, 2)); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("answers: %v", err)
	}
	if _, err := c.AwaitTally(a.until(t, 2), func(client.Tally) bool { return true }); err == nil || !strings.Contains(err.Error(), "no database") {
		t.Errorf("tally: %v", err)
	}
}

// queue plays a frontend's agent: each call is the next check.
type queue struct {
	captured, queued []float64
	calls            int
}

func (q *queue) Depth(context.Context, string) (float64, float64, time.Time, error) {
	i := min(q.calls, len(q.captured)-1)
	q.calls++
	return q.captured[i], q.queued[i], time.Unix(int64(i), 0), nil
}

func TestCastCounted(t *testing.T) {
	t.Parallel()
	t.Run("a new voter shows in the tally", func(t *testing.T) {
		t.Parallel()
		a := &app{tallies: []client.Tally{{A: 1, Total: 1}, {A: 1, Total: 1}, {A: 2, Total: 2}}}
		_, _, tally, err := a.client(t).CastCounted(patiently(t), "a", "", &queue{})
		if err != nil || tally.A != 2 {
			t.Errorf("%+v %v", tally, err)
		}
	})
	t.Run("who says the same again shows in the queue", func(t *testing.T) {
		t.Parallel()
		a := &app{tallies: []client.Tally{{A: 1, Total: 1}}}
		q := &queue{captured: []float64{5, 5, 6, 6, 6}, queued: []float64{0, 0, 2, 1, 0}}
		_, _, tally, err := a.client(t).CastCounted(patiently(t), "a", "me", q)
		if err != nil || tally.A != 1 {
			t.Errorf("%+v %v", tally, err)
		}
		if q.calls != 5 {
			t.Errorf("believed after %d checks: the first two may be older than the vote, and the next two still hold it", q.calls)
		}
	})
	t.Run("not counted is not refused", func(t *testing.T) {
		t.Parallel()
		a := &app{tallies: []client.Tally{{}}}
		receipt, cookie, _, err := a.client(t).CastCounted(a.until(t, 4), "a", "", &queue{})
		if err == nil || !strings.Contains(err.Error(), "taken by frontend01 but not seen counted") || receipt.ServedBy == "" || cookie == "" {
			t.Errorf("%+v %q %v", receipt, cookie, err)
		}
	})
}

func TestCookieFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "voters", "ann")
	if got, err := client.LoadCookie(path); got != "" || err != nil {
		t.Errorf("no file: %q %v", got, err)
	}
	if err := client.SaveCookie(path, "signed"); err != nil {
		t.Fatal(err)
	}
	if got, err := client.LoadCookie(path); got != "signed" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}
