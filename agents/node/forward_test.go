package node

import (
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

func TestDial(t *testing.T) {
	b := newBench(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := func(l net.Listener) uint32 { return uint32(l.Addr().(*net.TCPAddr).Port) }
	gone := port(closed)
	_ = closed.Close()
	t.Cleanup(func() { _ = listener.Close() })
	b.role.set(func(f *fakeRole) {
		f.ports = []*rolev1.PublishedPort{
			{HostAddress: "127.0.0.1", HostPort: port(listener), ContainerPort: 6379},
			{HostAddress: "127.0.0.1", HostPort: gone, ContainerPort: 6380},
			{HostAddress: "0.0.0.0", HostPort: 5000, ContainerPort: 80},
			{HostPort: 5001, ContainerPort: 81},
		}
	})
	b.ready()
	for _, tt := range []struct {
		name, container string
		port            uint32
		code            codes.Code
		says            string
	}{
		{name: "published on the node itself", container: "redis01", port: 6379},
		{name: "nobody listens", container: "redis01", port: 6380, code: codes.Aborted, says: "does it run?"},
		{name: "published everywhere", container: "redis01", port: 80, code: codes.FailedPrecondition, says: "only to 6379, 6380"},
		{name: "published at any address", container: "redis01", port: 81, code: codes.FailedPrecondition, says: "only to 6379, 6380"},
		{name: "not published", container: "redis01", port: 22, code: codes.FailedPrecondition, says: "only to 6379, 6380"},
		{name: "the published port is not the container's", container: "redis01", port: port(listener), code: codes.FailedPrecondition},
		{name: "no port", container: "redis01", code: codes.FailedPrecondition},
		{name: "beyond all ports", container: "redis01", port: 6379 + 1<<16, code: codes.FailedPrecondition},
		{name: "publishes nothing", container: "web", port: 80, code: codes.FailedPrecondition, says: "publishes no port"},
		{name: "not in the plan", container: "redis09", port: 6379, code: codes.NotFound, says: "only redis01, web"},
		{name: "nameless", port: 6379, code: codes.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := b.node.Dial(t.Context(), tt.container, tt.port)
			if err == nil {
				_ = conn.Close()
			}
			if status.Code(err) != tt.code || tt.says != "" && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v saying %q", err, tt.code, tt.says)
			}
		})
	}
}

func TestDialWithoutAPlan(t *testing.T) {
	b := newBench(t)
	b.role.set(func(f *fakeRole) { f.nonsense = true })
	b.restart()
	if _, err := b.node.Dial(t.Context(), "redis01", 6379); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}
