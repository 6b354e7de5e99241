package votingapp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/results"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

// frontend is a web-vote-app with its Redis.
type frontend struct {
	url   string
	redis *testservices.Redis
}

func startFrontend(t *testing.T, n int) frontend {
	t.Helper()
	key, err := voter.ParseKey(strings.Repeat("5", 64))
	if err != nil {
		t.Fatal(err)
	}
	server := testservices.StartRedis(t)
	writer := queue.NewWriter(server.Client(t), nil)
	prober := queue.NewProber(server.Client(t), func(error) {})
	ctx, cancel := context.WithCancel(context.Background())
	var probing sync.WaitGroup
	probing.Go(func() { prober.Run(ctx) })
	app, err := webvote.New(webvote.Config{Frontend: fmt.Sprintf("frontend%02d", n), OptionA: "Cats", OptionB: "Dogs", Key: key},
		writer, prober, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(app)
	t.Cleanup(func() {
		web.Close()
		cancel()
		probing.Wait()
		writer.Close()
	})
	f := frontend{url: web.URL, redis: server}
	f.waitHealthy(t)
	return f
}

func (f frontend) waitHealthy(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(f.url + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == 200 {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("frontend is not healthy: %v", err)
		}
	}
}

// aVoter is a browser.
type aVoter struct {
	client *http.Client
	random *rand.Rand
	id     string
	// last is the last acknowledged vote, unsure those after it whose fate is unknown.
	last   string
	unsure map[string]bool
	voted  bool
}

func newVoter(seed uint64) *aVoter {
	jar, _ := cookiejar.New(nil) // Never fails without options.
	return &aVoter{
		client: &http.Client{Jar: jar, Timeout: 5 * time.Second},
		random: rand.New(rand.NewPCG(seed, 7)),
		unsure: map[string]bool{},
	}
}

// vote casts one vote, as often as it takes, on whichever frontend, always with the same id; it reports whether it was acknowledged.
func (v *aVoter) vote(t *testing.T, frontends []frontend, tries int) bool {
	t.Helper()
	id := uuid.NewString()
	form := url.Values{"vote": {string("ab"[v.random.IntN(2)])}, "vote_id": {id}}
	for range tries {
		f := frontends[v.random.IntN(len(frontends))]
		req, err := http.NewRequest(http.MethodPost, f.url+"/", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		// The same browser, whichever frontend the balancer chose.
		for _, c := range v.client.Jar.Cookies(&url.URL{Scheme: "http", Host: "votingapp.local"}) {
			req.AddCookie(c)
		}
		bare := &http.Client{Timeout: v.client.Timeout}
		resp, err := bare.Do(req)
		if err != nil {
			v.unsure[id] = true
			continue
		}
		var receipt struct {
			VoterID string `json:"voter_id"`
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			v.unsure[id] = true
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err := json.Unmarshal(body, &receipt); err != nil {
			t.Fatal(err)
		}
		if v.voted && v.id != receipt.VoterID {
			t.Errorf("voter %s became %s", v.id, receipt.VoterID)
		}
		v.client.Jar.SetCookies(&url.URL{Scheme: "http", Host: "votingapp.local"}, resp.Cookies())
		v.id, v.last, v.voted = receipt.VoterID, id, true
		clear(v.unsure)
		// Sometimes the answer is lost on the way, and the browser's user sends the form again.
		if v.random.IntN(10) > 0 {
			return true
		}
	}
	return v.last == id
}

// TestEveryVoteIsCounted casts votes on two frontends while services crash, and judges what is in Postgres afterwards.
func TestEveryVoteIsCounted(t *testing.T) {
	frontends := []frontend{startFrontend(t, 1), startFrontend(t, 2)}
	pg := testservices.StartPostgres(t)
	database := pg.Database(t)
	votes, err := store.Open(t.Context(), store.Config{
		Addr: pg.Addr, User: "postgres", Password: testservices.Password, Database: database, Conns: 6, Name: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer votes.Close()
	if _, err := votes.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}

	// A worker that takes votes and dies with them.
	dying := queue.NewReader(frontends[0].redis.Client(t), "dying", worker.Lease, 50)
	// Two workers on the same queues.
	working, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for n := range 2 {
		for i, f := range frontends {
			w := worker.New(votes, worker.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
			reader := queue.NewReader(f.redis.Client(t), fmt.Sprintf("worker%02d", n), worker.Lease, 200)
			workers.Go(func() { w.Drain(working, fmt.Sprintf("redis%02d", i+1), reader) })
		}
	}
	defer workers.Wait()
	defer stop()

	const voters, each = 40, 25
	all := make([]*aVoter, voters)
	var voting sync.WaitGroup
	for i := range all {
		all[i] = newVoter(uint64(i))
		voting.Go(func() {
			for range each {
				all[i].vote(t, frontends, 100)
				time.Sleep(time.Duration(all[i].random.IntN(60)) * time.Millisecond)
			}
		})
	}
	if held, err := dying.Read(t.Context(), time.Second); err != nil {
		t.Error(err)
	} else {
		t.Logf("a worker died with %d votes", len(held))
	}
	time.Sleep(200 * time.Millisecond)
	frontends[1].redis.Kill(t)
	frontends[1].redis.Restart(t)
	pg.Kill(t)
	pg.Restart(t)
	voting.Wait()

	registry := prometheus.NewRegistry()
	app, err := results.New(results.Config{OptionA: "Cats", OptionB: "Dogs", ServedBy: "results-app"}, votes, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	waitDrained(t, frontends)
	judge(t, pg, database, all)

	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/tally", nil))
	var tally struct{ A, B, Total int64 }
	if err := json.Unmarshal(w.Body.Bytes(), &tally); err != nil {
		t.Fatal(err)
	}
	conn := pg.Conn(t, database)
	var a, b int64
	err = conn.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE vote = 'a'), count(*) FILTER (WHERE vote = 'b') FROM votes").Scan(&a, &b)
	if err != nil || tally.A != a || tally.B != b || tally.Total != voters {
		t.Errorf("tally %+v, table %d and %d of %d voters, %v", tally, a, b, voters, err)
	}
}

func waitDrained(t *testing.T, frontends []frontend) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, f := range frontends {
		client := f.redis.Client(t)
		for {
			left, err := client.XLen(t.Context(), queue.Stream).Result()
			if err == nil && left == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("queue is not drained: %d left, %v", left, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if dead, err := client.XLen(t.Context(), queue.DeadStream).Result(); err != nil || dead != 0 {
			t.Errorf("%d dead letters, %v", dead, err)
		}
	}
}

// judge compares the table with what the voters know.
func judge(t *testing.T, pg *testservices.Postgres, database string, all []*aVoter) {
	t.Helper()
	rows, err := pg.Conn(t, database).Query(t.Context(), "SELECT voter_id::text, vote_id::text FROM votes")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	have := map[string]string{}
	for rows.Next() {
		var voterID, voteID string
		if err := rows.Scan(&voterID, &voteID); err != nil {
			t.Fatal(err)
		}
		have[voterID] = voteID
	}
	for i, v := range all {
		got, ok := have[v.id]
		switch {
		case !v.voted:
			t.Errorf("voter %d was never heard", i)
		case !ok:
			t.Errorf("lost: voter %d", i)
		case got != v.last && !v.unsure[got]:
			t.Errorf("stale: voter %d has vote %s, want %s", i, got, v.last)
		}
		delete(have, v.id)
	}
	if len(have) != 0 {
		t.Errorf("phantom: %d voters that do not exist", len(have))
	}
}
