package service

import (
	"net"
	"sync"
)

// maxConnections bounds the open connections of one server, and with it their memory: about 20 KiB each. More wait in the kernel's
// backlog until one is closed, by idleTimeout at the latest.
const maxConnections = 12_000

// limited is a listener that accepts as many connections as it has slots. Its connections are still TCP connections in all that
// net/http looks for: it must be able to close one side only, or a client would see a reset instead of its answer.
type limited struct {
	*net.TCPListener
	slots chan struct{}
	close func() error
	ended chan struct{}
}

func limit(l *net.TCPListener, connections int) *limited {
	ended := make(chan struct{})
	return &limited{
		TCPListener: l, slots: make(chan struct{}, connections), ended: ended,
		close: sync.OnceValue(func() error {
			close(ended)
			return l.Close()
		}),
	}
}

// Accept waits for a slot, and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{TCPConn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close ends Accept.
func (l *limited) Close() error { return l.close() }

type limitedConn struct {
	*net.TCPConn
	release func()
}

// Close gives the slot back.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
