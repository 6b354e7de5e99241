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

// mustServe casts votes until every frontend has served one, and returns how many that took.
func (l *lab) mustServe(t *testing.T, when string) (votes int) {
	t.Helper()
	served := map[string]bool{}
	waitFor(t, l.patience, "every frontend serves "+when, func(ctx context.Context) error {
		got, err := l.newVoter(t).cast(ctx, "a")
		if err != nil {
			return err
		}
		votes++
		served[got.ServedBy] = true
		if len(served) < l.Frontends {
			return fmt.Errorf("only %v so far", served)
		}
		return nil
	})
	return votes
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
	l.waitWhole(t, l.patience)
	l.mustServe(t, "with Consul back, its checks stale")
}

// An empty Consul is filled again by the agents; the balancer never loses a server over it.
func TestEmptyConsulIsRepopulated(t *testing.T) {
	l := open(t)
	l.mustOnNode(t, "manager", "docker", "rm", "-f", "consul")
	// The agent may have started the next one already; a volume in use is not removed, so retry until the old data is gone.
	waitFor(t, l.patience, "Consul's data is wiped", func(ctx context.Context) error {
		_, err := l.onNode(ctx, "manager", "bash", "-c", "docker volume rm consul-data || { docker rm -f consul; false; }")
		return err
	})
	for range 20 {
		if _, err := l.newVoter(t).cast(t.Context(), "a"); err != nil {
			t.Fatalf("while Consul is empty: %v", err)
		}
	}
	l.waitWhole(t, l.patience)
	waitFor(t, l.patience, "every node is registered again", func(ctx context.Context) error {
		for _, name := range append(l.nodesOf("frontend"), "store") {
			snap, err := l.snapshot(ctx, name)
			if err != nil {
				return err
			}
			if d := snap.GetDiscovery(); !d.GetReachable() || len(d.GetRegistered()) == 0 {
				return fmt.Errorf("%s: %s", name, d.GetError())
			}
		}
		return nil
	})
	l.mustServe(t, "with Consul filled again")
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

// A frontend node that dies under votes costs no acknowledged vote.
func TestAFrontendDiesUnderVotes(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)
	votes := l.startLoad(t, 8)
	// The votes go on until the node is back and the lab whole, so they see the death, the absence and the return.
	l.kill(t, "frontend02")
	l.start(t, "frontend02")
	l.waitWhole(t, l.patience)
	votes.stop()
	l.counted(t, before, votes)
}

// A worker and a Redis that crash under votes cost no acknowledged vote.
func TestCrashesUnderVotes(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)
	votes := l.startLoad(t, 4)
	l.crash(t, "worker01", "worker01")
	l.crash(t, "frontend01", "redis01")
	l.waitWhole(t, l.patience)
	votes.stop()
	l.counted(t, before, votes)
}

// drained waits until no vote waits in any queue, as found by checks made after the call: votes cast before it are counted.
func (l *lab) drained(t *testing.T) {
	t.Helper()
	asked := map[string]*conclusion{}
	waitFor(t, l.patience, "the queues are empty", func(ctx context.Context) error {
		for _, name := range l.nodesOf("frontend") {
			snap, err := l.snapshot(ctx, name)
			if err != nil {
				return err
			}
			if asked[name] == nil {
				asked[name] = &conclusion{}
			}
			if role := snap.GetRole(); !asked[name].conclusive(role.GetCheckedAt().AsTime()) {
				return fmt.Errorf("%s has not checked since", name)
			} else if queued := role.GetMeasures()["votes_queued"]; queued > 0 {
				return fmt.Errorf("%v queued on %s", queued, name)
			}
		}
		return nil
	})
}
