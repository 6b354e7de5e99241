package queue_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// patience bounds what is to happen.
const patience = 5 * time.Minute

// TestRedis runs all that wants a real Redis, one after the other on the same one, which each of them finds empty and with its usual settings.
func TestRedis(t *testing.T) {
	server := testservices.StartRedis(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *testservices.Redis)
	}{
		{"HandOver", testHandOver},
		{"LeaseRunsOut", testLeaseRunsOut},
		{"ClaimWithinTheLease", testClaimWithinTheLease},
		{"Poison", testPoison},
		{"Wiped", testWiped},
		{"DeadLetters", testDeadLetters},
		{"State", testState},
		{"KilledRedisKeepsWhatItAcknowledged", testKilledRedisKeepsWhatItAcknowledged},
		{"Prober", testProber},
		{"Durability", testDurability},
		{"FrozenRedisCostsBoundedTime", testFrozenRedisCostsBoundedTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.Reset(t)
			tt.test(t, server)
		})
	}
}

func aVote(n int) vote.Vote {
	return vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: vote.A, Order: vote.Order(n + 1), Frontend: "frontend01"}
}

// appendAll captures n votes at once and returns them.
func appendAll(t *testing.T, client *redis.Client, n int) map[vote.Vote]bool {
	t.Helper()
	w := queue.NewWriter(client, nil)
	defer w.Close()
	var (
		mu   sync.Mutex
		sent = map[vote.Vote]bool{}
		all  sync.WaitGroup
	)
	for i := range n {
		all.Go(func() {
			v := aVote(i)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := w.Append(ctx, v); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sent[v] = true
		})
	}
	all.Wait()
	return sent
}

// await waits for a condition.
func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// votesOf puts the votes of entries together.
func votesOf(entries []queue.Entry) []vote.Vote {
	var votes []vote.Vote
	for _, e := range entries {
		votes = append(votes, e.Votes...)
	}
	return votes
}

// readAll reads until nothing is left that nobody has been given.
func readAll(t *testing.T, r *queue.Reader) []queue.Entry {
	t.Helper()
	var all []queue.Entry
	for {
		entries, err := r.Read(t.Context(), 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return all
		}
		all = append(all, entries...)
	}
}

// counter reads one of the counters of votes.
func counter(t *testing.T, client *redis.Client, key string) int {
	t.Helper()
	n, err := client.Get(t.Context(), key).Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return n
}

func pending(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	p, err := client.XPending(t.Context(), contract.VoteStream, contract.WorkerGroup).Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}

func length(t *testing.T, client *redis.Client, stream string) int64 {
	t.Helper()
	n, err := client.XLen(t.Context(), stream).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testHandOver(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	const n = 3000
	sent := appendAll(t, client, n) // Before the first worker has ever come.
	r := queue.NewReader(client, "worker01-x", time.Minute, 1000)
	for got := 0; got < n; {
		entries, err := r.Read(t.Context(), 100*time.Millisecond)
		if err != nil || len(entries) == 0 {
			t.Fatalf("after %d of %d votes: %d entries, %v", got, n, len(entries), err)
		}
		if captured, settled := counter(t, client, contract.CapturedKey), counter(t, client, contract.SettledKey); captured != n || settled != got {
			t.Errorf("after %d of %d votes: %d captured, %d settled", got, n, captured, settled)
		}
		for _, v := range votesOf(entries) {
			if !sent[v] {
				t.Fatalf("vote %v was never sent", v)
			}
			delete(sent, v)
			got++
		}
		if err := r.Settle(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := r.Read(t.Context(), 10*time.Millisecond); len(entries) != 0 || err != nil {
		t.Errorf("an empty stream gave %d entries, %v", len(entries), err)
	}
	if p, l := pending(t, client), length(t, client, contract.VoteStream); p != 0 || l != 0 {
		t.Errorf("left behind: %d pending, %d in the stream", p, l)
	}
	if captured, settled := counter(t, client, contract.CapturedKey), counter(t, client, contract.SettledKey); captured != n || settled != n {
		t.Errorf("in the end: %d captured, %d settled", captured, settled)
	}
	info, err := client.XInfoStream(t.Context(), contract.VoteStream).Result()
	if err != nil || info.EntriesAdded >= n/2 {
		t.Errorf("%d votes sent at once share %d entries, %v", n, info.EntriesAdded, err)
	}
	if err := r.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if consumers, err := client.XInfoConsumers(t.Context(), contract.VoteStream, contract.WorkerGroup).Result(); err != nil || len(consumers) != 0 {
		t.Errorf("consumers left: %v, %v", consumers, err)
	}
}

func testLeaseRunsOut(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	const n, lease = 25, 200 * time.Millisecond
	for range n {
		appendAll(t, client, 1)
	}
	dead := queue.NewReader(client, "dead", lease, 100)
	held := readAll(t, dead)
	if len(held) != n {
		t.Fatalf("%d votes, one after the other, are %d entries", n, len(held))
	}
	heir := queue.NewReader(client, "heir", lease, 10)
	if entries, err := heir.Read(t.Context(), time.Millisecond); len(entries) != 0 || err != nil {
		t.Fatalf("entries of another consumer were given out: %d, %v", len(entries), err)
	}
	if err := dead.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pending(t, client) != n {
		t.Fatal("a consumer left and took its entries with it")
	}
	var got int
	for deadline := time.Now().Add(patience); got < n; {
		claimed, _, err := heir.Claim(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("claimed %d of %d: %v", got, n, err)
		}
		got += len(votesOf(claimed))
		if err := heir.Settle(t.Context(), claimed); err != nil {
			t.Fatal(err)
		}
	}
	// The dead one wakes up late and settles what it had held; by then, more has come.
	appendAll(t, client, 2)
	if err := dead.Settle(t.Context(), held); err != nil {
		t.Error(err)
	}
	if captured, settled := counter(t, client, contract.CapturedKey), counter(t, client, contract.SettledKey); captured != n+2 || settled != n {
		t.Errorf("%d captured, %d settled; want %d and %d", captured, settled, n+2, n)
	}
	if err := heir.Settle(t.Context(), readAll(t, heir)); err != nil {
		t.Error(err)
	}
	if p, l := pending(t, client), length(t, client, contract.VoteStream); p != 0 || l != 0 {
		t.Errorf("left behind: %d pending, %d in the stream", p, l)
	}
}

func testClaimWithinTheLease(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	appendAll(t, client, 3)
	held := readAll(t, queue.NewReader(client, "holder", time.Minute, 100))
	other := queue.NewReader(client, "other", time.Minute, 100)
	readAll(t, other)
	if claimed, more, err := other.Claim(t.Context()); len(votesOf(held)) != 3 || len(claimed) != 0 || more || err != nil {
		t.Errorf("%d held, %d claimed, %v, %v", len(votesOf(held)), len(claimed), more, err)
	}
}

func testPoison(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	good := func() string {
		return uuid.NewString() + " " + uuid.NewString() + " a 1 frontend01"
	}
	for _, fields := range [][]any{
		{"v1", "of yesterday"}, {"v9", "from the future"}, {"a", "1", "b", "2"}, {"v2", good() + "\ngarbage\n" + good()},
	} {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: contract.VoteStream, Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, client, 2)
	one, two := queue.NewReader(client, "one", 0, 100), queue.NewReader(client, "two", 0, 100)
	entries := readAll(t, one)
	if n := len(votesOf(entries)); n != 4 {
		t.Fatalf("%d of 4 votes can be read", n)
	}
	// Somebody else gets them as well and settles them: there is one dead letter for each bad vote all the same.
	readAll(t, two)
	for more := true; more; {
		claimed, again, err := two.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := two.Settle(t.Context(), claimed); err != nil {
			t.Fatal(err)
		}
		more = again
	}
	if err := one.Settle(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	if p, l := pending(t, client), length(t, client, contract.VoteStream); p != 0 || l != 0 {
		t.Errorf("left behind: %d pending, %d in the stream", p, l)
	}
	if captured, settled := counter(t, client, contract.CapturedKey), counter(t, client, contract.SettledKey); captured != 2 || settled != 2 {
		t.Errorf("%d captured, %d settled; what was put there manually counts as neither", captured, settled)
	}
	// The latest comes first.
	wants := []queue.DeadLetter{
		{Kind: "vote", Text: "garbage"},
		{Kind: "entry", Text: `a="1" b="2"`},
		{Kind: "entry", Text: `v9="from the future"`},
		{Kind: "entry", Text: `v1="of yesterday"`},
	}
	letters, total, err := queue.DeadLetters(t.Context(), client, 1000)
	if err != nil || len(letters) != len(wants) || total != int64(len(wants)) {
		t.Fatalf("%d dead letters of %d, %v", len(letters), total, err)
	}
	for i, want := range wants {
		l := letters[i]
		if l.Reason == "" || l.Entry != entries[len(wants)-1-i].ID || l.Consumer != "two" || l.Kind != want.Kind || l.Text != want.Text ||
			time.Since(l.At).Abs() > time.Minute {
			t.Errorf("dead letter %+v, want %+v", l, want)
		}
	}
}

func testWiped(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	r := queue.NewReader(client, "c", time.Minute, 100)
	if _, err := r.Read(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	wipe := func() {
		if err := client.FlushAll(context.WithoutCancel(t.Context())).Err(); err != nil {
			t.Error(err)
		}
	}
	wipe()
	if _, err := r.Read(t.Context(), time.Millisecond); !errors.Is(err, queue.ErrWiped) {
		t.Fatalf("a wiped Redis: %v, want ErrWiped", err)
	}
	appendAll(t, client, 3)
	if votes := votesOf(readAll(t, r)); len(votes) != 3 {
		t.Fatalf("after the wipe: %d votes", len(votes))
	}
	// Under a reader that waits.
	read := make(chan error, 1)
	go func() {
		_, err := r.Read(t.Context(), 10*time.Second)
		read <- err
	}()
	await(t, "the reader waits", func() bool {
		info, err := client.Info(t.Context(), "clients").Result()
		return err == nil && strings.Contains(info, "blocked_clients:1")
	})
	wipe()
	if err := <-read; !errors.Is(err, queue.ErrWiped) { // Not every Redis tells who waits.
		if _, err = r.Read(t.Context(), time.Millisecond); !errors.Is(err, queue.ErrWiped) {
			t.Fatalf("wiped while waiting: %v, want ErrWiped", err)
		}
	}
	wipe()
	if _, _, err := r.Claim(t.Context()); err != nil && !errors.Is(err, queue.ErrWiped) {
		t.Fatal(err)
	}
}

// What somebody put among the dead letters manually is shown as it is; many are read page by page.
func testDeadLetters(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	if letters, total, err := queue.DeadLetters(t.Context(), client, 10); len(letters) != 0 || total != 0 || err != nil {
		t.Errorf("none: %v, %d, %v", letters, total, err)
	}
	for i := range 250 {
		values := []any{"reason", "why", "vote", i}
		if i == 249 {
			values = []any{"vote", "x", "more", "\x00y"}
		}
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: contract.DeadStream, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, maximum := range []int{1, 100, 249, 1000} {
		letters, total, err := queue.DeadLetters(t.Context(), client, maximum)
		if err != nil || total != 250 || len(letters) != min(maximum, 250) {
			t.Fatalf("%d of %d letters, %v", len(letters), total, err)
		}
		if l := letters[0]; l.Kind != "entry" || l.Text != `more="\x00y" vote="x"` || l.Reason != "" {
			t.Errorf("manually: %+v", l)
		}
		for i, l := range letters[1:] {
			if l.Text != strconv.Itoa(248-i) {
				t.Fatalf("letter %d is %q", i+1, l.Text)
			}
		}
	}
	if err := client.Set(t.Context(), contract.DeadStream, "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := queue.DeadLetters(t.Context(), client, 1); err == nil {
		t.Error("read from what is no stream")
	}
}

func testState(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	state := func() queue.State {
		t.Helper()
		s, err := queue.NewReader(server.Client(t), "c", time.Minute, 100).State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := state()
	if first.Identity == "" || first.Captured != 0 || state() != first {
		t.Errorf("a new Redis: %+v, then %+v", first, state())
	}
	appendAll(t, client, 5)
	server.Kill(t)
	server.Restart(t)
	if got := state(); got != (queue.State{Identity: first.Identity, Captured: 5}) {
		t.Errorf("with its data: %+v", got)
	}
	if err := server.Client(t).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if got := state(); got.Identity == first.Identity || got.Identity == "" || got.Captured != 0 {
		t.Errorf("without its data: %+v", got)
	}
}

func testKilledRedisKeepsWhatItAcknowledged(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	w := queue.NewWriter(client, nil)
	defer w.Close()
	var (
		mu    sync.Mutex
		acked = map[vote.Vote]bool{}
		all   sync.WaitGroup
	)
	stop := make(chan struct{})
	for i := range 32 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				v := aVote(i*1_000_000 + n)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				err := w.Append(ctx, v)
				cancel()
				if err == nil {
					mu.Lock()
					acked[v] = true
					mu.Unlock()
				}
			}
		})
	}
	acknowledged := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	for range 3 {
		before := acknowledged()
		await(t, "votes are acknowledged", func() bool { return acknowledged() >= before+100 })
		server.Kill(t)
		server.Restart(t)
	}
	close(stop)
	all.Wait()
	// A client of its own: the writer's has failed to connect so often that it tries but once a second.
	read := votesOf(readAll(t, queue.NewReader(server.Client(t), "c", time.Minute, 1000)))
	for _, v := range read {
		delete(acked, v)
	}
	if len(acked) != 0 {
		t.Errorf("%d acknowledged votes are lost (%d are there)", len(acked), len(read))
	}
	t.Logf("%d votes over three kills", len(read))
}

// Power was lost in the middle of a write, and the log ends in zeros. Redis alone would never start again; the image's entrypoint has it start,
// with all that it acknowledged.
func TestTornLogKeepsWhatWasAcknowledged(t *testing.T) {
	entrypoint, err := filepath.Abs("../../../vagrant/images/redis/entrypoint.sh")
	if err != nil {
		t.Fatal(err)
	}
	server, disk := testservices.StartRedisOnDisk(t, 16<<20, "-v", entrypoint+":/usr/local/bin/docker-entrypoint.sh:ro")
	acked := map[vote.Vote]bool{}
	for _, torn := range []string{"", "*3\r\n$3\r\nSE"} {
		maps.Copy(acked, appendAll(t, server.Client(t), 50))
		server.Kill(t)
		disk.Append(t, "appendonlydir/appendonly.aof.1.incr.aof", append([]byte(torn), make([]byte, 3074)...))
		server.Restart(t)
	}
	for _, v := range votesOf(readAll(t, queue.NewReader(server.Client(t), "c", time.Minute, 1000))) {
		if !acked[v] {
			t.Errorf("%+v was never sent, or is there twice", v)
		}
		delete(acked, v)
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged votes are lost", len(acked))
	}
}

func testProber(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	prompt := queue.Dial(server.Addr, testservices.Password)
	defer prompt.Close() //nolint:errcheck // only asked
	p := queue.NewProber(prompt, func(error) {})
	if p.Err() == nil {
		t.Error("healthy before the first probe")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer cancel()

	expect := func(what string, healthy bool) {
		t.Helper()
		began := time.Now()
		await(t, what, func() bool { return (p.Err() == nil) == healthy })
		t.Logf("%s: %v after %v", what, p.Err(), time.Since(began).Round(time.Millisecond))
	}
	config := func(name, value string) {
		t.Helper()
		if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	expect("up", true)
	server.Freeze(t)
	expect("frozen", false)
	server.Thaw(t)
	expect("thawed", true)
	config("min-replicas-to-write", "1") // refuses writes, answers reads: as with a full disk
	expect("refusing writes", false)
	config("min-replicas-to-write", "0")
	expect("writable", true)
	config("maxmemory", "1")
	expect("out of memory", false)
	config("maxmemory", "0")
	expect("writable", true)
	if err := client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	expect("read-only", false)
	if err := client.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	expect("writable", true)
	server.Kill(t)
	expect("killed", false)
	server.Restart(t)
	expect("restarted", true)
}

func testDurability(t *testing.T, server *testservices.Redis) {
	client := server.Client(t)
	problem, err := queue.Durability(t.Context(), client)
	if problem != "" || err != nil {
		t.Errorf("as in the lab: %q, %v", problem, err)
	}
	for name, value := range map[string]string{"appendfsync": "everysec", "appendonly": "no"} {
		if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
		if problem, err := queue.Durability(t.Context(), client); problem == "" || err != nil {
			t.Errorf("%s %s: %q, %v", name, value, problem, err)
		}
	}
}

func testFrozenRedisCostsBoundedTime(t *testing.T, server *testservices.Redis) {
	// Whoever waited for the exchange with Redis to end would wait for longer than this test does.
	client := queue.DialWithin(server.Addr, testservices.Password, 2*patience)
	defer client.Close() //nolint:errcheck // it was frozen
	w := queue.NewWriter(client, nil)
	defer w.Close()
	defer server.Thaw(t)
	server.Freeze(t)
	var all sync.WaitGroup
	began := time.Now()
	for i := range 2000 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := w.Append(ctx, aVote(i)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a frozen Redis: %v", err)
			}
		})
	}
	refused := make(chan struct{})
	go func() { all.Wait(); close(refused) }()
	await(t, "all are refused", func() bool {
		select {
		case <-refused:
			return true
		default:
			return false
		}
	})
	t.Logf("2,000 votes were refused after %v", time.Since(began).Round(time.Millisecond))
}

func TestWriterIsBoundedAndCloses(t *testing.T) {
	// Nobody listens there.
	w := queue.NewWriter(queue.Dial("127.0.0.1:1", ""), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := w.Append(ctx, aVote(0))
	if err == nil || ctx.Err() != nil {
		t.Errorf("append to nowhere: %v", err)
	}
	w.Close()
	if err := w.Append(ctx, aVote(0)); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	client := testservices.StartRedis(b).Client(b)
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var batches, votes int64
			var mu sync.Mutex
			w := queue.NewWriter(client, func(n int) { mu.Lock(); batches++; votes += int64(n); mu.Unlock() })
			defer w.Close()
			b.ReportAllocs()
			b.SetParallelism(clients)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := w.Append(context.Background(), aVote(i)); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(votes)/float64(batches), "votes/batch")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "votes/s")
		})
	}
}
