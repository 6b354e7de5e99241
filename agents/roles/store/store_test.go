package store

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

// See probe.Prober for the rest of the time.
func TestTheGoodbyeFitsInToo(t *testing.T) {
	t.Parallel()
	if all := New().probe.Within + goodbye; all > role.CheckTimeout*9/10 {
		t.Errorf("a check may take %v, and the agent waits for %v", all, role.CheckTimeout)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	roletest.Golden(t, "store", roletest.Plan(t, New(), roletest.Facts("store", 1)))
}

const password = "correct horse"

func fixture(t *testing.T, postgres string) (r *Role, secrets string, page func(status int)) {
	t.Helper()
	status := 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintln(w, "postgres at store:5432 does not answer")
	}))
	t.Cleanup(srv.Close)
	secrets = t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, "postgres-password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = New()
	r.probe.Within = roletest.Patience // a busy machine may take its time
	r.postgres, r.results = postgres, srv.Listener.Addr().String()
	return r, secrets, func(s int) { status = s }
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

func TestCheckWithoutPostgres(t *testing.T) {
	t.Parallel()
	addr := roletest.FreePort(t)
	r, secrets, _ := fixture(t, addr)
	if m := check(t, r, secrets, false, "no votes are counted: Postgres: nothing listens on "+addr); len(m) != 0 {
		t.Errorf("measures of nothing: %v", m)
	}
	if _, err := r.Check(t.Context(), nil, t.TempDir()); err == nil || !strings.Contains(err.Error(), "postgres-password") {
		t.Errorf("without its password: %v", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	c := roletest.Start(t, "postgres:17", []string{"-p", "127.0.0.1::5432", "-e", "POSTGRES_PASSWORD=" + password, "-e", "POSTGRES_DB=votes"})
	r, secrets, page := fixture(t, c.Address(t, 5432))
	roletest.Eventually(t, "Postgres answers", func() bool {
		health, err := r.Check(t.Context(), nil, secrets)
		return err == nil && health.GetHealthy()
	})
	m := check(t, r, secrets, true, "0 votes counted")
	if len(m) != 3 || m["votes_counted"] != 0 {
		t.Errorf("before the first worker: %v", m)
	}
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:%s@%s/votes", strings.ReplaceAll(password, " ", "%20"), r.postgres))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	// The voting app's own table, in all that matters here: several rows, some below zero.
	_, err = conn.Exec(t.Context(), `CREATE TABLE tally (shard smallint, frontend text, a bigint NOT NULL, b bigint NOT NULL, merged bigint NOT NULL);
		INSERT INTO tally VALUES (0, 'frontend01', 5, 3, 9), (1, 'frontend01', -1, 2, 4)`)
	if err != nil {
		t.Fatal(err)
	}
	m = check(t, r, secrets, true, "9 votes counted: 4 for a, 5 for b")
	if m["votes_counted"] != 9 || m["a"] != 4 || m["b"] != 5 || len(m) != 3 {
		t.Errorf("measures %v", m)
	}
	_, err = conn.Exec(t.Context(), "CREATE TABLE incidents (queue text); INSERT INTO incidents VALUES ('redis01'), ('redis02'), ('redis02')")
	if err != nil {
		t.Fatal(err)
	}
	if m = check(t, r, secrets, true, "9 votes counted"); m["queue_incidents:redis01"] != 1 || m["queue_incidents:redis02"] != 2 {
		t.Errorf("measures with incidents %v", m)
	}
	page(503)
	if m := check(t, r, secrets, false, "the results page does not work: postgres at store:5432"); m["votes_counted"] != 9 {
		t.Errorf("a sick page takes the measures away: %v", m)
	}
	page(200)
	if err := os.WriteFile(filepath.Join(secrets, "postgres-password"), []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, r, secrets, false, "does not take the lab's password")
	c.Pause(t)
	r.probe.Within = time.Second // whatever time the caller gives
	began := time.Now()
	check(t, r, secrets, false, "in time")
	t.Logf("a frozen Postgres took %v to find out", time.Since(began).Round(time.Millisecond))
	c.Unpause(t)
}
