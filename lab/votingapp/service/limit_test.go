package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that time can be made to pass.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	done := make(chan struct{})
	return &pipes{make(chan net.Conn), done, sync.OnceFunc(func() { close(done) })}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours
	case <-p.done:
		return nil
	}
}

func TestTimeLimits(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\n"
	for _, tt := range []struct {
		name string
		// says is what the client sends before it falls silent, and drips what it sends after that, a byte a second.
		says, drips string
		// deaf is a client that does not read the answer.
		deaf bool
		ends time.Duration
	}{
		{name: "silent from the beginning", ends: headerTimeout},
		{name: "silent within the header", says: head, ends: headerTimeout},
		{name: "slow within the header", says: head, drips: strings.Repeat("x", 1000), ends: headerTimeout},
		{name: "silent within the body", says: head + "Content-Length: 10\r\n\r\nx", ends: requestTimeout},
		{name: "slow within the body", says: head + "Content-Length: 1000\r\n\r\n", drips: strings.Repeat("x", 1000), ends: requestTimeout},
		{name: "idle after an answer", says: head + "Content-Length: 0\r\n\r\n", ends: idleTimeout},
		{name: "deaf to the answer", says: head + "Content-Length: 0\r\n\r\n", deaf: true, ends: requestTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				long := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
				})
				p := newPipes()
				ctx, stop := context.WithCancel(t.Context())
				var all sync.WaitGroup
				defer all.Wait()
				all.Go(func() {
					if err := Serve(ctx, Server(long, slog.New(slog.DiscardHandler)), p, Drain{Finish: time.Minute}); err != nil {
						t.Error(err)
					}
				})
				defer stop()
				conn := p.dial()
				defer conn.Close()
				began := time.Now()
				all.Go(func() {
					_, err := io.WriteString(conn, tt.says)
					for i := 0; i < len(tt.drips) && err == nil; i++ {
						time.Sleep(time.Second)
						_, err = conn.Write([]byte{tt.drips[i]})
					}
				})
				if tt.deaf {
					time.Sleep(tt.ends + time.Second)
				}
				n, _ := io.Copy(io.Discard, conn) // until the server hangs up
				if tt.deaf && n != 0 {
					t.Errorf("%d bytes came after all", n)
				}
				if took := time.Since(began); took < tt.ends || took > tt.ends+2*time.Second {
					t.Errorf("cut off after %v, want %v", took, tt.ends)
				}
			})
		})
	}
}

// counted is a listener that remembers how many of its connections were open at once.
type counted struct {
	net.Listener
	mu         sync.Mutex
	open, most int
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.add(1)
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { c.add(-1) })}, nil
}

func (c *counted) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	c.most = max(c.most, c.open)
}

// atOnce is how many were open at once.
func (c *counted) atOnce() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

type countedConn struct {
	net.Conn
	closed func()
}

// Close counts before another connection can take its place.
func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func TestConnectionsAreLimited(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const most = 3
	listener := &counted{Listener: limit(tcp.(*net.TCPListener), most)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	go func() {
		served <- Serve(ctx, Server(ok, slog.New(slog.DiscardHandler)), listener, Drain{Finish: time.Second})
	}()

	// ask asks on a new connection and leaves it open; answered waits for the answer.
	ask := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		return conn
	}
	answered := func(conn net.Conn) error {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		_, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err
	}
	var open []net.Conn
	for range most {
		conn := ask()
		if err := answered(conn); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	// Many more come. The kernel hands them out in the order in which they came, one for each that goes.
	for range 10 {
		open = append(open, ask())
	}
	for i, conn := range open[most:] {
		_ = open[i].Close()
		if err := answered(conn); err != nil {
			t.Fatalf("the one that waited is not served when another has gone: %v", err)
		}
	}
	if got := listener.atOnce(); got != most {
		t.Errorf("%d connections were served at once, want %d", got, most)
	}
	// With all slots taken, the server still stops.
	stop()
	if err := <-served; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
