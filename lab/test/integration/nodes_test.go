//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

func (l *lab) address(t *testing.T, node string) string {
	t.Helper()
	n, ok := l.Topology.Node(node)
	if !ok {
		t.Fatalf("the topology has no node %s", node)
	}
	return n.Address.String()
}

// A node of each role in turn loses power and gets it back. TestEveryNodeComesBackAgainAndAgain has them all.
func TestANodeOfEachRoleComesBack(t *testing.T) {
	l := open(t)
	var nodes []topology.Node
	for _, role := range l.Topology.Roles {
		if of := l.Topology.OfRole(role); len(of) > 0 {
			nodes = append(nodes, of[0])
		}
	}
	l.nodesComeBack(t, 1, nodes)
}

// nodesComeBack has one node after the other lose power and get it back; each time it rejoins and the lab is ready. Most take a quarter of a
// minute; one that the manager takes for down all the same joins anew, which takes a minute. What this guards against is written in agents/rejoin
// and at downPatience in agents/node.
func (l *lab) nodesComeBack(t *testing.T, rounds int, nodes []topology.Node) {
	t.Helper()
	var took []time.Duration
	for round := range rounds {
		for _, n := range nodes {
			l.kill(t, n.Name)
			start := time.Now()
			l.start(t, n.Name)
			waitFor(t, l.patience, n.Name+" is back", func(ctx context.Context) error {
				snap, err := l.snapshot(ctx, n.Name)
				if err != nil {
					return err
				}
				if !snap.GetReady() {
					return fmt.Errorf("not ready: %s", pending(snap))
				}
				return nil
			})
			l.waitReady(t)
			d := time.Since(start)
			took = append(took, d)
			t.Logf("round %d: %-10s ready after %.1f s", round+1, n.Name, d.Seconds())
		}
		if _, err := l.newVoter(t).cast(t.Context(), "a"); err != nil {
			t.Fatalf("after round %d: %v", round+1, err)
		}
	}
	slices.Sort(took)
	t.Logf("%d returns: median %.1f s, longest %.1f s", len(took), took[len(took)/2].Seconds(), took[len(took)-1].Seconds())
}

// vagrant halt and up do the same in an orderly way.
func TestVagrantHaltAndUp(t *testing.T) {
	l := open(t)
	l.vagrant(t, "halt", "frontend02")
	if _, err := l.newVoter(t).cast(t.Context(), "a"); err != nil {
		t.Errorf("with frontend02 halted: %v", err)
	}
	l.vagrant(t, "up", "frontend02")
	l.waitReady(t)
}

// A laptop that slept has a lab all of whose nodes stood still; votes taken before are counted after.
func TestALabThatSleptIsReady(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)
	if _, err := l.newVoter(t).cast(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := l.suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.waitReady(t)
	if _, err := l.newVoter(t).cast(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	l.expectTally(t, tally{A: before.A + 1, B: before.B + 1, Total: before.Total + 2})
}

// A node whose clock is set wrong says so, and is set right by the manager's.
func TestAWrongClockIsSetRight(t *testing.T) {
	l := open(t)
	const node = "frontend01"
	clock := func(ctx context.Context) (*agentv1.ClockStatus, error) {
		snap, err := l.snapshot(ctx, node)
		if err != nil {
			return nil, err
		}
		return snap.GetClock(), nil
	}
	right := func(ctx context.Context) error {
		c, err := clock(ctx)
		switch {
		case err != nil:
			return err
		case c.GetOffset() == nil || c.GetStale():
			return errors.New("it does not know")
		case c.GetOff():
			return fmt.Errorf("it is %s off", c.GetOffset().AsDuration())
		}
		return nil
	}
	waitFor(t, l.patience, "the clock is right", right)
	now, err := clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s ± %s", now.GetOffset().AsDuration(), now.GetBound().AsDuration())
	if now.GetSource() == agentv1.ClockSource_CLOCK_SOURCE_HOST {
		t.Skip("a container node has no clock of its own to set")
	}
	l.mustOnNode(t, node, "date", "--set", "+5 minutes")
	waitFor(t, l.patience, "the clock is said to be off", func(ctx context.Context) error {
		c, err := clock(ctx)
		if err == nil && !c.GetOff() {
			err = fmt.Errorf("it is %s off", c.GetOffset().AsDuration())
		}
		return err
	})
	start := time.Now()
	waitFor(t, l.patience, "the clock is right again", right)
	t.Logf("right again %s later", time.Since(start).Round(time.Second))
	l.waitReady(t)
}

// Nodes come from one image, and yet none has what identifies another: to systemd and DHCP, to ssh, to Docker.
func TestNodesHaveTheirOwnIdentity(t *testing.T) {
	l := open(t)
	for _, identity := range []struct{ of, command string }{
		{"machine", "cat /etc/machine-id"},
		{"ssh", "cat /etc/ssh/ssh_host_*_key.pub"},
		{"engine", "docker info --format '{{.ID}}'"},
	} {
		owner := map[string]string{}
		for _, n := range l.Topology.Nodes {
			id := l.mustOnNode(t, n.Name, "sh", "-c", identity.command)
			if id == "" {
				t.Errorf("%s has no %s identity", n.Name, identity.of)
			}
			if other, taken := owner[id]; taken {
				t.Errorf("%s and %s have the same %s identity: %s", n.Name, other, identity.of, id)
			}
			owner[id] = n.Name
		}
	}
}

// A shell on a node is what the tutorial is made of.
func TestVagrantSSH(t *testing.T) {
	l := open(t)
	cmd := exec.CommandContext(t.Context(), "vagrant", "ssh", "worker01", "-c", "hostname && sudo docker ps --format '{{.Names}}'")
	cmd.Dir = l.Dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, []string{"worker01", "worker01"}) {
		t.Errorf("got %q, want the host name and the one container", got)
	}
}

// From the host and from every other node: no engine port, and no Redis, Postgres or Consul without credentials.
func TestWhatIsClosedIsClosed(t *testing.T) {
	l := open(t)
	closed := []int{2375, 2376, 3375, 6379, 5432}
	// A port that is closed says so at once; one that were open would say that at once, too.
	const closedWithin = 5 * time.Second
	for _, target := range l.Topology.Nodes {
		for _, port := range closed {
			address := net.JoinHostPort(target.Address.String(), strconv.Itoa(port))
			if conn, err := net.DialTimeout("tcp", address, closedWithin); err == nil {
				conn.Close()
				t.Errorf("from the host: %s is open", address)
			}
			for _, from := range l.Topology.Nodes {
				if from.Name == target.Name {
					continue
				}
				// bash is on every node; its /dev/tcp is a bare connect.
				probe := fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", target.Address, port)
				if _, err := l.onNode(t.Context(), from.Name, "timeout", "5", "bash", "-c", probe); err == nil {
					t.Errorf("from %s: %s is open", from.Name, address)
				}
			}
		}
	}
	// On the node itself Redis and Postgres are open for debugging, with a password.
	if out := l.mustOnNode(t, "frontend01", "docker", "exec", "redis01", "redis-cli", "PING"); !strings.Contains(out, "NOAUTH") {
		t.Errorf("redis without a password answers %q", out)
	}
	out, err := l.onNode(t.Context(), "store", "docker", "exec", "-e", "PGPASSWORD=wrong", "pg",
		"psql", "-h", "store", "-U", "postgres", "votes", "-c", "SELECT 1")
	if err == nil || !strings.Contains(out, "password authentication failed") {
		t.Errorf("postgres with a wrong password: %v: %s", err, out)
	}
	// Consul is reachable; without a token it shows nothing and takes nothing.
	consul := "http://" + net.JoinHostPort(l.address(t, "manager"), "8500")
	for _, tt := range []struct{ request, path, want string }{
		{"GET", "/v1/catalog/services", "{} 200"},
		{"GET", "/v1/catalog/nodes", "[] 200"},
		{"GET", "/v1/agent/self", " 403"},
		{"PUT", "/v1/kv/stranger", " 403"},
		{"PUT", "/v1/agent/service/register", " 403"},
	} {
		out := l.mustOnNode(t, "interlock", "curl", "-s", "-X", tt.request, "-d", `{"Name":"stranger"}`, "-w", " %{http_code}", consul+tt.path)
		if !strings.HasSuffix(out, tt.want) {
			t.Errorf("consul %s %s without a token: %q, want %q", tt.request, tt.path, out, tt.want)
		}
	}
}

// From the host a tunnel leads to what a node publishes for itself alone, for those who may operate the lab, and the node keeps a record.
func TestTunnelsLeadWhereThePlanSays(t *testing.T) {
	l := open(t)
	observer, err := fleet.Connect(l.Lab, fleet.Observe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = observer.Close() })
	for _, tt := range []struct {
		fleet           *fleet.Fleet
		node, container string
		port            int
		says            string
	}{
		{l.fleet, "frontend01", "frontend01", 5000, "no tunnel leads to frontend01"},
		{l.fleet, "frontend01", "redis01", 22, "only to 6379"},
		{l.fleet, "frontend01", "redis02", 6379, "plans no container"},
		{l.fleet, "manager", "consul", 8500, "no tunnel leads to consul"},
		{observer, "frontend01", "redis01", 6379, "its agent refuses"},
	} {
		conn, err := tt.fleet.Dial(t.Context(), tt.node, tt.container, tt.port)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s:%d on %s: %v, want %q", tt.container, tt.port, tt.node, err, tt.says)
		}
	}
	conn, err := l.fleet.Dial(t.Context(), "frontend01", "redis01", 6379)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, len("-NOAUTH"))
	if err := conn.SetDeadline(time.Now().Add(l.patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "-NOAUTH" {
		t.Errorf("redis01 says %q, %v", answer, err)
	}
	log := l.mustOnNode(t, "frontend01", "tail", "-n", "5", "/var/lib/swarmlab/audit.log")
	if !strings.Contains(log, `"method":"Forward","request":{"container":"redis01"`) {
		t.Errorf("no record of it:\n%s", log)
	}
}

// The agents ask for a certificate of this lab.
func TestAgentsRefuseStrangers(t *testing.T) {
	l := open(t)
	for _, n := range l.Topology.Nodes {
		url := fmt.Sprintf("https://127.0.0.1:%d/", l.AgentPort(n))
		client := &http.Client{Timeout: 2 * time.Second}
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
			t.Errorf("%s answered a stranger: %s", n.Name, resp.Status)
		}
	}
}
