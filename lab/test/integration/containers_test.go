//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// place is a row of the design's table: a container, its node, and whether it is on mynet.
type place struct {
	node, container string
	overlay         bool
}

func (l *lab) places() []place {
	places := []place{
		{"manager", "consul", false},
		{"interlock", "interlock", false},
		{"store", "pg", true},
		{"store", "results-app", true},
	}
	for i, node := range l.nodesOf("frontend") {
		places = append(places, place{node, fmt.Sprintf("redis%02d", i+1), true}, place{node, node, true})
	}
	for _, node := range l.nodesOf("worker") {
		places = append(places, place{node, node, true})
	}
	return places
}

func (l *lab) nodesOf(role string) []string {
	var names []string
	for _, n := range l.Topology.OfRole(role) {
		names = append(names, n.Name)
	}
	return names
}

// Every container of the table runs on its node and only there, and those on mynet have an address on it, as the engines
// themselves say.
func TestContainersStandOnTheirNodes(t *testing.T) {
	l := open(t)
	want := map[string][]string{}
	for _, p := range l.places() {
		want[p.node] = append(want[p.node], p.container)
		out := l.mustOnNode(t, p.node, "docker", "inspect", "-f",
			`{{.State.Running}} {{with index .NetworkSettings.Networks "mynet"}}{{.IPAddress}}{{end}}`, p.container)
		fields := strings.Fields(out)
		if fields[0] != "true" {
			t.Errorf("%s on %s does not run", p.container, p.node)
		}
		if attached := len(fields) == 2; attached != p.overlay {
			t.Errorf("%s on %s: on mynet: %v, want %v", p.container, p.node, attached, p.overlay)
		}
	}
	for _, n := range l.Topology.Nodes {
		got := strings.Fields(l.mustOnNode(t, n.Name, "docker", "ps", "-a", "--format", "{{.Names}}"))
		if len(got) != len(want[n.Name]) {
			t.Errorf("%s has the containers %v, want %v", n.Name, got, want[n.Name])
		}
	}
}

// Containers on mynet reach each other by name: the worker's metrics name no error, and the swarm has its five members.
func TestSwarmHasItsMembers(t *testing.T) {
	l := open(t)
	want := len(l.Topology.Nodes) - 1
	// What gave up joining and joined anew is struck off after some minutes.
	waitFor(t, l.patience, fmt.Sprintf("the swarm has %d members, every node but interlock, all ready", want), func(ctx context.Context) error {
		out, err := l.onNode(ctx, "manager", "docker", "node", "ls", "--format", "{{.Hostname}}={{.Status}}")
		members := strings.Fields(out)
		if err == nil && (len(members) != want || strings.Count(out, "=Ready") != want) {
			err = fmt.Errorf("there are %v", members)
		}
		return err
	})
	if state := l.mustOnNode(t, "interlock", "docker", "info", "-f", "{{.Swarm.LocalNodeState}}"); state != "inactive" {
		t.Errorf("interlock is in a swarm: %s", state)
	}
}

// No secret shows in what docker inspect tells.
func TestInspectTellsNoSecret(t *testing.T) {
	l := open(t)
	files, err := filepath.Glob(l.Path("secrets", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no secrets under .lab: %v", err)
	}
	secrets := map[string]string{}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", f, info.Mode())
		}
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.TrimSpace(string(content)); len(s) >= 16 {
			secrets[filepath.Base(f)] = s
		}
	}
	for _, p := range l.places() {
		out := l.mustOnNode(t, p.node, "docker", "inspect", p.container)
		for name, secret := range secrets {
			if strings.Contains(out, secret) {
				t.Errorf("docker inspect %s on %s shows %s", p.container, p.node, name)
			}
		}
	}
}

func TestARemovedContainerComesBack(t *testing.T) {
	l := open(t)
	old := l.mustOnNode(t, "worker01", "docker", "inspect", "-f", "{{.Id}}", "worker01")
	l.mustOnNode(t, "worker01", "docker", "rm", "-f", "worker01")
	waitFor(t, l.patience, "worker01 is created again", func(ctx context.Context) error {
		out, err := l.onNode(ctx, "worker01", "docker", "inspect", "-f", "{{.Id}} {{.State.Running}}", "worker01")
		if err != nil {
			return err
		}
		if id, running, _ := strings.Cut(strings.TrimSpace(out), " "); id == old || running != "true" {
			return fmt.Errorf("container %s running: %s", id, running)
		}
		return nil
	})
	l.waitReady(t)
}

// A container that a person stopped stays stopped, over a restart of the agent too, until it is healed.
func TestAManuallyStoppedContainerStaysStopped(t *testing.T) {
	l := open(t)
	l.mustOnNode(t, "worker01", "docker", "stop", "worker01")
	shown := func(ctx context.Context) error {
		c, err := l.container(ctx, "worker01", "worker01")
		if err != nil {
			return err
		}
		if !c.GetManuallyStopped() {
			return fmt.Errorf("state %s, not shown as stopped manually", c.GetState())
		}
		return nil
	}
	waitFor(t, l.patience, "the agent shows worker01 as stopped manually", shown)
	l.mustOnNode(t, "worker01", "systemctl", "restart", "labagent")
	waitFor(t, l.patience, "the restarted agent shows it too", shown)
	// Something else must be reconciled in between, so that "stays stopped" is a decision and not a loop that stands still.
	l.mustOnNode(t, "frontend01", "docker", "rm", "-f", "frontend01")
	waitFor(t, l.patience, "frontend01 is back", func(ctx context.Context) error {
		_, err := l.onNode(ctx, "frontend01", "docker", "inspect", "frontend01")
		return err
	})
	if state := l.mustOnNode(t, "worker01", "docker", "inspect", "-f", "{{.State.Running}}", "worker01"); state != "false" {
		t.Error("worker01 was started although a person had stopped it")
	}
	l.heal(t)
	l.waitReady(t)
}

// A crash is Docker's to mend.
func TestACrashIsMended(t *testing.T) {
	l := open(t)
	l.crash(t, "frontend01", "redis01")
	l.waitReady(t)
}

// crash kills a container's first process and waits until another one runs.
func (l *lab) crash(t *testing.T, node, container string) {
	t.Helper()
	// Between two runs Docker calls a container "restarting", but also running, with the process 0.
	running := func(ctx context.Context, not string) (pid string, err error) {
		out, err := l.onNode(ctx, node, "docker", "inspect", "-f", "{{.State.Status}} {{.State.Pid}}", container)
		if err != nil {
			return "", err
		}
		state, pid, _ := strings.Cut(strings.TrimSpace(out), " ")
		if state != "running" || pid == not {
			return "", fmt.Errorf("it is %s, its process %s", state, pid)
		}
		return pid, nil
	}
	pid, err := running(t.Context(), "0")
	if err != nil {
		t.Fatal(err)
	}
	l.mustOnNode(t, node, "kill", "-9", pid)
	waitFor(t, l.patience, container+" runs again", func(ctx context.Context) error {
		_, err := running(ctx, pid)
		return err
	})
}

// Killing the agent, or its plugin, disturbs no container.
func TestKilledAgentAndPluginChangeNothing(t *testing.T) {
	for _, process := range []string{"labagent", "role-frontend"} {
		t.Run(process, func(t *testing.T) {
			l := open(t)
			running := func() string {
				return l.mustOnNode(t, "frontend01", "docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", "redis01", "frontend01")
			}
			before := running()
			// pkill -x compares the first 15 characters of the name.
			l.mustOnNode(t, "frontend01", "pkill", "-KILL", "-x", process)
			waitFor(t, l.patience, "the agent reports a fresh "+process, func(ctx context.Context) error {
				snap, err := l.snapshot(ctx, "frontend01")
				if err != nil {
					return err
				}
				if !snap.GetRole().GetRunning() {
					return fmt.Errorf("the plugin does not run: %s", snap.GetRole().GetError())
				}
				return nil
			})
			l.waitReady(t)
			if after := running(); after != before {
				t.Errorf("containers changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// The audit log names who did what.
func TestOperateCallsAreAudited(t *testing.T) {
	l := open(t)
	l.heal(t)
	out := l.mustOnNode(t, "worker01", "tail", "-n", "5", "/var/lib/swarmlab/audit.log")
	found := false
	for _, line := range strings.Split(out, "\n") {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("audit line is not JSON: %s", line)
			continue
		}
		found = found || strings.Contains(line, agentv1.AgentService_Heal_FullMethodName) || strings.Contains(line, "Heal")
	}
	if !found {
		t.Errorf("no Heal among the last operate calls:\n%s", out)
	}
}
