package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// forwardTimeout bounds the connection to a port of the node itself.
const forwardTimeout = 3 * time.Second

// Dial connects to a port of a container of the plan, if the plan publishes it on the node's own 127.0.0.1: what is published
// everywhere needs no tunnel, and what is not published is nobody's business.
func (n *Node) Dial(ctx context.Context, container string, port uint32) (*net.TCPConn, error) {
	address, err := n.published(container, port)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: forwardTimeout}).DialTCP(ctx, "tcp", netip.AddrPort{}, address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, status.Errorf(codes.Aborted, "%s does not take the connection at the node's %s; does it run? (%v)", container, address, err)
	}
	return conn, nil
}

// published returns the node's address for a container's port.
func (n *Node) published(container string, port uint32) (netip.AddrPort, error) {
	n.mu.Lock()
	plan := n.plan
	n.mu.Unlock()
	if !plan.known {
		return netip.AddrPort{}, status.Errorf(codes.FailedPrecondition, "the plan of %s is not known yet, so no tunnel leads there", n.config.Self.GetName())
	}
	var names []string
	for i := range plan.containers {
		spec := &plan.containers[i].Spec
		names = append(names, spec.Name)
		if spec.Name != container {
			continue
		}
		var open []string
		for _, p := range spec.Ports {
			host, err := netip.ParseAddr(p.HostAddress)
			if err != nil || !host.IsLoopback() {
				continue
			}
			if uint32(p.ContainerPort) == port {
				return netip.AddrPortFrom(host, p.HostPort), nil
			}
			open = append(open, fmt.Sprint(p.ContainerPort))
		}
		if len(open) == 0 {
			return netip.AddrPort{}, status.Errorf(codes.FailedPrecondition, "no tunnel leads to %s: it publishes no port on the node's 127.0.0.1", container)
		}
		return netip.AddrPort{}, status.Errorf(codes.FailedPrecondition, "no tunnel leads to port %d of %s, only to %s", port, container, strings.Join(open, ", "))
	}
	return netip.AddrPort{}, status.Errorf(codes.NotFound, "%s plans no container %q, only %s", n.config.Self.GetName(), container, strings.Join(names, ", "))
}
