package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

func TestMain(m *testing.M) {
	roletest.RunBeside(8)
	goleak.VerifyTestMain(m)
}

// The tests in this file talk to the real Consul, with the configuration that the manager's role gives it.

const (
	managementToken = "11111111-1111-4111-8111-111111111111"
	nodeToken       = "22222222-2222-4222-8222-222222222222"
)

// server is a Consul that keeps its address over wipes.
type server struct {
	*roletest.Container
	addr, config string
	// client sees everything. One for all questions: Consul takes 200 connections of an address, and waits ask often.
	client *api.Client
}

func startConsul(t *testing.T) *server {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "roles", "manager", "consul.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The container's user is not the test's.
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &server{addr: roletest.FreePort(t), config: filepath.Join(dir, "swarmlab.hcl")}
	text := strings.ReplaceAll(string(content), `{{secret "consul-management-token"}}`, managementToken)
	if err := os.WriteFile(s.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.begin(t)
	return s
}

func (s *server) begin(t *testing.T) {
	t.Helper()
	s.Container = roletest.Start(t, "hashicorp/consul:1.22.0",
		[]string{"-p", s.addr + ":8500", "-v", s.config + ":/consul/config/swarmlab.hcl:ro"},
		"agent", "-server", "-bootstrap-expect=1", "-client=0.0.0.0", "-ui=false")
}

// wipe replaces it by one without any data.
func (s *server) wipe(t *testing.T) {
	t.Helper()
	s.Remove(t)
	s.begin(t)
}

// testTimes are those of a client that looks often, and gives nothing up because a busy machine takes its time.
func testTimes() times {
	return times{
		ttl: roletest.Patience, interval: 500 * time.Millisecond,
		retryFirst: 100 * time.Millisecond, retryMost: 500 * time.Millisecond,
		call: 30 * time.Second, block: 10 * time.Second, grace: 30 * time.Second,
		hold: hold{deregistered: 4 * roletest.Patience, lost: 4 * roletest.Patience},
	}
}

// start runs a client of a node until the test ends or stop is called.
func start(t *testing.T, s *server, node string, change ...func(*Config)) (c *Client, stop func()) {
	t.Helper()
	cfg := Config{
		Lab: "test", Node: node, Address: "192.168.33.20", AgentPort: 7400, Consul: s.addr,
		Token:     func() (string, error) { return nodeToken, nil },
		StateFile: filepath.Join(t.TempDir(), "known.json"),
		Logger:    slog.New(slog.DiscardHandler),
		times:     testTimes(),
	}
	if node == "manager" {
		cfg.Management = func() (string, error) { return managementToken, nil }
	}
	for _, f := range change {
		f(&cfg)
	}
	c = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		c.closeIdle() // of calls after the end
	})
	t.Cleanup(stop)
	return c, stop
}

var webService = &rolev1.Service{Name: "web-vote-app", Container: "frontend01", Port: 5000, Tags: []string{"http"}}

func registered(c *Client, want ...string) func() bool {
	return func() bool {
		s := c.Status()
		return s.Reachable && slices.Equal(s.Registered, want)
	}
}

func instances(c *Client, want ...string) func() bool {
	return func() bool {
		var got []string
		for _, i := range c.Instances() {
			got = append(got, i.GetId())
		}
		return slices.Equal(got, want)
	}
}

func (s *server) management(t *testing.T) *api.Client {
	t.Helper()
	if s.client != nil {
		return s.client
	}
	c, transport, err := newAPI(s.addr, managementToken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = c
	return c
}

func (s *server) check(t *testing.T, id string) string {
	t.Helper()
	checks, err := s.management(t).Agent().Checks()
	if err != nil || checks["service:"+id] == nil {
		return ""
	}
	return checks["service:"+id].Status
}

// What leaves Consul as it is shares one: the nodes' token is made there first, and then damaged and mended.
func TestOneConsul(t *testing.T) {
	t.Parallel()
	s := startConsul(t)
	s.management(t) // for all of them
	for _, story := range []struct {
		name string
		tell func(t *testing.T, s *server)
	}{{"register", register}, {"ensure ACL", ensureACL}, {"forget", forget}} {
		if !t.Run(story.name, func(t *testing.T) { story.tell(t, s) }) {
			return
		}
	}
}

func register(t *testing.T, s *server) {
	frontend, stop := start(t, s, "frontend01")
	frontend.Offer([]*rolev1.Service{webService})
	roletest.Eventually(t, "the frontend learns that its token is not known", func() bool {
		return strings.Contains(fmt.Sprint(frontend.Status().Err), "does not know the nodes' token yet")
	})
	start(t, s, "manager")
	roletest.Eventually(t, "registered", registered(frontend, "frontend01/labagent", "frontend01/web-vote-app"))
	list, _, err := s.management(t).Catalog().Service("web-vote-app", "", nil)
	if err != nil || len(list) != 1 || list[0].ServiceAddress != "192.168.33.20" || list[0].ServicePort != 5000 ||
		list[0].ServiceMeta["node"] != "frontend01" || list[0].ServiceMeta["lab"] != "test" || list[0].ServiceTags[0] != "http" {
		t.Fatalf("in the catalogue: %+v, %v", list, err)
	}
	if got := s.check(t, "frontend01/web-vote-app"); got != "passing" {
		t.Errorf("the check is %q", got)
	}

	// An offer that changes.
	moved := &rolev1.Service{Name: "web-vote-app", Port: 5001}
	frontend.Offer([]*rolev1.Service{moved, {Name: "extra", Port: 1}})
	roletest.Eventually(t, "both", registered(frontend, "frontend01/extra", "frontend01/labagent", "frontend01/web-vote-app"))
	list, _, err = s.management(t).Catalog().Service("web-vote-app", "", nil)
	if err != nil || len(list) != 1 || list[0].ServicePort != 5001 || len(list[0].ServiceTags) != 0 {
		t.Errorf("after the move: %+v, %v", list, err)
	}

	// A restart of the agent leaves the catalogue alone, until it says what it offers.
	stop()
	again, _ := start(t, s, "frontend01")
	roletest.Eventually(t, "the new agent keeps up what stands",
		registered(again, "frontend01/extra", "frontend01/labagent", "frontend01/web-vote-app"))
	again.Offer([]*rolev1.Service{moved})
	roletest.Eventually(t, "the other is gone", func() bool {
		list, _, err := s.management(t).Catalog().Service("extra", "", nil)
		return err == nil && len(list) == 0
	})
	again.Offer(nil)
	roletest.Eventually(t, "none", registered(again, "frontend01/labagent"))

	// Nobody gets in without a token.
	for _, path := range []string{"/v1/catalog/services", "/v1/agent/services", "/v1/kv/x", "/v1/agent/self"} {
		resp, err := http.Get("http://" + s.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100)
		n, _ := resp.Body.Read(body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK && strings.Trim(string(body[:n]), "{} \n") != "" {
			t.Errorf("%s without a token: %s: %s", path, resp.Status, body[:n])
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Consul comes back without anything: the token is made anew, every node registers anew, and nobody loses a server over it.
func TestWipe(t *testing.T) {
	t.Parallel()
	s := startConsul(t)
	manager, _ := start(t, s, "manager")
	frontend, _ := start(t, s, "frontend01")
	frontend.Offer([]*rolev1.Service{webService})
	other, stopOther := start(t, s, "frontend02")
	other.Offer([]*rolev1.Service{webService})
	interlock, _ := start(t, s, "interlock")
	interlock.Follow([]string{"web-vote-app"})
	both := instances(interlock, "frontend01/web-vote-app", "frontend02/web-vote-app")
	roletest.Eventually(t, "both are followed", both)

	// One of the two nodes is away when it happens, so that the catalogue stays partly empty.
	stopOther()
	before := interlock.known("web-vote-app")[0].Incarnation
	s.wipe(t)
	took := roletest.Eventually(t, "registered again", func() bool {
		if !both() {
			t.Fatalf("the interlock knows only %v", interlock.Instances())
		}
		list, _, err := s.management(t).Catalog().Service("web-vote-app", "", nil)
		return err == nil && len(list) == 1
	})
	t.Logf("registered again %v after Consul was started without data", took.Round(10*time.Millisecond))
	// That is how a loss of data is told from a deregistration.
	roletest.Eventually(t, "the new Consul is told from the old one", func() bool {
		now := interlock.known("web-vote-app")[0].Incarnation
		return now != before && now != ""
	})
	roletest.Eventually(t, "all are content", func() bool {
		return registered(manager, "manager/labagent")() && registered(frontend, "frontend01/labagent", "frontend01/web-vote-app")()
	})
	if !both() {
		t.Errorf("the interlock knows %v", interlock.Instances())
	}
}

// Consul is away: what is known stays, also over a restart of the agent.
func TestConsulAway(t *testing.T) {
	t.Parallel()
	s := startConsul(t)
	start(t, s, "manager")
	frontend, _ := start(t, s, "frontend01")
	frontend.Offer([]*rolev1.Service{webService})
	state := filepath.Join(t.TempDir(), "known.json")
	keep := func(cfg *Config) { cfg.StateFile = state }
	interlock, stop := start(t, s, "interlock", keep)
	interlock.Follow([]string{"web-vote-app"})
	one := instances(interlock, "frontend01/web-vote-app")
	roletest.Eventually(t, "followed", one)
	s.Stop(t)
	roletest.Eventually(t, "everybody notices", func() bool {
		return !interlock.Status().Reachable && !frontend.Status().Reachable
	})
	if !one() {
		t.Errorf("without Consul: %v", interlock.Instances())
	}
	stop()
	again, _ := start(t, s, "interlock", keep)
	if !instances(again, "frontend01/web-vote-app")() {
		t.Errorf("after a restart without Consul: %v", again.Instances())
	}
	s.Start(t)
	took := roletest.Eventually(t, "everybody is back", func() bool {
		return again.Status().Reachable && registered(frontend, "frontend01/labagent", "frontend01/web-vote-app")()
	})
	t.Logf("back %v after Consul was started with its data", took.Round(10*time.Millisecond))
	if !instances(again, "frontend01/web-vote-app")() {
		t.Errorf("with Consul back: %v", again.Instances())
	}
}

// A node deregisters: it is given up soon. A node that only falls silent is not, and its expired check passes once it speaks again.
func TestDeregisteredAndExpired(t *testing.T) {
	t.Parallel()
	s := startConsul(t)
	const deregistered = 2 * time.Second
	short := func(cfg *Config) { cfg.times.ttl, cfg.times.deregistered = 2*time.Second, deregistered }
	start(t, s, "manager", short)
	gone, _ := start(t, s, "frontend01", short)
	gone.Offer([]*rolev1.Service{webService})
	silent, stopSilent := start(t, s, "frontend02", short)
	silent.Offer([]*rolev1.Service{webService})
	interlock, _ := start(t, s, "interlock", short, func(cfg *Config) {
		cfg.Alive = func(context.Context, *rolev1.Instance) bool { return true }
	})
	interlock.Follow([]string{"web-vote-app"})
	roletest.Eventually(t, "both are followed", instances(interlock, "frontend01/web-vote-app", "frontend02/web-vote-app"))
	stopSilent()
	began := time.Now()
	gone.Offer(nil)
	roletest.Eventually(t, "the one is given up", instances(interlock, "frontend02/web-vote-app"))
	if took := time.Since(began); took < deregistered {
		t.Errorf("given up after %v", took)
	}
	roletest.Eventually(t, "the check expires", func() bool { return s.check(t, "frontend02/web-vote-app") == "critical" })
	// A restart with its data brings the check back as it was; see the times of TTL checks.
	s.Signal(t, "KILL")
	s.Start(t)
	roletest.Eventually(t, "Consul is back", func() bool { return s.check(t, "frontend02/web-vote-app") == "critical" })
	again, _ := start(t, s, "frontend02", short)
	again.Offer([]*rolev1.Service{webService})
	roletest.Eventually(t, "the check passes", func() bool { return s.check(t, "frontend02/web-vote-app") == "passing" })
	if !instances(interlock, "frontend02/web-vote-app")() {
		t.Errorf("the interlock knows %v", interlock.Instances())
	}
}

func forget(t *testing.T, s *server) {
	manager, _ := start(t, s, "manager")
	frontend, stop := start(t, s, "frontend01")
	frontend.Offer([]*rolev1.Service{webService})
	roletest.Eventually(t, "registered", registered(frontend, "frontend01/labagent", "frontend01/web-vote-app"))
	stop()
	for range 2 { // The second finds nothing, which is no error.
		if _, err := manager.Forget(t.Context(), "frontend01"); err != nil {
			t.Fatal(err)
		}
	}
	services, _, err := s.management(t).Catalog().Services(nil)
	if err != nil || len(services["web-vote-app"]) != 0 || services["labagent"] == nil {
		t.Errorf("left: %v, %v", services, err)
	}
	if list, _, _ := s.management(t).Catalog().Service("labagent", "", nil); len(list) != 1 || list[0].ServiceMeta["node"] != "manager" {
		t.Errorf("left: %v", list)
	}
	s.Stop(t)
	if _, err := manager.Forget(t.Context(), "frontend01"); err == nil || !strings.Contains(err.Error(), "forget node frontend01") {
		t.Errorf("without Consul: %v", err)
	}
}

// The policy and the token are mended when they are not what they should be.
func ensureACL(t *testing.T, s *server) {
	m := s.management(t)
	ensure := func(want bool) {
		t.Helper()
		changed, err := EnsureACL(t.Context(), m, nodeToken)
		if err != nil || changed != want {
			t.Errorf("changed %v, %v; want %v", changed, err, want)
		}
	}
	ensure(false)
	policy, _, err := m.ACL().PolicyReadByName(policyName, nil)
	if err != nil {
		t.Fatal(err)
	}
	policy.Rules = `node_prefix "" { policy = "read" }`
	if _, _, err := m.ACL().PolicyUpdate(policy, nil); err != nil {
		t.Fatal(err)
	}
	ensure(true)
	ensure(false)
	self, _, err := m.ACL().TokenReadSelf(&api.QueryOptions{Token: nodeToken})
	if err != nil {
		t.Fatal(err)
	}
	self.Policies = nil
	if _, _, err := m.ACL().TokenUpdate(self, nil); err != nil {
		t.Fatal(err)
	}
	ensure(true)
	if _, err := m.ACL().TokenDelete(self.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	ensure(true)
	ensure(false)
}

func TestSecretsAreRead(t *testing.T) {
	t.Parallel()
	c := New(Config{
		Node: "n", Consul: roletest.FreePort(t), StateFile: filepath.Join(t.TempDir(), "x"), Logger: slog.New(slog.DiscardHandler),
		Token: func() (string, error) { return "", fmt.Errorf("no such secret") },
	})
	if _, err := c.round(t.Context()); err == nil || !strings.Contains(err.Error(), "no such secret") {
		t.Errorf("round: %v", err)
	}
	if _, err := c.Forget(t.Context(), "x"); err == nil {
		t.Error("forget works without a token")
	}
}
