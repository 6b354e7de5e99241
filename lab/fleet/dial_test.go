package fleet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
)

func TestDial(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	target, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	go func() {
		for {
			conn, err := target.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	lab.Agents["store"].Hook(func(h *fleettest.Hooks) { h.Ports = map[string]string{"pg:5432": target.Addr().String()} })
	f := connect(t, lab.Lab)
	conn, err := f.Dial(t.Context(), "store", "pg", 5432)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("it cannot be half closed")
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("%q came back, %v", got, err)
	}

	lab.Agents["manager"].Stop()
	for _, tt := range []struct {
		name, node, container string
		port                  int
		says                  string
	}{
		{name: "no such node", node: "frontend09", container: "redis09", port: 6379, says: `no node "frontend09"`},
		{name: "port 0", node: "store", container: "pg", says: "store: no tunnel leads to pg: its port must be"},
		{name: "port 65536", node: "store", container: "pg", port: 65536, says: "its port must be"},
		{name: "refused by the agent", node: "store", container: "pg", port: 22, says: "store: no tunnel leads to pg:22"},
		{name: "the agent is away", node: "manager", container: "consul", port: 8500, says: "manager: nothing listens at 127.0.0.1:"},
	} {
		_, err := f.Dial(t.Context(), tt.node, tt.container, tt.port)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

// A tunnel whose node goes away says so, in the fleet's words.
func TestATunnelEndsWithItsNode(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	target, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	lab.Agents["frontend01"].Hook(func(h *fleettest.Hooks) { h.Ports = map[string]string{"redis01:6379": target.Addr().String()} })
	f := connect(t, lab.Lab)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	conn, err := f.Dial(ctx, "frontend01", "redis01", 6379)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel() // it was for the opening
	lab.Agents["frontend01"].Stop()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var problem *fleet.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &problem) || problem.Node != "frontend01" || problem.Problem != fleet.ProblemSilent {
		t.Errorf("got %v", err)
	}
}
