package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// linger is how long a closed tunnel may take to deliver what was written to it.
const linger = 5 * time.Second

var errEnded = errors.New("the tunnel has ended")

// Target is where a tunnel leads to. It is the remote address of the connection.
type Target struct {
	Node, Container string
	// Port of the container.
	Port uint16
}

// Network implements [net.Addr].
func (Target) Network() string { return "tunnel" }

// String implements [net.Addr].
func (t Target) String() string { return fmt.Sprintf("%s/%s:%d", t.Node, t.Container, t.Port) }

// local is the caller's end of any tunnel.
type local struct{}

func (local) Network() string { return "tunnel" }
func (local) String() string  { return "here" }

// Conn is the caller's end of a tunnel. It is a [net.Conn] with the half close of TCP; as there, all methods may be called at once.
type Conn struct {
	stream  grpc.BidiStreamingClient[agentv1.ForwardRequest, agentv1.ForwardResponse]
	cancel  context.CancelFunc
	target  Target
	explain func(error) error

	readMu sync.Mutex
	// rest is what was received and not yet read.
	rest []byte
	// received delivers what comes; it is closed, after readErr is set, when no more will.
	received chan []byte
	readErr  error
	// sent takes what is to be sent.
	writeMu sync.Mutex
	sent    chan []byte
	// ended is closed, after endErr is set, when the call is over.
	ended  chan struct{}
	endErr error
	// broken is closed when nothing can be sent any more. While nobody reads, it is known before ended is.
	broken chan struct{}
	// finished is closed when nothing more will be written.
	finished chan struct{}
	finish   func()
	// closed is closed by Close.
	closed chan struct{}
	close  func()

	readDeadline, writeDeadline *deadline
}

var _ net.Conn = (*Conn)(nil)

// Open makes a tunnel through an agent. Like a dialer's, the context is for the opening only. Errors, those of the tunnel later on
// too, pass through explain, which is given gRPC's.
func Open(ctx context.Context, client agentv1.AgentServiceClient, target Target, explain func(error) error) (*Conn, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	giveUp := context.AfterFunc(ctx, cancel)
	stream, err := open(life, client, target)
	if !giveUp() {
		cancel()
		// What gRPC says of it then is only that the call was cancelled.
		return nil, fmt.Errorf("open a tunnel to %s: %w", target, context.Cause(ctx))
	}
	if err != nil {
		cancel()
		return nil, explain(err)
	}
	c := &Conn{
		stream: stream, cancel: cancel, target: target, explain: explain,
		received: make(chan []byte), sent: make(chan []byte),
		ended: make(chan struct{}), broken: make(chan struct{}), finished: make(chan struct{}), closed: make(chan struct{}),
		readDeadline: newDeadline(), writeDeadline: newDeadline(),
	}
	c.finish = sync.OnceFunc(func() { close(c.finished) })
	c.close = sync.OnceFunc(func() { close(c.closed) })
	go c.receive()
	go c.send()
	return c, nil
}

func open(ctx context.Context, client agentv1.AgentServiceClient, target Target,
) (grpc.BidiStreamingClient[agentv1.ForwardRequest, agentv1.ForwardResponse], error) {
	stream, err := client.Forward(ctx)
	if err != nil {
		return nil, err
	}
	to := &agentv1.ForwardTarget{Container: target.Container, Port: uint32(target.Port)}
	// An error of Send is the end of the stream; why it ended, Recv says.
	if err := stream.Send(&agentv1.ForwardRequest{Kind: &agentv1.ForwardRequest_To{To: to}}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := stream.Recv(); err != nil {
		return nil, err
	}
	return stream, nil
}

// receive takes in what the target says, to the end of the call.
func (c *Conn) receive() {
	defer c.cancel()
	reading := true
	stop := func(err error) {
		if reading {
			reading, c.readErr = false, err
			close(c.received)
		}
	}
	for {
		response, err := c.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			c.endErr = errEnded
			close(c.ended)
			stop(io.EOF)
			return
		case err != nil:
			c.endErr = c.explain(err)
			close(c.ended)
			stop(c.endErr)
			return
		case response.GetEof():
			stop(io.EOF)
		case reading && len(response.GetData()) > 0:
			select {
			case c.received <- response.GetData():
			case <-c.closed: // nobody will read it
			}
		}
	}
}

// send sends what is written, to the end of it.
func (c *Conn) send() {
	for {
		select {
		case chunk := <-c.sent:
			if err := c.stream.Send(&agentv1.ForwardRequest{Kind: &agentv1.ForwardRequest_Data{Data: chunk}}); err != nil {
				close(c.broken)
				return // the call is over; receive will learn why
			}
		case <-c.finished:
			_ = c.stream.CloseSend() // always nil, by its contract
			return
		case <-c.ended:
			return
		}
	}
}

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.failed("read", err)
	}
	return n, err
}

func (c *Conn) read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	switch {
	case over(c.closed):
		return 0, net.ErrClosed
	case over(c.readDeadline.passed()):
		return 0, os.ErrDeadlineExceeded
	case len(b) == 0:
		return 0, nil
	}
	if len(c.rest) == 0 {
		select {
		case chunk, ok := <-c.received:
			if !ok {
				return 0, c.readErr
			}
			c.rest = chunk
		case <-c.closed:
			return 0, net.ErrClosed
		case <-c.readDeadline.passed():
			return 0, os.ErrDeadlineExceeded
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.write(b)
	if err != nil {
		err = c.failed("write", err)
	}
	return n, err
}

func (c *Conn) write(b []byte) (n int, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	for {
		switch {
		case over(c.closed):
			return n, net.ErrClosed
		case over(c.finished):
			return n, io.ErrClosedPipe
		case over(c.writeDeadline.passed()):
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		chunk := bytes.Clone(b[n:min(len(b), n+maxChunk)])
		select {
		case c.sent <- chunk:
			n += len(chunk)
		case <-c.ended:
			return n, c.endErr
		case <-c.broken:
			return n, errEnded
		case <-c.closed:
		case <-c.finished:
		case <-c.writeDeadline.passed():
		}
	}
}

// CloseWrite tells the target that no more will be written; reading goes on.
func (c *Conn) CloseWrite() error {
	if over(c.closed) {
		return c.failed("close", net.ErrClosed)
	}
	c.finish()
	return nil
}

// Close implements [net.Conn]. It does not wait: what was written is delivered within five seconds, or not at all.
func (c *Conn) Close() error {
	if over(c.closed) {
		return c.failed("close", net.ErrClosed)
	}
	c.close()
	c.finish()
	late := time.AfterFunc(linger, c.cancel)
	go func() {
		<-c.ended
		late.Stop()
	}()
	return nil
}

// LocalAddr implements [net.Conn].
func (*Conn) LocalAddr() net.Addr { return local{} }

// RemoteAddr implements [net.Conn]; it is a [Target].
func (c *Conn) RemoteAddr() net.Addr { return c.target }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.readDeadline, t) }

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.writeDeadline, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	if over(c.closed) {
		return c.failed("set", net.ErrClosed)
	}
	d.set(t)
	return nil
}

func (c *Conn) failed(what string, err error) error {
	return &net.OpError{Op: what, Net: c.target.Network(), Source: local{}, Addr: c.target, Err: err}
}

func over(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// deadline is a moment that may be moved, also while somebody waits for it: whoever waits for the former one is woken up only if that
// passes.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	done  chan struct{}
}

func newDeadline() *deadline { return &deadline{done: make(chan struct{})} }

// passed returns a channel that is closed once the deadline has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// set moves the deadline; the zero time is none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.done // it is passing right now
	}
	d.timer = nil
	passed := over(d.done)
	if t.IsZero() || time.Until(t) > 0 {
		if passed {
			d.done = make(chan struct{})
		}
		if !t.IsZero() {
			done := d.done
			d.timer = time.AfterFunc(time.Until(t), func() { close(done) })
		}
		return
	}
	if !passed {
		close(d.done)
	}
}
