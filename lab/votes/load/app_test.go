package load_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
)

// store is the queue and the database in one: of each voter it keeps the vote of the highest order.
type store struct {
	// forget: so many votes are acknowledged and forgotten, one out of this many; 0: none.
	forget int

	mu    sync.Mutex
	n     int
	votes map[uuid.UUID]vote.Vote
}

var errAway = errors.New("the queue is away")

// Append fails now and then, sometimes with the vote kept all the same.
func (s *store) Append(_ context.Context, v vote.Vote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	switch {
	case s.n%37 == 0:
		return errAway
	case s.forget > 0 && s.n%s.forget == 0:
		return nil
	}
	old, known := s.votes[v.Voter]
	if !known || old.Order < v.Order {
		s.votes[v.Voter] = v
	}
	if s.n%41 == 0 {
		return errAway
	}
	return nil
}

func (s *store) Err() error { return nil }

func (s *store) evidence() checker.Evidence {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []checker.Row
	var tally checker.Tally
	for _, v := range s.votes {
		rows = append(rows, checker.Row{VoterID: v.Voter, VoteID: v.ID, Choice: byte(v.Choice), At: time.Now()})
		if v.Choice == vote.A {
			tally.A++
		} else {
			tally.B++
		}
	}
	return checker.Evidence{Tally: tally, Rows: func(yield func(checker.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}}
}

// balancer hands requests to frontends in turn, and loses some answers.
type balancer struct {
	frontends []http.Handler
	n         atomic.Int64
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := b.n.Add(1)
	if n%29 == 0 {
		b.frontends[0].ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	b.frontends[n%int64(len(b.frontends))].ServeHTTP(w, r)
}

// TestRealApp casts votes at the voting app itself, whose queue and balancer fail now and then, and has the judge look at the ledger.
func TestRealApp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		forget int
		want   checker.Result
	}{
		"every promise kept":               {0, checker.Pass},
		"acknowledged votes are forgotten": {50, checker.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := voter.ParseKey(strings.Repeat("5", 64))
			if err != nil {
				t.Fatal(err)
			}
			s := &store{forget: tt.forget, votes: map[uuid.UUID]vote.Vote{}}
			b := &balancer{}
			for _, name := range []string{"frontend01", "frontend02"} {
				app, err := webvote.New(webvote.Config{Frontend: name, Key: key}, s, s, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				b.frontends = append(b.frontends, app)
			}
			server := httptest.NewServer(b)
			defer server.Close()

			dir := t.TempDir()
			run := ledger.Run{ID: ledger.NewRunID(), Started: time.Now()}
			book, err := ledger.Create(dir, run)
			if err != nil {
				t.Fatal(err)
			}
			plan := load.Plan{URL: server.URL + "/", Votes: 1500, Voters: 300, Concurrency: 64, Patience: 5 * time.Minute, Seed: 3}
			summary, err := load.Run(t.Context(), plan, run.ID, book, nil)
			if err := errors.Join(err, book.Close()); err != nil {
				t.Fatal(err)
			}
			if summary.Acknowledged != plan.Votes || summary.Voters != 300 || summary.Strangers != 0 || summary.Retried == 0 || len(summary.ServedBy) != 2 {
				t.Errorf("%+v", summary)
			}

			r, err := ledger.Open(ledger.Path(dir, run.ID))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close() //nolint:errcheck // only read
			report, err := checker.Judge([]checker.Source{r}, s.evidence(), checker.Options{Exclusive: true, Sample: 100})
			if err != nil || report.Result != tt.want {
				t.Errorf("%+v %v", report, err)
			}
			if report.Sent.Acknowledged != summary.Acknowledged || report.Sent.Voters != summary.Voters {
				t.Errorf("the judge read %+v, the summary says %+v", report.Sent, summary)
			}
		})
	}
}
