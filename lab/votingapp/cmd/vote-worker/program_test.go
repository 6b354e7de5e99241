package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// The tests in this file run the program itself, with a real Redis and a real Postgres.

// patience bounds every wait.
const patience = 5 * time.Minute

// playVariable has this test's binary be the program.
const playVariable = "VOTE_WORKER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(playVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is a running vote-worker.
type program struct {
	cmd *exec.Cmd
	// exited is closed when it has ended, with this error.
	exited chan struct{}
	err    error

	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes its log.
func (p *program) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

func (p *program) said(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.log.String(), text)
}

// start starts the program.
func start(t *testing.T, redis *testservices.Redis, postgres *testservices.Postgres) *program {
	t.Helper()
	dir := t.TempDir()
	env := append(os.Environ(), playVariable+"=1", "WORKER_NUMBER=1", "METRICS_LISTEN=127.0.0.1:0", "REDIS_ADDRS="+redis.Addr, "POSTGRES_ADDR="+postgres.Addr)
	for _, name := range []string{"REDIS_PASSWORD_FILE", "POSTGRES_PASSWORD_FILE"} {
		secret := filepath.Join(dir, name)
		if err := os.WriteFile(secret, []byte(testservices.Password), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+secret)
	}
	p := &program{cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	p.cmd.Env, p.cmd.Stderr = env, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("vote-worker:\n%s", p.log.String())
		}
	})
	return p
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v not yet: %s", patience, what)
		}
	}
}

// capture appends n votes of new voters.
func capture(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	w := queue.NewWriter(client, nil)
	defer w.Close()
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range n / 64 {
				v := vote.Vote{ID: uuid.New(), Voter: uuid.New(), Choice: vote.A, Order: 1, Frontend: "frontend01"}
				if err := w.Append(t.Context(), v); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func openStore(t *testing.T, postgres *testservices.Postgres) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{
		Addr: postgres.Addr, User: "postgres", Password: testservices.Password, Database: "votes", Conns: 1, Name: "test",
		ConnectTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// settled is how many votes have left the queue.
func settled(t *testing.T, client *redis.Client) int {
	t.Helper()
	n, err := client.Get(t.Context(), contract.SettledKey).Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return n
}

// While Postgres has no space left, votes stay in the queue; when it has some again, all of them are counted.
func TestDiskOfPostgresIsFull(t *testing.T) {
	t.Parallel()
	const before, during = 6_400, 64_000
	postgres, disk := testservices.StartPostgresOnDisk(t, 128<<20)
	redis := testservices.StartRedis(t)
	client := redis.Client(t)
	p := start(t, redis, postgres)
	capture(t, client, before)
	until(t, "the first votes are counted", func() bool { return settled(t, client) == before })

	disk.Fill(t)
	capture(t, client, during)
	until(t, "the worker says that votes cannot be counted", func() bool { return p.said("votes cannot be counted") && p.said("No space left on device") })
	if n := settled(t, client); n >= before+during {
		t.Errorf("all %d votes have left the queue, and the disk is full", n)
	}

	disk.Free(t)
	postgres.Restart(t) // Without space for its log it ends; in the lab the engine starts it again.
	until(t, "all votes are counted", func() bool { return settled(t, client) == before+during })
	if got, err := openStore(t, postgres).Tally(t.Context()); err != nil || got.Total() != before+during {
		t.Errorf("%d of %d votes are counted, %v", got.Total(), before+during, err)
	}
	if letters, total, err := queue.DeadLetters(t.Context(), client, 1); total != 0 || err != nil {
		t.Errorf("%d dead letters, as %v: %v", total, letters, err)
	}
}

// A database that a newer program prepared is left alone.
func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	redis, postgres := testservices.StartRedis(t), testservices.StartPostgres(t)
	if _, err := openStore(t, postgres).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	postgres.Exec(t, "votes", "INSERT INTO schema_migrations (version, name) VALUES (99, '0099_future.sql')")
	client := redis.Client(t)
	capture(t, client, 64)
	p := start(t, redis, postgres)
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("the worker goes on")
	}
	if exit := new(exec.ExitError); !errors.As(p.err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want status 1", p.err)
	}
	if !p.said("the database has schema version 99, and this program knows only up to 2") {
		t.Error("it does not say why")
	}
	if got, err := openStore(t, postgres).Tally(t.Context()); got.Total() != 0 || err != nil || settled(t, client) != 0 {
		t.Errorf("%d votes counted, %d have left the queue, %v", got.Total(), settled(t, client), err)
	}
}
