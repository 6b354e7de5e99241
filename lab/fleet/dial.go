package fleet

import (
	"context"
	"net"

	"github.com/swarmlab/swarmlab/agents/api/tunnel"
)

// Dial opens a tunnel to a port that a container of the node's plan publishes on the node's own 127.0.0.1, such as 6379 of redis01 and
// 5432 of pg; port is the container's. The agent refuses any other, and the certificate must be Operate's. The context is for the
// opening only. The connection can be half closed: it has CloseWrite.
func (f *Fleet) Dial(ctx context.Context, node, container string, port int) (net.Conn, error) {
	m, err := f.member(node)
	if err != nil {
		return nil, err
	}
	if port < 1 || port >= 1<<16 {
		return nil, &Error{Node: node, Reason: "no tunnel leads to " + container + ": its port must be from 1 to 65535"}
	}
	target := tunnel.Target{Node: node, Container: container, Port: uint16(port)}
	conn, err := tunnel.Open(ctx, m.client, target, func(err error) error { return m.explain(err) })
	if err != nil {
		return nil, err
	}
	return conn, nil
}
