package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// open gives a store on a new database.
func open(t testing.TB, pg *testservices.Postgres) (*store.Store, string) {
	t.Helper()
	database := pg.Database(t)
	return openDatabase(t, pg, database), database
}

func openDatabase(t testing.TB, pg *testservices.Postgres, database string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{
		Addr: pg.Addr, User: "postgres", Password: testservices.Password, Database: database, Conns: 8, Name: "a 'test'",
		ConnectTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func migrated(t testing.TB, pg *testservices.Postgres) (*store.Store, string) {
	t.Helper()
	s, database := open(t, pg)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, database
}

func tally(t testing.TB, s *store.Store) store.Tally {
	t.Helper()
	got, err := s.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// rows reads all of the table votes.
func rows(t testing.TB, conn *pgx.Conn) []vote.Vote {
	t.Helper()
	found, err := conn.Query(t.Context(), "SELECT voter_id, vote, vote_id, clock, frontend FROM votes ORDER BY voter_id")
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (vote.Vote, error) {
		var (
			v      vote.Vote
			choice string
		)
		err := row.Scan(&v.Voter, &choice, &v.ID, &v.Order, &v.Frontend)
		v.Choice = vote.Choice(choice[0])
		return v, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// want is the tally of these rows.
func want(list []vote.Vote, merged int64) store.Tally {
	frontends := map[string]*store.FrontendTally{}
	t := store.Tally{Merged: merged}
	for _, v := range list {
		f := frontends[v.Frontend]
		if f == nil {
			f = &store.FrontendTally{Name: v.Frontend}
			frontends[v.Frontend] = f
		}
		if v.Choice == vote.A {
			t.A, f.A = t.A+1, f.A+1
		} else {
			t.B, f.B = t.B+1, f.B+1
		}
	}
	for _, name := range slices.Sorted(maps.Keys(frontends)) {
		t.Frontends = append(t.Frontends, *frontends[name])
	}
	return t
}

// withoutEmpty leaves out frontends whose voters have all moved on to another one.
func withoutEmpty(t store.Tally) store.Tally {
	t.Frontends = slices.DeleteFunc(slices.Clone(t.Frontends), func(f store.FrontendTally) bool { return f.A == 0 && f.B == 0 })
	if len(t.Frontends) == 0 {
		t.Frontends = nil
	}
	return t
}

// TestStore runs the tests below on one Postgres, each on a database of its own.
func TestStore(t *testing.T) {
	pg := testservices.StartPostgres(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *testservices.Postgres)
	}{
		{"Tally of a new database", testTallyOfANewDatabase},
		{"Migrate", testMigrate},
		{"Merge any order any cut", testMergeAnyOrderAnyCut},
		{"Merge concurrently", testMergeConcurrently},
		{"Tally follows changes manually", testTallyFollowsChangesByHand},
		{"Rejected", testRejected},
		{"Migrate an older schema", testMigrateOlder},
		{"Witness", testWitness},
		{"Postgres goes and comes", testPostgresGoesAndComes},
		{"Close waits for nobody", testCloseWaitsForNobody},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, pg) })
	}
}

func testTallyOfANewDatabase(t *testing.T, pg *testservices.Postgres) {
	s, _ := open(t, pg)
	if got := tally(t, s); got.Total() != 0 {
		t.Errorf("before the first worker: %v", got)
	}
	if _, err := s.Merge(t.Context(), []vote.Vote{{ID: uuid.New(), Voter: uuid.New(), Choice: vote.A, Order: 1, Frontend: "f"}}); !store.Unprepared(err) {
		t.Errorf("merge into a new database: %v, want an error that is Unprepared", err)
	}
}

func testMigrate(t *testing.T, pg *testservices.Postgres) {
	s, database := open(t, pg)
	var together sync.WaitGroup
	for range 4 { // Workers start at the same time.
		together.Go(func() {
			if version, err := s.Migrate(t.Context()); err != nil || version != 2 {
				t.Errorf("Migrate = %d, %v", version, err)
			}
		})
	}
	together.Wait()
	pg.Exec(t, database, "INSERT INTO schema_migrations (version, name) VALUES (7, 'from the future')")
	_, err := s.Migrate(t.Context())
	if newer := new(store.NewerSchemaError); !errors.As(err, &newer) || newer.Have != 7 {
		t.Errorf("a newer schema: %v", err)
	}
}

func testMigrateOlder(t *testing.T, pg *testservices.Postgres) {
	s, database := migrated(t, pg)
	batch := []vote.Vote{{ID: uuid.New(), Voter: uuid.New(), Choice: vote.B, Order: 1, Frontend: "frontend01"}}
	if _, err := s.Merge(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	pg.Exec(t, database, "DROP TABLE queues, incidents; DELETE FROM schema_migrations WHERE version > 1") // as version 1 left it
	if version, err := s.Migrate(t.Context()); err != nil || version != 2 {
		t.Errorf("Migrate = %d, %v", version, err)
	}
	if diff := cmp.Diff(batch, rows(t, pg.Conn(t, database))); diff != "" {
		t.Error("the votes of before:", diff)
	}
}

func testWitness(t *testing.T, pg *testservices.Postgres) {
	s, database := migrated(t, pg)
	sees := func(identity string, captured int64) func(context.Context) (store.Sighting, error) {
		return func(context.Context) (store.Sighting, error) {
			return store.Sighting{Identity: identity, Captured: captured}, nil
		}
	}
	for i, step := range []struct {
		queue, identity string
		captured        int64
		want            store.Loss
	}{
		{"redis01", "x", 0, store.LossNone},
		{"redis01", "x", 100, store.LossNone},
		{"redis02", "y", 7, store.LossNone},
		{"redis01", "x", 100, store.LossNone},
		{"redis01", "x", 99, store.LossOlder},
		{"redis01", "x", 99, store.LossNone}, // said once
		{"redis01", "x", 101, store.LossNone},
		{"redis01", "z", 500, store.LossEmpty},
		{"redis01", "z", 501, store.LossNone},
		{"redis02", "y", 8, store.LossNone},
	} {
		if got, err := s.Witness(t.Context(), step.queue, sees(step.identity, step.captured)); err != nil || got != step.want {
			t.Errorf("step %d: %q, %v; want %q", i, got, err, step.want)
		}
	}
	// One who looked before the loss and records after it, and several who see one loss at the same time.
	late, err := s.Witness(t.Context(), "redis02", func(ctx context.Context) (store.Sighting, error) {
		got, err := s.Witness(ctx, "redis02", sees("y", 1))
		if got != store.LossOlder {
			t.Errorf("%q, %v", got, err)
		}
		return store.Sighting{Identity: "y", Captured: 9}, err
	})
	if late != store.LossNone || err != nil {
		t.Errorf("late: %q, %v", late, err)
	}
	if got, err := s.Witness(t.Context(), "redis02", sees("y", 2)); got != store.LossNone || err != nil {
		t.Errorf("after the late one: %q, %v", got, err)
	}
	var (
		mu     sync.Mutex
		losses int
		all    sync.WaitGroup
	)
	for range 6 {
		all.Go(func() {
			got, err := s.Witness(t.Context(), "redis02", sees("another", 0))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if got != store.LossNone {
				losses++
			}
		})
	}
	all.Wait()
	var incidents int
	err = pg.Conn(t, database).QueryRow(t.Context(), "SELECT count(*) FROM incidents WHERE queue = 'redis02'").Scan(&incidents)
	if losses != 1 || incidents != 2 || err != nil {
		t.Errorf("one loss was said %d times; %d incidents, %v", losses, incidents, err)
	}
	away := errors.New("redis is away")
	if _, err := s.Witness(t.Context(), "redis01", func(context.Context) (store.Sighting, error) { return store.Sighting{}, away }); !errors.Is(err, away) {
		t.Error(err)
	}
}

func testMergeAnyOrderAnyCut(t *testing.T, pg *testservices.Postgres) {
	s, database := migrated(t, pg)
	conn := pg.Conn(t, database)
	id := func(kind string, i int) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, kind, i)) }
	rapid.Check(t, func(rt *rapid.T) {
		if _, err := conn.Exec(t.Context(), "TRUNCATE votes; DELETE FROM tally"); err != nil {
			t.Fatal(err)
		}
		history := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) vote.Vote {
			n := rapid.IntRange(1, 40).Draw(rt, "vote")
			return vote.Vote{
				ID: id("vote", n), Voter: id("voter", rapid.IntRange(1, 6).Draw(rt, "voter")), Choice: vote.Choice('a' + byte(n%2)),
				Order: vote.Order(rapid.IntRange(1, 8).Draw(rt, "order")), Frontend: fmt.Sprintf("frontend%02d", n%3+1),
			}
		}), 1, 40).Draw(rt, "history")
		for rest := rapid.Permutation(append(history, history...)).Draw(rt, "deliveries"); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			if _, err := s.Merge(t.Context(), rest[:n]); err != nil {
				rt.Fatal(err)
			}
			rest = rest[n:]
		}
		latest := vote.Latest(history)
		if diff := cmp.Diff(latest, rows(t, conn)); diff != "" {
			rt.Fatal("not the latest votes:", diff)
		}
		got := withoutEmpty(tally(t, s))
		if diff := cmp.Diff(want(latest, got.Merged), got); diff != "" {
			rt.Fatal("tally:", diff)
		}
		if got.Merged < int64(len(latest)) {
			rt.Fatalf("%d votes had an effect, but %d voters have one", got.Merged, len(latest))
		}
	})
}

// Several workers get the same votes, each in its own order and cut.
func testMergeConcurrently(t *testing.T, pg *testservices.Postgres) {
	s, database := migrated(t, pg)
	const votes, voters, workers = 8_000, 1_500, 4
	random := rand.New(rand.NewPCG(1, 2))
	ids := make([]uuid.UUID, voters)
	for i := range ids {
		ids[i] = uuid.New()
	}
	history := make([]vote.Vote, votes)
	for i := range history {
		history[i] = vote.Vote{
			ID: uuid.New(), Voter: ids[random.IntN(voters)], Choice: vote.Choice('a' + byte(random.IntN(2))),
			Order: vote.Order(random.IntN(50) + 1), Frontend: fmt.Sprintf("frontend%02d", random.IntN(4)+1),
		}
	}
	var all sync.WaitGroup
	for range workers {
		mine := slices.Clone(history)
		random.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		all.Go(func() {
			for batch := range slices.Chunk(mine, 700) {
				if _, err := s.Merge(context.Background(), batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	latest := vote.Latest(history)
	if diff := cmp.Diff(latest, rows(t, pg.Conn(t, database))); diff != "" {
		t.Error("not the latest votes:", diff)
	}
	got := tally(t, s)
	if diff := cmp.Diff(want(latest, got.Merged), withoutEmpty(got)); diff != "" {
		t.Error("tally:", diff)
	}
}

// Whatever somebody does to the table manually, the tally follows.
func testTallyFollowsChangesByHand(t *testing.T, pg *testservices.Postgres) {
	s, database := migrated(t, pg)
	conn := pg.Conn(t, database)
	var batch []vote.Vote
	for i := range 10 {
		batch = append(batch, vote.Vote{
			ID: uuid.New(), Voter: uuid.New(), Choice: vote.A, Order: vote.Order(i + 1), Frontend: fmt.Sprintf("frontend%02d", i%2+1),
		})
	}
	if changed, err := s.Merge(t.Context(), batch); err != nil || changed != 10 {
		t.Fatalf("Merge = %d, %v", changed, err)
	}
	for _, sql := range []string{
		"UPDATE votes SET vote = 'b' WHERE clock <= 4",
		"UPDATE votes SET frontend = 'frontend07' WHERE clock = 5",
		"DELETE FROM votes WHERE clock IN (1, 9)",
		"DELETE FROM votes WHERE false",
		"UPDATE votes SET vote = vote",
		"BEGIN; DELETE FROM votes; ROLLBACK",
		"TRUNCATE votes",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		got := withoutEmpty(tally(t, s))
		if diff := cmp.Diff(want(rows(t, conn), got.Merged), got); diff != "" {
			t.Errorf("after %s: %s", sql, diff)
		}
	}
}

func testRejected(t *testing.T, pg *testservices.Postgres) {
	s, database := migrated(t, pg)
	bad := vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: 'c', Order: 1, Frontend: "frontend01"}
	if _, err := s.Merge(t.Context(), []vote.Vote{bad}); !store.Rejected(err) {
		t.Errorf("a vote for c: %v, want an error that is Rejected", err)
	}
	bad.Choice, bad.Frontend = vote.A, "null\x00"
	if _, err := s.Merge(t.Context(), []vote.Vote{bad}); !store.Rejected(err) {
		t.Errorf("a frontend with a zero byte: %v, want an error that is Rejected", err)
	}
	// A mistake of ours in the tally is nothing to throw votes away for.
	pg.Exec(t, database, "ALTER TABLE tally ADD CONSTRAINT broken CHECK (false)")
	bad.Frontend = "frontend01"
	if _, err := s.Merge(t.Context(), []vote.Vote{bad}); err == nil || store.Rejected(err) {
		t.Errorf("a broken tally: %v, want an error that is not Rejected", err)
	}
}

func testPostgresGoesAndComes(t *testing.T, pg *testservices.Postgres) {
	s, _ := migrated(t, pg)
	batch := []vote.Vote{{ID: uuid.New(), Voter: uuid.New(), Choice: vote.B, Order: 1, Frontend: "frontend01"}}
	if _, err := s.Merge(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	pg.Kill(t)
	if _, err := s.Merge(t.Context(), batch); err == nil || store.Rejected(err) || store.Unprepared(err) {
		t.Errorf("Postgres is away: %v", err)
	}
	if _, err := s.Tally(t.Context()); err == nil {
		t.Error("a tally without Postgres")
	}
	pg.Restart(t)
	var got store.Tally
	for range 3 { // Each broken connection in the pool may cost one error.
		var err error
		if got, err = s.Tally(t.Context()); err == nil {
			break
		}
	}
	if got.B != 1 || got.Total() != 1 {
		t.Errorf("after the crash: %v", got)
	}
}

// Postgres is gone without a word, as when its container got another address: what is stopped then must not wait for it.
func testCloseWaitsForNobody(t *testing.T, pg *testservices.Postgres) {
	r := startRelay(t, pg.Addr)
	s := openDatabase(t, &testservices.Postgres{Addr: r.addr}, pg.Database(t))
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Ping(ctx); err == nil {
		t.Fatal("it answers")
	}
	s.Close()
	// Had it waited until the library gives up the connection, the other end would know by now, or as soon as it looks.
	select {
	case <-r.left:
		t.Error("it waited until the connection was given up")
	case <-time.After(500 * time.Millisecond):
	}
}

// relay passes on what it is sent, both ways, until it is silent: then it keeps all to itself, and hangs up on nobody.
type relay struct {
	addr   string
	silent atomic.Bool
	// left is closed when the first who came has hung up.
	left chan struct{}
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := &relay{addr: listener.Addr().String(), left: make(chan struct{})}
	pass := func(to, from net.Conn) {
		defer to.Close()
		buffer := make([]byte, 4<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if r.silent.Load() {
				continue
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for first := true; ; first = false {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() {
				pass(out, in)
				if first {
					close(r.left)
				}
			}()
			go pass(in, out)
		}
	}()
	return r
}

func TestOpenQuotesAndHidesThePassword(t *testing.T) {
	s, err := store.Open(t.Context(), store.Config{
		Addr: "127.0.0.1:1", User: `o'brien \`, Password: "hush", Database: "a b", Conns: 1, Name: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil || bytes.Contains([]byte(err.Error()), []byte("hush")) {
		t.Errorf("Ping = %v", err)
	}
	if _, err := store.Open(t.Context(), store.Config{Addr: "store"}); err == nil {
		t.Error("an address without a port was accepted")
	}
}

func BenchmarkMerge(b *testing.B) {
	pg := testservices.StartPostgres(b)
	for _, size := range []int{500, 2000, 5000} {
		b.Run(fmt.Sprintf("new/batch=%d", size), func(b *testing.B) {
			s, _ := migrated(b, pg)
			b.SetParallelism(1)
			b.RunParallel(func(p *testing.PB) {
				batch := make([]vote.Vote, size)
				for p.Next() {
					for i := range batch {
						batch[i] = vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: vote.A, Order: 1, Frontend: "frontend01"}
					}
					if _, err := s.Merge(context.Background(), batch); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "votes/s")
		})
	}
}
