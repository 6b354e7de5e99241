//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// mustServe casts votes until every frontend has served one.
func (l *lab) mustServe(t *testing.T, when string) {
	t.Helper()
	served := map[string]bool{}
	waitFor(t, l.patience, "every frontend serves "+when, func(ctx context.Context) error {
		got, err := l.newVoter(t).cast(ctx, "a")
		if err != nil {
			return err
		}
		served[got.ServedBy] = true
		if len(served) < l.Frontends {
			return fmt.Errorf("only %v so far", served)
		}
		return nil
	})
}

// The balancer keeps its servers when Consul dies, when HAProxy restarts meanwhile, and when Consul comes back.
func TestBalancerOutlivesConsul(t *testing.T) {
	l := open(t)
	l.mustOnNode(t, "manager", "docker", "stop", "consul")
	l.mustServe(t, "without Consul")
	l.mustOnNode(t, "interlock", "docker", "restart", "interlock")
	l.mustServe(t, "after HAProxy restarted without Consul")
	l.mustOnNode(t, "interlock", "systemctl", "restart", "labagent")
	l.mustServe(t, "after interlock's agent restarted without Consul")
	l.heal(t)
	l.waitReady(t)
	l.mustServe(t, "with Consul back, its checks stale")
}

// The statistics page wants its generated password.
func TestStatsPageWantsItsPassword(t *testing.T) {
	l := open(t)
	url := l.votingURL() + "/haproxy?stats"
	get := func(password string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("stats", password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, password := range []string{"", "interlock", "wrong"} {
		if status, _ := get(password); status != http.StatusUnauthorized {
			t.Errorf("password %q: %d, want 401", password, status)
		}
	}
	password, err := os.ReadFile(l.Path("secrets", "stats-password"))
	if err != nil {
		t.Fatal(err)
	}
	status, body := get(strings.TrimSpace(string(password)))
	if status != http.StatusOK {
		t.Fatalf("with the password: %d", status)
	}
	for _, frontend := range l.nodesOf("frontend") {
		if !strings.Contains(body, frontend) {
			t.Errorf("the page does not name %s", frontend)
		}
	}
}
