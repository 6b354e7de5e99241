package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/webvote"
)

// The tests in this file run the program itself, with a real Redis.

// patience bounds every wait.
const patience = 5 * time.Minute

// lingerVariable has this test's binary be the program, which lingers for so long.
const lingerVariable = "WEB_VOTE_APP_TEST_LINGER"

func TestMain(m *testing.M) {
	if text, play := os.LookupEnv(lingerVariable); play {
		linger, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		webvote.UseOneProcessor()
		os.Exit(service.Main("web-vote-app", usage, os.Args[1:], os.Stdout, os.Stderr, lingering(linger)))
	}
	os.Exit(m.Run())
}

// app is a running web-vote-app.
type app struct {
	cmd  *exec.Cmd
	addr string
	// exited is closed when it has ended, with this error.
	exited chan struct{}
	err    error
}

// startApp starts the program, with more environment.
func startApp(t *testing.T, redis *testservices.Redis, environ ...string) *app {
	t.Helper()
	return startProgram(t, os.Args[0], redis, append([]string{lingerVariable + "=" + linger.String()}, environ...)...)
}

func startProgram(t *testing.T, program string, redis *testservices.Redis, environ ...string) *app {
	t.Helper()
	dir := t.TempDir()
	env := append(os.Environ(), "WEB_VOTE_NUMBER=1", "LISTEN=127.0.0.1:0", "REDIS_ADDR="+redis.Addr)
	env = append(env, environ...)
	for name, secret := range map[string]string{"REDIS_PASSWORD_FILE": testservices.Password, "VOTER_KEY_FILE": strings.Repeat("5", 64)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+path)
	}
	a := &app{cmd: exec.Command(program), exited: make(chan struct{})}
	a.cmd.Env = env
	stderr, err := a.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Address string }
			if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line.Msg == "serving" {
				address <- line.Address
			}
		}
		a.err = a.cmd.Wait()
		close(a.exited)
	}()
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		<-a.exited
	})
	select {
	case a.addr = <-address:
	case <-a.exited:
		t.Fatalf("web-vote-app: %v", a.err)
	case <-time.After(patience):
		t.Fatal("web-vote-app does not serve")
	}
	a.waitHealth(t, http.StatusOK)
	return a
}

// health is the status of /healthz, on a connection of its own.
func (a *app) health() (int, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + a.addr + "/healthz")
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

func (a *app) waitHealth(t *testing.T, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, err := a.health()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/healthz: %d, %v; want %d", got, err, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// client is a voter on one connection, as plain as can be: no library hides a reset from it.
type client struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

// vote casts a vote. It needs an answer within the bounds of the balancer (timeout server).
func (v *client) vote(id uuid.UUID) (*http.Response, error) {
	if v.conn == nil {
		conn, err := net.Dial("tcp", v.addr)
		if err != nil {
			return nil, err
		}
		v.conn, v.r = conn, bufio.NewReader(conn)
	}
	body := "vote=a&vote_id=" + id.String()
	if err := v.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(v.conn, "POST / HTTP/1.1\r\nHost: votingapp.local\r\nAccept: application/json\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, fmt.Errorf("receive the body: %w", err)
	}
	if resp.Close {
		v.close()
	}
	return resp, nil
}

func (v *client) close() {
	if v.conn != nil {
		_ = v.conn.Close()
		v.conn = nil
	}
}

// crowd is many voters at once.
type crowd struct {
	stop    atomic.Bool
	all     sync.WaitGroup
	mu      sync.Mutex
	acked   map[uuid.UUID]bool
	refused int
	broken  []error
}

// gather has n voters vote, one vote after the other, until they are told to stop.
func gather(a *app, n int) *crowd {
	c := &crowd{acked: map[uuid.UUID]bool{}}
	for range n {
		c.all.Go(func() {
			v := &client{addr: a.addr}
			defer v.close()
			for !c.stop.Load() {
				id := uuid.New()
				resp, err := v.vote(id)
				c.note(id, resp, err)
				if err != nil {
					v.close()
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					time.Sleep(10 * time.Millisecond) // or it would take the processors from what is to come back
				}
			}
		})
	}
	return c
}

func (c *crowd) note(id uuid.UUID, resp *http.Response, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.broken = append(c.broken, err)
	case resp.StatusCode == http.StatusOK:
		c.acked[id] = true
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		c.refused++
	default:
		c.broken = append(c.broken, errors.New(resp.Status))
	}
}

// counts tells how many votes were acknowledged and refused so far.
func (c *crowd) counts() (acked, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked), c.refused
}

// await waits until a condition on the counts holds.
func (c *crowd) await(t *testing.T, what string, condition func(acked, refused int) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(c.counts()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			acked, refused := c.counts()
			t.Fatalf("%s: not after %v; %d acknowledged, %d refused, %v", what, patience, acked, refused, c.broken)
		}
	}
}

// votes waits until some more votes were acknowledged.
func (c *crowd) votes(t *testing.T) {
	t.Helper()
	before, _ := c.counts()
	c.await(t, "votes", func(acked, _ int) bool { return acked > before+200 })
}

// refuses waits until votes are refused, and none is acknowledged any more.
func (c *crowd) refuses(t *testing.T) {
	t.Helper()
	_, refused := c.counts()
	c.await(t, "refusals", func(_, now int) bool { return now > refused+500 })
	before, refused := c.counts()
	c.await(t, "more refusals", func(_, now int) bool { return now > refused+500 })
	if now, _ := c.counts(); now > before {
		t.Errorf("%d votes were acknowledged while Redis could not keep them", now-before)
	}
}

// disperse stops the voters and judges: every vote got an answer, and Redis has each that was acknowledged.
func (c *crowd) disperse(t *testing.T, redis *testservices.Redis) {
	t.Helper()
	c.stop.Store(true)
	c.all.Wait()
	if len(c.broken) > 0 {
		t.Errorf("%d requests were not answered as they should be, as: %v", len(c.broken), c.broken[0])
	}
	have := captured(t, redis)
	lost := 0
	for id := range c.acked {
		if !have[id] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged votes are not in Redis", lost, len(c.acked))
	}
	t.Logf("%d acknowledged, %d refused, %d in Redis", len(c.acked), c.refused, len(have))
}

// captured reads what is in a queue.
func captured(t *testing.T, redis *testservices.Redis) map[uuid.UUID]bool {
	t.Helper()
	have := map[uuid.UUID]bool{}
	reader := queue.NewReader(redis.Client(t), "test-"+uuid.NewString(), time.Minute, 5000)
	for {
		entries, err := reader.Read(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return have
		}
		for _, e := range entries {
			for _, v := range e.Votes {
				have[v.ID] = true
			}
		}
	}
}

func TestRedisFreezes(t *testing.T) {
	t.Parallel()
	redis := testservices.StartRedis(t)
	a := startApp(t, redis)
	c := gather(a, 64)
	c.votes(t)
	redis.Freeze(t)
	a.waitHealth(t, http.StatusServiceUnavailable)
	c.refuses(t)
	redis.Thaw(t)
	a.waitHealth(t, http.StatusOK)
	c.votes(t)
	c.disperse(t, redis)
}

func TestRedisGoesAndComes(t *testing.T) { redisGoesAndComes(t, 1) }

// redisGoesAndComes has it go and come so many times.
func redisGoesAndComes(t *testing.T, times int) {
	t.Helper()
	t.Parallel()
	redis := testservices.StartRedis(t)
	a := startApp(t, redis)
	c := gather(a, 64)
	for range times {
		c.votes(t)
		redis.Kill(t)
		c.refuses(t)
		redis.Restart(t)
	}
	c.votes(t)
	c.disperse(t, redis)
}

func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	redis, disk := testservices.StartRedisOnDisk(t, 8<<20)
	a := startApp(t, redis)
	c := gather(a, 64)
	c.votes(t)
	disk.Fill(t)
	redis.WaitEnd(t)
	a.waitHealth(t, http.StatusServiceUnavailable)
	c.refuses(t)
	disk.Free(t)
	redis.Restart(t)
	c.votes(t)
	c.disperse(t, redis)
}

// A stop is as the balancer sees it: /healthz says that the container goes; from then on no request is sent any more, but for those
// that are on their way. Here it lingers until all of them are through, and its Redis may take as long as on the slowest machine: no vote may
// be refused.
func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	redis := testservices.StartRedis(t)
	a := startApp(t, redis, lingerVariable+"="+patience.String(), timescale.Variable+"=100")
	c := gather(a, 64)
	c.votes(t)
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.waitHealth(t, http.StatusServiceUnavailable)
	c.votes(t)
	c.disperse(t, redis)
	if _, refused := c.counts(); refused > 0 {
		t.Errorf("%d votes were refused by a container that stops", refused)
	}
}

// It ends by itself, and all is well.
func TestStop(t *testing.T) {
	t.Parallel()
	redis := testservices.StartRedis(t)
	a := startApp(t, redis)
	if _, err := (&client{addr: a.addr}).vote(uuid.New()); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.exited:
		if a.err != nil {
			t.Errorf("web-vote-app ended with %v", a.err)
		}
	case <-time.After(patience):
		t.Error("web-vote-app does not end")
	}
}

func TestManyConnections(t *testing.T) {
	t.Parallel()
	redis := testservices.StartRedis(t)
	manyConnections(t, startApp(t, redis), redis, 1000, func([]net.Conn) {})
}

// manyConnections has as many open, of voters who stay and of some who are slow on purpose, and others vote all the same. It calls then with the
// slow ones.
func manyConnections(t *testing.T, a *app, redis *testservices.Redis, connections int, then func(slow []net.Conn)) {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if files.Cur < uint64(connections)+1000 {
		t.Skipf("this process may open %d files only", files.Cur)
	}
	open := make([]net.Conn, connections)
	defer func() {
		for _, conn := range open {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	// Eight of ten have voted and stay; then come some that never end their header, and some that never end their body.
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	idle := connections * 8 / 10
	connect := func(from, to int) {
		var all sync.WaitGroup
		for part := range 20 {
			all.Go(func() {
				for i := from + part; i < to; i += 20 {
					v := &client{addr: a.addr}
					var err error
					if i < idle {
						_, err = v.vote(uuid.New())
					} else if v.conn, err = net.Dial("tcp", a.addr); err == nil {
						_, err = io.WriteString(v.conn, []string{head + "X-Slow: " + strings.Repeat("x", 1000), head + "Content-Length: 4000\r\n\r\nvote="}[i%2])
					}
					open[i] = v.conn
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	connect(0, idle)
	connect(idle, connections)
	if t.Failed() {
		return
	}
	c := gather(a, 64)
	c.votes(t)
	then(open[idle:])
	c.disperse(t, redis)
	if status, err := a.health(); status != http.StatusOK {
		t.Errorf("/healthz: %d, %v", status, err)
	}
}
