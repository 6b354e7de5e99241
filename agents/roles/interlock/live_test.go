package interlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

// The tests in this file run the real HAProxy with the configuration that the role makes, before servers of the test's own.

const (
	image    = "haproxy:3.0"
	password = "correct horse"
	// hash is the password's crypt(3) hash, as the agent would put it in.
	hash = "$6$labsalt$G7iWEvzejTe/xBSwtH9gD9FfIsFWk4Xfy5GItCgWbAHbleGj502.Wo68eTVbRDczBzl0th4.4gbBOIeLoOcse1"
)

func TestMain(m *testing.M) {
	roletest.RunBeside(8)
	os.Exit(m.Run())
}

// arrival is a request at a server.
type arrival struct{ id, body, forwarded string }

// backend is a voting page that can be made to fail.
type backend struct {
	name string
	addr string
	sick atomic.Bool
	// misbehave answers a ballot in a way of its own; nil is a good answer.
	misbehave atomic.Pointer[func(w http.ResponseWriter)]

	mu       sync.Mutex
	arrivals []arrival
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		if b.sick.Load() {
			http.Error(w, "redis is away", http.StatusServiceUnavailable)
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.arrivals = append(b.arrivals, arrival{r.Header.Get("X-Vote-Request"), string(body), r.Header.Get("X-Forwarded-For")})
	b.mu.Unlock()
	if f := b.misbehave.Load(); f != nil && r.Method == http.MethodPost {
		(*f)(w)
		return
	}
	fmt.Fprint(w, b.name)
}

func (b *backend) seen() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]arrival(nil), b.arrivals...)
}

func startBackend(t *testing.T, name string) *backend {
	t.Helper()
	// On all addresses: the container comes in over the engine's bridge.
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b := &backend{name: name, addr: net.JoinHostPort(roletest.HostAddress(t), port)}
	srv := &http.Server{Handler: b, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return b
}

// balancer is the real HAProxy.
type balancer struct {
	*roletest.Container
	addr string
	dir  string
	role *Role
}

// startBalancer has servers that are busy taken for well: only what they answer counts.
func startBalancer(t *testing.T, backends ...*backend) *balancer {
	t.Helper()
	return startLimitedBalancer(t, 0, backends...)
}

// startLimitedBalancer lets HAProxy have so many files open; 0 is as many as the engine lets it.
func startLimitedBalancer(t *testing.T, files uint64, backends ...*backend) *balancer {
	t.Helper()
	r := New()
	limit := []string{"-p", "127.0.0.1::80"}
	if files > 0 {
		r.files = files
		limit = append(limit, "--ulimit", fmt.Sprintf("nofile=%d:%d", files, files))
	}
	r.times.Connect, r.times.Check, r.probe.Within = roletest.Patience, roletest.Patience, roletest.Patience
	// HAProxy gives a check no longer to connect than the time between two of them.
	r.times.Interval = 5 * time.Second
	b := &balancer{dir: t.TempDir(), role: r}
	// The container's user is not the test's.
	for dir := b.dir; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write(t, backends...)
	b.Container = roletest.Start(t, image, append(limit, "-v", b.dir+":"+filepath.Dir(configFile)+":ro"))
	b.addr = b.Address(t, 80)
	roletest.Eventually(t, "HAProxy answers", func() bool {
		resp, err := http.Get("http://" + b.addr + "/")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		// An answer from a server counts only once all servers have been found.
		return resp.StatusCode == http.StatusServiceUnavailable || len(backends) > 0 && resp.StatusCode == http.StatusOK
	})
	b.hears(t)
	return b
}

// hears waits until HAProxy's master process, which starts anew with each reload, handles the signal for the next one: before, it
// serves already, and the signal would be lost.
func (b *balancer) hears(t *testing.T) {
	t.Helper()
	const usr2 = 1 << (12 - 1)
	roletest.Eventually(t, "HAProxy's master listens to USR2", func() bool {
		out, err := exec.CommandContext(t.Context(), "docker", "exec", b.Name, "cat", "/proc/1/status").Output()
		if err != nil {
			return false
		}
		_, after, _ := strings.Cut(string(out), "SigCgt:")
		var caught uint64
		_, err = fmt.Sscanf(after, "%x", &caught)
		return err == nil && caught&usr2 != 0
	})
}

// write puts down the configuration as the agent does: each file replaced as a whole.
func (b *balancer) write(t *testing.T, backends ...*backend) {
	t.Helper()
	facts := roletest.Facts("interlock", 1)
	for _, s := range backends {
		host, port, _ := net.SplitHostPort(s.addr)
		var n uint32
		_, _ = fmt.Sscan(port, &n)
		facts.Instances = append(facts.Instances, &rolev1.Instance{
			Service: "web-vote-app", Id: s.name + "/web-vote-app", Node: s.name, Address: host, Port: n,
		})
	}
	plan := roletest.Plan(t, b.role, facts)
	for _, target := range []string{configFile, pageFile} {
		content := roletest.File(t, plan, "interlock", target)
		content = strings.ReplaceAll(content, `{{sha512crypt "stats-password"}}`, hash)
		next := filepath.Join(b.dir, ".next")
		if err := errors.Join(os.WriteFile(next, []byte(content), 0o644), os.Rename(next, filepath.Join(b.dir, filepath.Base(target)))); err != nil {
			t.Fatal(err)
		}
	}
}

// do sends one request over a connection of its own.
func (b *balancer) do(ctx context.Context, method, path, body string, header ...string) (int, string, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+b.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	req.Close = true
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{
		Timeout:       roletest.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), resp.Header, err
}

// A vote that one server does not take, in whatever way, is taken by another: the same body, under the same id.
func TestBallotsAreRetried(t *testing.T) {
	t.Parallel()
	good, bad := startBackend(t, "good"), startBackend(t, "bad")
	lb := startBalancer(t, good, bad)
	hijack := func(w http.ResponseWriter) net.Conn {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		return conn
	}
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for _, c := range []struct {
		name string
		how  func(w http.ResponseWriter)
		// ballots to cast; 0 means 4.
		ballots int
	}{
		{name: "503", how: func(w http.ResponseWriter) { http.Error(w, "redis is away", http.StatusServiceUnavailable) }},
		{name: "500", how: func(w http.ResponseWriter) { http.Error(w, "bug", http.StatusInternalServerError) }},
		{name: "hang up", how: func(w http.ResponseWriter) { _ = hijack(w).Close() }},
		{name: "reset", how: func(w http.ResponseWriter) {
			conn := hijack(w)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}},
		// Each costs the time for which HAProxy waits for a server. Of two, one at least goes to the bad server first.
		{name: "no answer", ballots: 2, how: func(w http.ResponseWriter) {
			conn := hijack(w)
			<-release
			_ = conn.Close()
		}},
		{name: "garbage", how: func(w http.ResponseWriter) {
			conn := hijack(w)
			_, _ = conn.Write([]byte("SSH-2.0-nonsense\r\n\r\n"))
			_ = conn.Close()
		}},
	} {
		bad.misbehave.Store(&c.how)
		refused, before := len(bad.seen()), len(good.seen())
		ballots := cmp.Or(c.ballots, 4)
		for i := range ballots {
			body := fmt.Sprintf("vote=a&vote_id=%s-%d", strings.ReplaceAll(c.name, " ", "-"), i)
			status, answer, _, err := lb.do(t.Context(), http.MethodPost, "/", body, "X-Vote-Request", "forged", "X-Forwarded-For", "8.8.8.8")
			if err != nil || status != http.StatusOK || answer != "good" {
				t.Fatalf("%s: ballot %d: %d %q, %v", c.name, i, status, answer, err)
			}
		}
		arrived := good.seen()[before:]
		if len(arrived) != ballots {
			t.Errorf("%s: %d ballots arrived at the good server, want %d", c.name, len(arrived), ballots)
		}
		ids := map[string]string{}
		for _, a := range arrived {
			// The id tells when the request came (version 7).
			id, err := uuid.Parse(a.id)
			if err != nil || id.Version() != 7 || ids[a.id] != "" || strings.Contains(a.forwarded, "8.8.8.8") {
				t.Errorf("%s: id %q, forwarded for %q", c.name, a.id, a.forwarded)
			}
			ids[a.id] = a.body
		}
		tried := bad.seen()[refused:]
		if len(tried) == 0 {
			t.Errorf("%s: the bad server was never tried: nothing is proven", c.name)
		}
		for _, a := range tried {
			if ids[a.id] != a.body {
				t.Errorf("%s: id %q came with %q at the bad server, with %q at the good one", c.name, a.id, a.body, ids[a.id])
			}
		}
		t.Logf("%s: %d of %d ballots were tried at the bad server first", c.name, len(tried), ballots)
	}
}

func TestWithoutServers(t *testing.T) {
	t.Parallel()
	lb := startBalancer(t)
	status, body, header, err := lb.do(t.Context(), http.MethodGet, "/", "")
	if err != nil || status != 503 || !strings.Contains(body, "Voting is closed") || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Errorf("a page: %d %v %q, %v", status, header, body, err)
	}
	status, body, header, err = lb.do(t.Context(), http.MethodPost, "/", "vote=a", "Accept", "application/json")
	if err != nil || status != 503 || body != `{"error":"no voting page is up"}` || header.Get("Content-Type") != "application/json" {
		t.Errorf("a ballot: %d %v %q, %v", status, header, body, err)
	}
	health := lb.check(t)
	if health.GetHealthy() || !strings.Contains(health.GetMessage(), "no frontend yet") {
		t.Errorf("check: %v", health)
	}
}

// check is the role's own check of this HAProxy.
func (b *balancer) check(t *testing.T) *role.Health {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stats-password"), []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	b.role.haproxy = b.addr
	health, err := b.role.Check(t.Context(), nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	return health
}

func TestStatisticsWantAPassword(t *testing.T) {
	t.Parallel()
	lb := startBalancer(t, startBackend(t, "one"))
	auth := func(user, password string) []string {
		req := &http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, password)
		return []string{"Authorization", req.Header.Get("Authorization")}
	}
	for _, c := range []struct {
		path   string
		header []string
		status int
		want   string
	}{
		{"/haproxy?stats", nil, 401, ""},
		{"/haproxy?stats;csv", nil, 401, ""},
		{"/haproxy", nil, 401, ""},
		{"/haproxy?stats", auth("stats", "wrong"), 401, ""},
		{"/haproxy?stats", auth("admin", password), 401, ""},
		{"/haproxy?stats", auth("stats", password), 200, "Statistics Report"},
		{"/haproxy?stats;csv", auth("stats", password), 200, "web-vote-app,one,"},
		{"/haproxy", auth("stats", password), 302, ""},
		{"/haproxy/x", nil, 200, "one"},
	} {
		status, body, _, err := lb.do(t.Context(), http.MethodGet, c.path, "", c.header...)
		if err != nil || status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s with %d headers: %d, %v, want %d with %q", c.path, len(c.header), status, err, c.status, c.want)
		}
	}
	if health := lb.check(t); !health.GetHealthy() || health.GetMessage() != "voters reach one" || health.GetMeasures()["servers_up"] != 1 {
		t.Errorf("check: %v", health)
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	one := startBackend(t, "one")
	lb := startBalancer(t, one)
	before := len(one.seen())
	for _, size := range []int{10_000, 10 << 20} {
		// A refusal of a body that is still on its way may reach the client as a broken connection.
		status, _, _, err := lb.do(t.Context(), http.MethodPost, "/", strings.Repeat("x", size))
		if err == nil && status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d bytes: %d", size, status)
		}
	}
	if n := len(one.seen()); n != before {
		t.Errorf("%d large bodies reached the server", n-before)
	}
	if status, _, _, err := lb.do(t.Context(), http.MethodPost, "/", strings.Repeat("x", 8000)); err != nil || status != 200 {
		t.Errorf("8000 bytes: %d, %v", status, err)
	}
}

// Where the engine's limit of open files is lower than HAProxy's usual need, it serves fewer voters at a time and says so, instead of not starting.
func TestFewOpenFiles(t *testing.T) {
	t.Parallel()
	lb := startLimitedBalancer(t, 1024, startBackend(t, "one"))
	roletest.Eventually(t, "the server is up", func() bool { return lb.check(t).GetHealthy() })
	if health := lb.check(t); !strings.Contains(health.GetMessage(), "at most 412 connections at a time") {
		t.Errorf("got %v", health)
	}
	if code, who, _, err := lb.do(t.Context(), http.MethodGet, "/", ""); err != nil || who != "one" {
		t.Errorf("%v: served by %q, %v", code, who, err)
	}
}

// A server that says twice in a row that it cannot work is out, and back in with its first good word; how soon these words come, see
// TestSickServersAreSoonOut.
func TestSickServers(t *testing.T) {
	t.Parallel()
	one, two := startBackend(t, "one"), startBackend(t, "two")
	lb := startBalancer(t, one, two)
	servers := func() (up, all float64) {
		m := lb.check(t).GetMeasures()
		return m["servers_up"], m["servers_total"]
	}
	roletest.Eventually(t, "both are up", func() bool { up, all := servers(); return up == 2 && all == 2 })
	before := lb.failedChecks(t, "two")
	two.sick.Store(true)
	out := roletest.Eventually(t, "the sick one is out", func() bool { up, _ := servers(); return up == 1 })
	if failed := lb.failedChecks(t, "two") - before; failed != 2 {
		t.Errorf("out after %d checks", failed)
	}
	for range 6 {
		if _, who, _, err := lb.do(t.Context(), http.MethodGet, "/", ""); err != nil || who != "one" {
			t.Errorf("served by %q, %v", who, err)
		}
	}
	two.sick.Store(false)
	back := roletest.Eventually(t, "it is back", func() bool { up, _ := servers(); return up == 2 })
	t.Logf("out after %v, back after %v", out.Round(time.Millisecond), back.Round(time.Millisecond))
	one.sick.Store(true)
	two.sick.Store(true)
	roletest.Eventually(t, "both are out", func() bool { return !lb.check(t).GetHealthy() })
	if status, body, _, err := lb.do(t.Context(), http.MethodGet, "/", ""); err != nil || status != 503 || !strings.Contains(body, "Voting is closed") {
		t.Errorf("with all servers out: %d, %v", status, err)
	}
}

// failedChecks is how many checks a server failed while it was up.
func (b *balancer) failedChecks(t *testing.T, server string) int {
	t.Helper()
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(contract.StatsUser, password)
	_, page, _, err := b.do(t.Context(), http.MethodGet, "/haproxy?stats;csv", "", "Authorization", req.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(page, "\n")
	column := slices.Index(strings.Split(strings.TrimPrefix(rows[0], "# "), ","), "chkfail")
	for _, row := range rows {
		if fields := strings.Split(row, ","); column >= 0 && strings.HasPrefix(row, "web-vote-app,"+server+",") && len(fields) > column {
			n, err := strconv.Atoi(fields[column])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no failed checks of %s in:\n%s", server, page)
	return 0
}

// Requests alternate between the servers: a refresh shows another one.
func TestRefreshShowsAnotherServer(t *testing.T) {
	t.Parallel()
	lb := startBalancer(t, startBackend(t, "one"), startBackend(t, "two"))
	_, last, _, _ := lb.do(t.Context(), http.MethodGet, "/", "")
	for range 6 {
		_, now, _, err := lb.do(t.Context(), http.MethodGet, "/", "")
		if err != nil || now == last {
			t.Errorf("%q again, %v", now, err)
		}
		last = now
	}
}

// New servers are taken in, and old ones out, without a request failing.
func TestReloadDropsNothing(t *testing.T) {
	t.Parallel()
	one, two, three := startBackend(t, "one"), startBackend(t, "two"), startBackend(t, "three")
	lb := startBalancer(t, one, two)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var good, failed atomic.Int64
	for i := range 4 {
		running.Go(func() {
			// Two with a connection for each request, two with one for many.
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0, MaxIdleConnsPerHost: 1}, Timeout: roletest.Patience}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+lb.addr+"/", strings.NewReader("vote=a"))
				// A client may find its idle connection closed before it sends; this header allows it to send anew.
				req.Header.Set("Idempotency-Key", "x")
				resp, err := client.Do(req)
				if err != nil {
					t.Log(err)
					failed.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Log(resp.Status)
					failed.Add(1)
				} else {
					good.Add(1)
				}
			}
		})
	}
	for _, set := range [][]*backend{{one, two, three}, {two, three}, {three}, {one, three}} {
		last := set[0]
		before := len(last.seen())
		lb.write(t, set...)
		lb.Signal(t, "USR2")
		want := float64(len(set))
		roletest.Eventually(t, "the new configuration is in force", func() bool {
			m := lb.check(t).GetMeasures()
			return m["servers_total"] == want && len(last.seen()) > before
		})
		served := good.Load()
		roletest.Eventually(t, "requests go on", func() bool { return good.Load() >= served+25 })
		lb.hears(t)
	}
	stop()
	running.Wait()
	if failed.Load() > 0 || good.Load() < 100 {
		t.Errorf("%d requests failed, %d were served", failed.Load(), good.Load())
	}
	t.Logf("%d requests served over 4 reloads, %d failed", good.Load(), failed.Load())
}

// A configuration that HAProxy does not take leaves the former one in force.
func TestReloadOfNonsense(t *testing.T) {
	t.Parallel()
	lb := startBalancer(t, startBackend(t, "one"))
	if err := os.WriteFile(filepath.Join(lb.dir, "haproxy.cfg"), []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lb.Signal(t, "USR2")
	roletest.Eventually(t, "HAProxy has read it", func() bool { return strings.Contains(lb.Logs(t), "nonsense") })
	for range 20 {
		if status, _, _, err := lb.do(t.Context(), http.MethodGet, "/", ""); err != nil || status != 200 {
			t.Fatalf("%d, %v", status, err)
		}
	}
}
