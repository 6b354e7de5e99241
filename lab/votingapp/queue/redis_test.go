package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

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
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
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

func pending(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	p, err := client.XPending(t.Context(), queue.Stream, queue.Group).Result()
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

func TestHandOver(t *testing.T) {
	client := testservices.StartRedis(t).Client(t)
	const n = 3000
	sent := appendAll(t, client, n) // Before the first worker has ever come.
	r := queue.NewReader(client, "worker01-x", time.Minute, 1000)
	for got := 0; got < n; {
		entries, err := r.Read(t.Context(), 100*time.Millisecond)
		if err != nil || len(entries) == 0 {
			t.Fatalf("after %d of %d votes: %d entries, %v", got, n, len(entries), err)
		}
		for _, e := range entries {
			if e.Err != nil || !sent[e.Vote] {
				t.Fatalf("entry %v was never sent: %v", e.Vote, e.Err)
			}
			delete(sent, e.Vote)
		}
		got += len(entries)
		if err := r.Settle(t.Context(), entries, nil); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := r.Read(t.Context(), 10*time.Millisecond); len(entries) != 0 || err != nil {
		t.Errorf("an empty stream gave %d entries, %v", len(entries), err)
	}
	if p, l := pending(t, client), length(t, client, queue.Stream); p != 0 || l != 0 {
		t.Errorf("left behind: %d pending, %d in the stream", p, l)
	}
	info, err := client.XInfoStream(t.Context(), queue.Stream).Result()
	if err != nil || info.EntriesAdded != n {
		t.Errorf("captured: %d, %v; want %d", info.EntriesAdded, err, n)
	}
	if err := r.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if consumers, err := client.XInfoConsumers(t.Context(), queue.Stream, queue.Group).Result(); err != nil || len(consumers) != 0 {
		t.Errorf("consumers left: %v, %v", consumers, err)
	}
}

func TestLeaseRunsOut(t *testing.T) {
	client := testservices.StartRedis(t).Client(t)
	const n, lease = 25, 200 * time.Millisecond
	appendAll(t, client, n)
	dead := queue.NewReader(client, "dead", lease, 100)
	held, err := dead.Read(t.Context(), time.Second)
	if err != nil || len(held) != n {
		t.Fatalf("%d entries, %v", len(held), err)
	}
	heir := queue.NewReader(client, "heir", lease, 10)
	if entries, err := heir.Read(t.Context(), time.Millisecond); len(entries) != 0 || err != nil {
		t.Fatalf("entries of another consumer were given out: %d, %v", len(entries), err)
	}
	if claimed, _, err := heir.Claim(t.Context()); len(claimed) != 0 || err != nil {
		t.Fatalf("claimed within the lease: %d, %v", len(claimed), err)
	}
	if err := dead.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pending(t, client) != n {
		t.Fatal("a consumer left and took its entries with it")
	}
	time.Sleep(lease)
	var got int
	for more := true; more; {
		var claimed []queue.Entry
		claimed, more, err = heir.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got += len(claimed)
		if err := heir.Settle(t.Context(), claimed, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got != n {
		t.Errorf("claimed %d of %d entries", got, n)
	}
	// The dead one wakes up late and settles what it had held.
	if err := dead.Settle(t.Context(), held, nil); err != nil {
		t.Error(err)
	}
	if p, l := pending(t, client), length(t, client, queue.Stream); p != 0 || l != 0 {
		t.Errorf("left behind: %d pending, %d in the stream", p, l)
	}
}

func TestPoison(t *testing.T) {
	client := testservices.StartRedis(t).Client(t)
	for _, fields := range [][]any{{"v1", "garbage"}, {"v9", "from the future"}, {"a", "1", "b", "2"}} {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: queue.Stream, Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, client, 2)
	r := queue.NewReader(client, "c", time.Minute, 100)
	entries, err := r.Read(t.Context(), time.Second)
	if err != nil || len(entries) != 5 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	var good, bad []queue.Entry
	for _, e := range entries {
		if e.Err != nil {
			bad = append(bad, e)
		} else {
			good = append(good, e)
		}
	}
	if len(bad) != 3 {
		t.Fatalf("%d of 3 entries are bad", len(bad))
	}
	if err := r.Settle(t.Context(), good, bad); err != nil {
		t.Fatal(err)
	}
	if p, l := pending(t, client), length(t, client, queue.Stream); p != 0 || l != 0 {
		t.Errorf("left behind: %d pending, %d in the stream", p, l)
	}
	letters, err := client.XRange(t.Context(), queue.DeadStream, "-", "+").Result()
	if err != nil || len(letters) != 3 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	if l := letters[0].Values; l["reason"] == "" || l["entry.v1"] != "garbage" || l["id"] != bad[0].ID {
		t.Errorf("dead letter %v", l)
	}
}

func TestWiped(t *testing.T) {
	client := testservices.StartRedis(t).Client(t)
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
	if entries, err := r.Read(t.Context(), time.Second); err != nil || len(entries) != 3 {
		t.Fatalf("after the wipe: %d entries, %v", len(entries), err)
	}
	// Under a reader that waits.
	timer := time.AfterFunc(50*time.Millisecond, wipe)
	defer timer.Stop()
	if _, err := r.Read(t.Context(), 2*time.Second); !errors.Is(err, queue.ErrWiped) {
		if _, err = r.Read(t.Context(), time.Millisecond); !errors.Is(err, queue.ErrWiped) {
			t.Fatalf("wiped while waiting: %v, want ErrWiped", err)
		}
	}
	wipe()
	if _, _, err := r.Claim(t.Context()); err != nil && !errors.Is(err, queue.ErrWiped) {
		t.Fatal(err)
	}
}

func TestKilledRedisKeepsWhatItAcknowledged(t *testing.T) {
	server := testservices.StartRedis(t)
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
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		server.Kill(t)
		server.Restart(t)
	}
	close(stop)
	all.Wait()
	// A client of its own: the writer's has failed to connect so often that it tries but once a second.
	r := queue.NewReader(server.Client(t), "c", time.Minute, 1000)
	var read int
	for {
		entries, err := r.Read(t.Context(), 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		read += len(entries)
		for _, e := range entries {
			delete(acked, e.Vote)
		}
	}
	if len(acked) != 0 {
		t.Errorf("%d acknowledged votes are lost (%d are there)", len(acked), read)
	}
	t.Logf("%d votes over three kills", read)
}

func TestProber(t *testing.T) {
	server := testservices.StartRedis(t)
	client := server.Client(t)
	p := queue.NewProber(server.Client(t), func(error) {})
	if p.Err() == nil {
		t.Error("healthy before the first probe")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer cancel()

	expect := func(what string, healthy bool, within time.Duration) {
		t.Helper()
		began := time.Now()
		for (p.Err() == nil) != healthy {
			if time.Since(began) > within {
				t.Fatalf("%s: healthy is not %v after %v: %v", what, healthy, within, p.Err())
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("%s: %v after %v", what, p.Err(), time.Since(began).Round(time.Millisecond))
	}
	config := func(name, value string) {
		t.Helper()
		if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	expect("up", true, 3*time.Second)
	server.Freeze(t)
	expect("frozen", false, queue.Timeout+time.Second)
	server.Thaw(t)
	expect("thawed", true, 3*time.Second)
	config("min-replicas-to-write", "1") // refuses writes, answers reads: as with a full disk
	expect("refusing writes", false, 3*time.Second)
	config("min-replicas-to-write", "0")
	expect("writable", true, 3*time.Second)
	config("maxmemory", "1")
	expect("out of memory", false, 3*time.Second)
	config("maxmemory", "0")
	expect("writable", true, 3*time.Second)
	if err := client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	expect("read-only", false, 3*time.Second)
	if err := client.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	expect("writable", true, 3*time.Second)
	server.Kill(t)
	expect("killed", false, 3*time.Second)
	server.Restart(t)
	expect("restarted", true, 3*time.Second)
}

func TestDurability(t *testing.T) {
	client := testservices.StartRedis(t).Client(t)
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

func TestFrozenRedisCostsBoundedTime(t *testing.T) {
	server := testservices.StartRedis(t)
	w := queue.NewWriter(server.Client(t), nil)
	defer w.Close()
	defer server.Thaw(t)
	server.Freeze(t)
	var all sync.WaitGroup
	began := time.Now()
	for i := range 2000 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := w.Append(ctx, aVote(i)); err == nil {
				t.Error("a frozen Redis acknowledged")
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("2,000 votes were refused after %v", took)
	}
}

func TestWriterIsBoundedAndCloses(t *testing.T) {
	// Nobody listens there.
	w := queue.NewWriter(queue.Dial("127.0.0.1:1", ""), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
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
