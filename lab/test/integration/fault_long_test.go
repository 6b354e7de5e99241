//go:build integration && long

package integration

import (
	"strings"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// Containers are broken in every way under votes. What the engine says agrees with the fault; it ends by itself, and no vote is lost.
func TestFaultsUnderVotes(t *testing.T) {
	l := open(t)
	const lease = 4 * time.Second
	votes := l.tryOut(t, newSeed(t), 0)
	for _, c := range []struct {
		node, kind, container string
		// shows is what docker inspect says while the fault is in force.
		shows string
	}{
		{"frontend01", "kill", "frontend01", ""},
		{"frontend01", "stop", "redis01", "exited"},
		{"frontend02", "pause", "redis02", "paused"},
		{"worker01", "remove", "worker01", "gone"},
		{"worker01", "disconnect", "worker01", "running"},
		{"store", "pause", "pg", "paused"},
		{"store", "stop", "pg", "exited"},
	} {
		votes.more(t, l, int64(l.rate)/3)
		f := l.inject(t, c.node, &agentv1.InjectRequest{Kind: c.kind, Container: c.container}, untilLooked)
		if c.shows != "" {
			said, err := l.onNode(t.Context(), c.node, "docker", "inspect", "-f",
				`{{.State.Status}} {{with index .NetworkSettings.Networks "mynet"}}{{.IPAddress}}{{end}}`, c.container)
			if err != nil {
				said = "gone"
			}
			said = strings.TrimSpace(said)
			if got := strings.Fields(said)[0]; got != c.shows || c.kind == "disconnect" && said != "running" {
				t.Errorf("%s %s: the engine says %q", c.kind, c.container, said)
			}
		}
		began := time.Now()
		if c.kind == "kill" {
			l.noFault(t, c.node) // it is over once it has happened
		} else {
			l.endsBy(t, c.node, f, lease)
		}
		over := time.Since(began)
		l.waitReady(t)
		t.Logf("%s %s: over after %.1f s, ready after %.1f s", c.kind, c.container, over.Seconds(), time.Since(began).Seconds())
	}
	votes.pass(t, l)
}

// A frontend's engine is stopped under votes.
func TestAStoppedEngineUnderVotes(t *testing.T) {
	l := open(t)
	votes := l.tryOut(t, newSeed(t), 0)
	f := l.inject(t, "frontend02", &agentv1.InjectRequest{Kind: "engine-stop"}, untilLooked)
	if said, err := l.onNode(t.Context(), "frontend02", "systemctl", "is-active", "docker.service"); err == nil {
		t.Errorf("systemd says that the engine is %s", said)
	}
	votes.more(t, l, int64(l.rate)/3)
	l.endsBy(t, "frontend02", f, 4*time.Second)
	l.waitReady(t)
	votes.pass(t, l)
}

// TestFaultsOutliveNobody has both at once.
func TestFaultsOutliveNeitherAgentNorPower(t *testing.T) {
	l := open(t)
	const node = "store"
	for name, ends := range map[string]func(*testing.T){
		"the agent is killed":  func(t *testing.T) { l.killAgent(t, node) },
		"the node loses power": func(t *testing.T) { l.kill(t, node); l.start(t, node) },
	} {
		t.Run(name, func(t *testing.T) {
			l.waitReady(t)
			l.outlives(t, node, "pg", "pause", "results-app", ends)
		})
	}
}
