package frontend

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	roletest.Golden(t, "frontend02", roletest.Plan(t, New(), roletest.Facts("frontend", 2)))
	if _, err := New().Plan(t.Context(), &role.Facts{Node: &rolev1.Node{Name: "frontend100", Role: "frontend", Ordinal: 100}}); err == nil {
		t.Error("a hundredth frontend gets a plan")
	}
	if _, err := New().Plan(t.Context(), &role.Facts{}); err == nil {
		t.Error("no node gets a plan")
	}
}

const password = "correct horse"

// fixture is a frontend whose voting page is the test's.
func fixture(t *testing.T, redisAddr string) (r *Role, secrets string, page func(status int, body string)) {
	t.Helper()
	status, body := 200, "ok"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintln(w, body)
	}))
	t.Cleanup(srv.Close)
	secrets = t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, "redis-password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = New()
	r.probe.Within = roletest.Patience // a busy machine may take its time
	r.redis, r.web = redisAddr, srv.Listener.Addr().String()
	return r, secrets, func(s int, b string) { status, body = s, b }
}

func check(t *testing.T, r *Role, secrets string, healthy bool, message string) map[string]float64 {
	t.Helper()
	health, err := r.Check(t.Context(), nil, secrets)
	if err != nil {
		t.Fatal(err)
	}
	if health.GetHealthy() != healthy || !strings.Contains(health.GetMessage(), message) {
		t.Errorf("want healthy=%v, %q; got %v", healthy, message, health)
	}
	return health.GetMeasures()
}

func TestCheckWithoutRedis(t *testing.T) {
	t.Parallel()
	addr := roletest.FreePort(t)
	r, secrets, _ := fixture(t, addr)
	if m := check(t, r, secrets, false, "no votes are taken: Redis: nothing listens on "+addr); len(m) != 0 {
		t.Errorf("measures of nothing: %v", m)
	}
	if _, err := r.Check(t.Context(), nil, t.TempDir()); err == nil || !strings.Contains(err.Error(), "redis-password") {
		t.Errorf("without its password: %v", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	c := roletest.Start(t, "redis:8.0", []string{"-p", "127.0.0.1::6379"}, "redis-server", "--requirepass", password)
	r, secrets, page := fixture(t, c.Address(t, 6379))
	client := redis.NewClient(&redis.Options{Addr: r.redis, Password: password})
	defer func() { _ = client.Close() }()
	ctx := t.Context()
	roletest.Eventually(t, "Redis answers", func() bool { return client.Ping(ctx).Err() == nil })

	measures := func(what string, captured, queued, dead float64) {
		t.Helper()
		m := check(t, r, secrets, true, "takes votes")
		if m["votes_captured"] != captured || m["votes_queued"] != queued || m["votes_dead_lettered"] != dead || len(m) != 3 {
			t.Errorf("%s: %v", what, m)
		}
	}
	do := func(args ...any) {
		t.Helper()
		if err := client.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	measures("before the first vote", 0, 0, 0)
	add := func(id string, votes int) {
		t.Helper()
		do("xadd", "votes", id, "v2", "…")
		do("incrby", "votes:captured", votes)
	}
	add("1-1", 1)
	add("2-1", 200)
	measures("before the first worker", 201, 201, 0)
	do("xgroup", "create", "votes", "workers", "0")
	do("xreadgroup", "group", "workers", "w", "count", "2", "streams", "votes", ">")
	measures("with two entries on their way", 201, 201, 0)
	do("xack", "votes", "workers", "1-1")
	do("xdel", "votes", "1-1")
	do("incrby", "votes:settled", 1)
	measures("with one vote counted", 201, 200, 0)
	do("xadd", "votes:dead", "*", "reason", "?")
	do("xack", "votes", "workers", "2-1")
	do("xdel", "votes", "2-1")
	do("incrby", "votes:settled", 200)
	measures("with one put aside", 201, 0, 1)
	do("xadd", "votes", "3-1", "by", "hand")
	measures("with an entry that somebody put there", 201, 1, 1)
	add("4-1", 3)

	page(503, "redis at redis01:6379 cannot be written: MISCONF")
	m := check(t, r, secrets, false, "no votes are taken: the voting page: redis at redis01:6379 cannot be written")
	if m["votes_captured"] != 204 {
		t.Errorf("a sick page takes the measures away: %v", m)
	}
	page(200, "ok")
	if err := os.WriteFile(filepath.Join(secrets, "redis-password"), []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, r, secrets, false, "does not take the lab's password")
	if err := os.WriteFile(filepath.Join(secrets, "redis-password"), []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Pause(t)
	r.probe.Within = time.Second // whatever time the caller gives
	began := time.Now()
	check(t, r, secrets, false, "in time")
	t.Logf("a frozen Redis took %v to find out", time.Since(began).Round(time.Millisecond))
	c.Unpause(t)
}
