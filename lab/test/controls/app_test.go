package controls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
	"github.com/swarmlab/swarmlab/lab/votingapp/worker"
)

// connections is how many votes are on their way at once.
const connections = 16

// seed decides who votes for what, and whose histories are looked at closely.
const seed = 4

// patience bounds every wait. It is no part of what is tested.
const patience = 5 * time.Minute

// frontend is a web-vote-app with its Redis. Its queue and its clock may be replaced.
type frontend struct {
	redis *testservices.Redis
	url   *url.URL
}

// capture is what may be replaced in a frontend.
type capture struct {
	now   func() time.Time
	queue func(webvote.Appender) webvote.Appender
}

func startFrontend(t *testing.T, redis *testservices.Redis, n int, c capture) frontend {
	t.Helper()
	key, err := voter.ParseKey(strings.Repeat("5", 64))
	if err != nil {
		t.Fatal(err)
	}
	writer := queue.NewWriter(redis.Client(t), nil)
	prober := queue.NewProber(redis.Client(t), func(error) {})
	ctx, cancel := context.WithCancel(context.Background())
	var probing sync.WaitGroup
	probing.Go(func() { prober.Run(ctx) })
	var appender webvote.Appender = writer
	if c.queue != nil {
		appender = c.queue(writer)
	}
	app, err := webvote.New(webvote.Config{Frontend: fmt.Sprintf("frontend%02d", n), OptionA: "Cats", OptionB: "Dogs", Key: key, Now: c.now},
		appender, prober, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
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
	where, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	return frontend{redis: redis, url: where}
}

// services are what the app stores votes in. They are started once: each app finds them empty and with their usual settings.
type services struct {
	redises  [2]*testservices.Redis
	postgres *testservices.Postgres
}

func startServices(t *testing.T) *services {
	t.Helper()
	s := &services{postgres: testservices.StartPostgres(t)}
	for i := range s.redises {
		s.redises[i] = testservices.StartRedis(t)
	}
	return s
}

func (s *services) reset(t *testing.T) {
	t.Helper()
	s.postgres.Exec(t, "votes", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	for _, r := range s.redises {
		r.Reset(t)
	}
}

// app is two frontends behind a balancer, and a database. Workers come and go.
type app struct {
	t         *testing.T
	frontends []frontend
	balancer  string
	postgres  *testservices.Postgres
	store     *store.Store
	datastore *datastore.Datastore
	// lab is where the ledger and the passwords lie.
	lab *settings.Lab
}

func start(t *testing.T, s *services, captures [2]capture) *app {
	t.Helper()
	s.reset(t)
	lab := fleettest.Clone(t)
	a := &app{t: t, lab: lab, postgres: s.postgres}
	for _, file := range []string{pki.RedisPasswordFile, pki.PostgresPasswordFile} {
		if err := os.WriteFile(lab.Path(filepath.FromSlash(file)), []byte(testservices.Password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reach := tunnels{"store/pg": a.postgres.Addr}
	for i, c := range captures {
		f := startFrontend(t, s.redises[i], i+1, c)
		a.frontends = append(a.frontends, f)
		reach[fmt.Sprintf("frontend%02d/redis%02d", i+1, i+1)] = f.redis.Addr
	}
	var turn atomic.Uint64
	balancer := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(a.frontends[turn.Add(1)%uint64(len(a.frontends))].url)
			r.Out.Host = r.In.Host
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	t.Cleanup(balancer.Close)
	a.balancer = balancer.URL + "/"

	var err error
	a.store, err = store.Open(t.Context(), store.Config{
		Addr: a.postgres.Addr, User: "postgres", Password: testservices.Password, Database: "votes", Conns: 6, Name: "worker",
		ConnectTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.store.Close)
	a.await("the database is ready", func(ctx context.Context) error {
		_, err := a.store.Migrate(ctx)
		return err
	})
	if a.datastore, err = datastore.Open(lab, reach); err != nil {
		t.Fatal(err)
	}
	for _, f := range a.frontends {
		a.await("the frontend is healthy", func(ctx context.Context) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url.JoinPath("healthz").String(), nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("it says %s", response.Status)
			}
			return nil
		})
	}
	return a
}

// tunnels lead from "node/container" to an address.
type tunnels map[string]string

func (t tunnels) Dial(ctx context.Context, node, container string, _ int) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", t[node+"/"+container])
}

// await polls a condition until it holds.
func (a *app) await(what string, condition func(context.Context) error) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			a.t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// cast begins to cast votes, of which the share change is of voters who voted before, and keeps the ledger. The function that it returns
// waits until all are acknowledged.
func (a *app) cast(votes int64, change float64) (finish func()) {
	a.t.Helper()
	run := ledger.Run{ID: ledger.NewRunID(), Started: time.Now(), Lab: a.lab.Name, Seed: seed}
	book, err := ledger.Create(a.lab.LedgerDir(), run)
	if err != nil {
		a.t.Fatal(err)
	}
	var (
		summary load.Summary
		casting sync.WaitGroup
	)
	casting.Go(func() {
		summary, err = load.Run(a.t.Context(), load.Plan{
			URL: a.balancer, Votes: votes, Change: change, Concurrency: connections, Patience: patience, Seed: run.Seed,
		}, run.ID, book, nil)
		err = errors.Join(err, book.Close())
	})
	a.t.Cleanup(casting.Wait)
	return func() {
		a.t.Helper()
		casting.Wait()
		if err != nil {
			a.t.Fatal(err)
		}
		if summary.Acknowledged != votes || summary.Strangers != 0 {
			a.t.Fatalf("%d of %d votes were acknowledged, %d voters taken for others: %v", summary.Acknowledged, votes, summary.Strangers, summary.Troubles)
		}
	}
}

// lease is how long entries may be with a worker.
const lease = 300 * time.Millisecond

// work starts a worker on all queues, whose parts may be replaced, and returns what stops it.
func (a *app) work(name string, into worker.Store, from func(worker.Queue) worker.Queue) (stop func()) {
	a.t.Helper()
	const batch = 100
	ctx, cancel := context.WithCancel(context.Background())
	var draining sync.WaitGroup
	for i, f := range a.frontends {
		w := worker.New(into, worker.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
		q := from(queue.NewReader(f.redis.Client(a.t), name, lease, batch))
		draining.Go(func() { w.Drain(ctx, worker.QueueHost(i+1), q) })
	}
	a.t.Cleanup(func() {
		cancel()
		draining.Wait()
	})
	return cancel
}

func honest(q worker.Queue) worker.Queue { return q }

// judge waits until the queues are empty, and gives the verdict.
func (a *app) judge() checker.Report {
	a.t.Helper()
	v := verify.Verifier{Lab: a.lab, Datastore: a.datastore}
	got, err := v.Settled(a.t.Context(), verify.Options{
		Options: checker.Options{Exclusive: true, Sample: 1000, Seed: seed}, Timeout: patience,
	}, func([]string) {})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, q := range got.Queues {
		if q.Dead > 0 {
			a.t.Errorf("%s has %d dead letters", q.Node, q.Dead)
		}
	}
	a.t.Logf("%s: %d votes of %d voters, %v", got.Result, got.Sent.Votes, got.Sent.Voters, got.Found)
	return got.Report
}

// innocent fails the test unless the promise was kept.
func innocent(t *testing.T, r checker.Report) {
	t.Helper()
	if r.Result != checker.Pass || r.Violations() != 0 || r.Register.Violations != 0 || r.Register.Undecided != 0 {
		t.Errorf("the real app is found guilty: %+v", r)
	}
}

// guilty fails the test unless the report finds violations of just one kind, and no other.
func guilty(t *testing.T, r checker.Report, of checker.Kind) {
	t.Helper()
	if r.Result != checker.Fail || r.Found[of] == 0 || r.Found[of] != r.Violations() {
		t.Errorf("it is not found guilty of %s alone: %s, %v", of, r.Result, r.Found)
	}
}
