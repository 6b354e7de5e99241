package probe_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
	"github.com/swarmlab/swarmlab/agents/roles/internal/probe"
)

func TestHealthz(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"good":     {200, "ok\n", ""},
		"reason":   {503, "redis at redis01:6379 cannot be written: full\nmore\n", "redis at redis01:6379 cannot be written: full"},
		"html":     {503, "<html>", "answers 503 Service Unavailable"},
		"empty":    {500, "", "answers 500 Internal Server Error"},
		"long":     {503, strings.Repeat("x", 400), "answers 503"},
		"redirect": {302, "", "answers 302"},
		"missing":  {404, "404 page not found", "404 page not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer srv.Close()
			err := probe.NewProber().Healthz(t.Context(), srv.Listener.Addr().String())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listen := func(serve func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
		return l.Addr().String()
	}
	free := roletest.FreePort(t)
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	for name, c := range map[string]struct {
		address, want string
		within        time.Duration
	}{
		"closed":  {free, "nothing listens on " + free, roletest.Patience},
		"hang up": {listen(func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _ = c.Close() }), "hangs up", roletest.Patience},
		"silent":  {listen(func(c net.Conn) { <-ended; _ = c.Close() }), "in time", 100 * time.Millisecond},
	} {
		probe := probe.NewProber()
		probe.Within = c.within
		ctx, cancel := probe.Bound(t.Context())
		err := probe.Healthz(ctx, c.address)
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", name, c.want, err)
		}
	}
}

// A role says by itself that it had no answer, before the agent ceases to listen.
func TestARoleGivesUpBeforeTheAgentDoes(t *testing.T) {
	t.Parallel()
	if within := probe.NewProber().Within; within > role.CheckTimeout*3/4 {
		t.Errorf("a check may take %v, and the agent waits for %v", within, role.CheckTimeout)
	}
}
