package results

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/store"
)

// fakeSource counts how often it is read.
type fakeSource struct {
	mu    sync.Mutex
	tally store.Tally
	err   error
	takes time.Duration
	reads atomic.Int64
}

var _ Source = (*fakeSource)(nil)

func (s *fakeSource) Tally(ctx context.Context) (store.Tally, error) {
	s.reads.Add(1)
	s.mu.Lock()
	tally, err, takes := s.tally, s.err, s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
		return tally, err
	case <-ctx.Done():
		return store.Tally{}, ctx.Err()
	}
}

func (s *fakeSource) set(a, b int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally = store.Tally{A: a, B: b, Merged: a + b, Frontends: []store.FrontendTally{{Name: "frontend01", A: a, B: b}}}
	s.err = err
}

func newApp(t testing.TB, s Source) *App {
	t.Helper()
	a, err := New(Config{OptionA: "Cats", OptionB: "<Dogs>", ServedBy: "results-app"}, s, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(h http.Handler, path string) (int, string, http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body), w.Result().Header
}

func TestTallyIsFreshAndShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSource{takes: 50 * time.Millisecond}
		s.set(3, 4, nil)
		app := newApp(t, s)
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				status, body, _ := get(app, "/api/tally")
				var got tallyAnswer
				if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || got.A != 3 || got.B != 4 || got.Total != 7 {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		all.Wait()
		if n := s.reads.Load(); n != 1 {
			t.Errorf("500 callers cost %d reads", n)
		}
		s.set(5, 4, nil)
		time.Sleep(MaxAge)
		if _, body, _ := get(app, "/api/tally"); !strings.HasPrefix(body, `{"a":5,"b":4,"total":9,`) {
			t.Errorf("after %v: %s", MaxAge, body)
		}
	})
}

func TestPostgresGoesAndComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSource{}
		s.set(3, 4, nil)
		app := newApp(t, s)
		if status, body, _ := get(app, "/healthz"); status != 503 {
			t.Errorf("before the first read: %d %s", status, body)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { app.Run(ctx) })
		defer running.Wait()
		defer cancel()
		time.Sleep(2 * time.Second)
		if status, body, _ := get(app, "/healthz"); status != 200 {
			t.Errorf("up: %d %s", status, body)
		}

		s.set(0, 0, errors.New("postgres is away"))
		time.Sleep(5 * time.Second)
		if status, body, _ := get(app, "/healthz"); status != 503 || !strings.Contains(body, "postgres is away") {
			t.Errorf("away: %d %s", status, body)
		}
		if status, body, _ := get(app, "/api/tally"); status != 503 || !strings.Contains(body, `"total":7`) || !strings.Contains(body, "error") {
			t.Errorf("away: %d %s", status, body)
		}
		if status, body, _ := get(app, "/"); status != 200 || !strings.Contains(body, "last known result") {
			t.Errorf("away: %d, no warning on the page", status)
		}

		s.set(8, 4, nil)
		time.Sleep(2 * time.Second)
		if status, body, _ := get(app, "/healthz"); status != 200 {
			t.Errorf("back: %d %s", status, body)
		}
		if _, body, _ := get(app, "/"); !strings.Contains(body, "up to date") || !strings.Contains(body, ">12<") {
			t.Error("back: the page does not show it")
		}
	})
}

// While Postgres hangs, nobody waits for more than two reads.
func TestHangingPostgresCostsBoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSource{takes: time.Hour}
		app := newApp(t, s)
		var all sync.WaitGroup
		began := time.Now()
		for i := range 50 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if status, body, _ := get(app, "/api/tally"); status != 503 {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 3*readTimeout {
			t.Errorf("the last caller was answered after %v", took)
		}
	})
}

func TestStream(t *testing.T) { stream(t, 200) }

// stream has so many viewers look on.
func stream(t *testing.T, viewers int) {
	t.Helper()
	s := &fakeSource{}
	s.set(1, 2, nil)
	app := newApp(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { app.Run(ctx) })
	server := httptest.NewServer(app)
	defer server.Close()
	defer running.Wait()
	defer cancel()

	var all sync.WaitGroup
	type sight struct {
		viewer int
		live
	}
	seen := make(chan sight, viewers*100)
	for viewer := range viewers {
		resp, err := http.Get(server.URL + "/api/stream")
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("headers %v", resp.Header)
		}
		all.Go(func() {
			defer resp.Body.Close()
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				data, ok := strings.CutPrefix(lines.Text(), "data: ")
				if !ok {
					continue
				}
				var l live
				if err := json.Unmarshal([]byte(data), &l); err != nil {
					t.Errorf("%s: %v", data, err)
				}
				seen <- sight{viewer, l}
			}
		})
	}
	before := s.reads.Load()
	began := time.Now()
	s.set(10, 20, nil)
	for told := map[int]bool{}; len(told) < viewers; {
		select {
		case l := <-seen:
			if l.Total == 30 && !l.Stale { // Stale it is when the machine is too slow for this crowd.
				told[l.viewer] = true
				if l.AgeMillis < 0 || len(l.History) != historySeconds || len(l.Frontends) != 1 {
					t.Errorf("event %+v", l)
				}
			}
		case <-time.After(5 * time.Minute):
			t.Fatalf("%d of %d viewers were told", len(told), viewers)
		}
	}
	if reads, most := s.reads.Load()-before, int64(time.Since(began)/MaxAge)+2; reads > most {
		t.Errorf("%d viewers cost %d reads in %v", viewers, reads, time.Since(began))
	}
	// The end of the app ends the streams: a shutdown need not wait for viewers.
	cancel()
	all.Wait()
	running.Wait()
	if resp, err := http.Get(server.URL + "/api/stream"); err != nil || resp.StatusCode != 503 {
		t.Errorf("a viewer who comes late: %v, %v", resp, err)
	}
}

func TestSlowViewerHoldsUpNobody(t *testing.T) {
	h := newHub()
	slow, _ := h.join()
	for i := range 100 {
		h.send([]byte{byte(i)})
	}
	if got := <-slow; got[0] != 99 {
		t.Errorf("the slow viewer got event %d, want the newest", got[0])
	}
	h.leave(slow)
	h.send(nil)
	if h.count() != 0 {
		t.Error("still counted")
	}
}

func TestHistory(t *testing.T) {
	p := newPoller(nil, time.Now)
	at := func(second int64, merged int64) { p.remember(time.Unix(second, 0), merged) }
	tail := func(n int) []int64 { return p.last.history[historySeconds-n:] }
	at(1000, 500)
	if diff := cmp.Diff([]int64{0, 0}, tail(2)); diff != "" {
		t.Error("votes from before the start are shown as a peak:", diff)
	}
	at(1000, 510)
	at(1001, 515)
	at(1001, 530)
	at(1004, 531)
	if diff := cmp.Diff([]int64{0, 10, 20, 0, 0, 1}, tail(6)); diff != "" {
		t.Error(diff)
	}
	at(1005, 3) // emptied
	if diff := cmp.Diff([]int64{0, 3}, tail(2)); diff != "" {
		t.Error("after a reset:", diff)
	}
	for s := range int64(200) {
		at(1006+s, 3+2*(s+1))
	}
	for i, n := range p.last.history {
		if n != 2 {
			t.Errorf("second %d: %d", i, n)
		}
	}
	if len(p.samples) > historySeconds+1 {
		t.Errorf("%d samples are kept", len(p.samples))
	}
	at(9000, 1000)
	if diff := cmp.Diff([]int64{0, 1000 - 403}, tail(2)); diff != "" {
		t.Error("after a long silence:", diff)
	}
}

func TestChartWithoutScript(t *testing.T) {
	for _, tt := range []struct {
		history []int64
		want    string
	}{
		{nil, ""},
		{[]int64{0, 0, 0, 9}, "M0.0 108.0L300.0 108.0L600.0 108.0"},
		{[]int64{1, 4, 2, 9}, "M0.0 83.0L300.0 8.0L600.0 58.0"},
	} {
		if got := (view{live: live{History: tt.history}}).Chart(); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.history, got, tt.want)
		}
	}
	s := &fakeSource{}
	s.set(1, 2, nil)
	if _, body, _ := get(newApp(t, s), "/"); !strings.Contains(body, `id="line" d="M0.0 108.0L`) {
		t.Error("the page has no chart")
	}
}

func TestPage(t *testing.T) {
	s := &fakeSource{}
	app := newApp(t, s)
	for _, tt := range []struct {
		a, b int64
		says []string
	}{
		{0, 0, []string{`>0</span><small>%`, `width="0%"`}},
		{1, 2, []string{`>33.3</span>`, `>66.7</span>`, `width="33.3%"`, "frontend01"}},
		{1234567, 0, []string{`>1,234,567</span> votes`, `>100.0</span>`}},
	} {
		s.set(tt.a, tt.b, nil)
		app.poller = newPoller(s, time.Now)
		status, body, header := get(app, "/")
		if status != 200 || header.Get("Content-Security-Policy") == "" || strings.Contains(body, "<Dogs>") {
			t.Errorf("%d %v", status, header)
		}
		for _, want := range tt.says {
			if !strings.Contains(body, want) {
				t.Errorf("%d to %d: the page lacks %s", tt.a, tt.b, want)
			}
		}
		for _, outside := range []string{"src=", "@import", "url("} {
			if strings.Contains(body, outside) {
				t.Errorf("the page refers to something outside of it: %s", outside)
			}
		}
	}
}
