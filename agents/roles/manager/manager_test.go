package manager

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	roletest.Golden(t, "manager", roletest.Plan(t, New(), roletest.Facts("manager", 1)))
}

// What Consul says in these cases is from the real one; package discovery tests against it.
func TestCheck(t *testing.T) {
	t.Parallel()
	secrets := t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, "consul-node-token"), []byte("the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		leader, self string
		status       int
		healthy      bool
		want         string
	}{
		"leads":     {`"127.0.0.1:8300"`, "{}", 200, true, "services can register"},
		"no leader": {`""`, "{}", 200, false, "not elected a leader"},
		"no token":  {`"127.0.0.1:8300"`, "ACL not found", 403, false, "does not know the nodes' token"},
		"no answer": {`"127.0.0.1:8300"`, "boom", 500, false, "Consul: boom"},
		"no Consul": {`<html>`, "", 200, false, "does not answer as Consul does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/status/leader" {
					fmt.Fprint(w, c.leader)
					return
				}
				if r.URL.Path != "/v1/acl/token/self" || r.Header.Get("X-Consul-Token") != "the-token" {
					t.Errorf("unexpected: %s with token %q", r.URL, r.Header.Get("X-Consul-Token"))
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.self)
			}))
			defer srv.Close()
			r := New()
			r.probe.Within = roletest.Patience
			r.consul = srv.Listener.Addr().String()
			health, err := r.Check(t.Context(), nil, secrets)
			if err != nil || health.GetHealthy() != c.healthy || !strings.Contains(health.GetMessage(), c.want) {
				t.Errorf("want healthy=%v, %q; got %v, %v", c.healthy, c.want, health, err)
			}
		})
	}
	r := New()
	r.probe.Within = roletest.Patience
	r.consul = roletest.FreePort(t)
	health, err := r.Check(t.Context(), nil, secrets)
	if err != nil || health.GetHealthy() || !strings.Contains(health.GetMessage(), "nothing listens on") {
		t.Errorf("without Consul: %v, %v", health, err)
	}
}
