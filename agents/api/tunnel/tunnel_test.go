package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/tunnel"
)

// patience ends a wait that is in vain.
const patience = 3 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent forwards to the one target that a test has.
type agent struct {
	agentv1.UnimplementedAgentServiceServer
	address string
	err     error
	// hangs: it never gets to the target.
	hangs bool
	life  context.Context
}

func (a *agent) Forward(stream tunnel.Stream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(a.life, func() { cancel(status.Error(codes.Unavailable, "the agent is stopping")) })()
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if a.err != nil {
		return a.err
	}
	if a.hangs {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	conn, err := net.Dial("tcp", a.address)
	if err != nil {
		return err
	}
	return tunnel.Serve(ctx, stream, conn.(*net.TCPConn))
}

// line is a server and a target to which tunnels lead.
type line struct {
	client  agentv1.AgentServiceClient
	agent   *agent
	targets chan *net.TCPConn
	// stopping ends what the agent serves; stop ends the agent.
	stopping, stop func()
}

func newLine(t testing.TB) *line {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	life, stopping := context.WithCancel(context.Background())
	l := &line{
		agent: &agent{address: target.Addr().String(), life: life}, stopping: stopping, targets: make(chan *net.TCPConn),
	}
	server := grpc.NewServer()
	agentv1.RegisterAgentServiceServer(server, l.agent)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	closed := make(chan struct{})
	running.Go(func() {
		for {
			conn, err := target.Accept()
			if err != nil {
				return
			}
			select {
			case l.targets <- conn.(*net.TCPConn):
			case <-closed:
				_ = conn.Close()
			}
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	l.client = agentv1.NewAgentServiceClient(conn)
	l.stop = server.Stop
	t.Cleanup(func() {
		stopping()
		close(closed)
		_ = conn.Close()
		server.Stop()
		_ = target.Close()
		running.Wait()
	})
	return l
}

func closing(c io.Closer) { _ = c.Close() }

func (l *line) dial(ctx context.Context) (*tunnel.Conn, error) {
	return tunnel.Open(ctx, l.client, tunnel.Target{Node: "frontend01", Container: "redis01", Port: 6379},
		func(err error) error { return fmt.Errorf("explained: %w", err) })
}

// open returns both ends of a tunnel.
func (l *line) open(t rapid.TB) (*tunnel.Conn, *net.TCPConn) {
	t.Helper()
	conn, err := l.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return conn, <-l.targets
}

// TestIsANetConn runs Go's own tests of what a net.Conn must do.
func TestIsANetConn(t *testing.T) {
	l := newLine(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		conn, err := l.dial(context.Background())
		if err != nil {
			return nil, nil, nil, err
		}
		target := <-l.targets
		return conn, target, func() { _, _ = conn.Close(), target.Close() }, nil
	})
}

func TestBytesInAreBytesOut(t *testing.T) { bytesInAreBytesOut(t, 20) }

// bytesInAreBytesOut: whatever the chunks of writing and reading, in both directions at once, each ended by itself; so many times.
func bytesInAreBytesOut(t *testing.T, times int) {
	t.Helper()
	checks(t, times)
	l := newLine(t)
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 200<<10)), 0, 12)
		reads := rapid.SliceOfN(rapid.IntRange(1, 100<<10), 1, 5)
		up, down := sizes.Draw(t, "up"), sizes.Draw(t, "down")
		upReads, downReads := reads.Draw(t, "up reads"), reads.Draw(t, "down reads")
		near, far := l.open(t)
		defer func() { _, _ = near.Close(), far.Close() }()
		var errs [4]error
		var all sync.WaitGroup
		all.Go(func() { errs[0] = write(near, up, 1) })
		all.Go(func() { errs[1] = read(far, up, upReads, 1) })
		all.Go(func() { errs[2] = write(far, down, 2) })
		all.Go(func() { errs[3] = read(near, down, downReads, 2) })
		all.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
	})
}

// checks sets how many cases of a property a test looks at.
func checks(t *testing.T, times int) {
	t.Helper()
	const name = "rapid.checks"
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, strconv.Itoa(times)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, before) })
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func stuff(sizes []int, seed byte) []byte {
	total := 0
	for _, n := range sizes {
		total += n
	}
	out := make([]byte, total)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(out)
	return out
}

func write(c halfCloser, sizes []int, seed byte) error {
	rest := stuff(sizes, seed)
	for _, n := range sizes {
		if wrote, err := c.Write(rest[:n]); err != nil || wrote != n {
			return fmt.Errorf("wrote %d of %d: %w", wrote, n, err)
		}
		clear(rest[:n]) // it is the writer's own again
		rest = rest[n:]
	}
	return c.CloseWrite()
}

func read(c net.Conn, sizes, reads []int, seed byte) error {
	var got []byte
	for i := 0; ; i++ {
		buffer := make([]byte, reads[i%len(reads)])
		n, err := c.Read(buffer)
		got = append(got, buffer[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if want := stuff(sizes, seed); !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came of %d, or others", len(got), len(want))
	}
	return nil
}

// TestWhoDoesNotReadStopsWhoWrites: what lies in between is bounded.
func TestWhoDoesNotReadStopsWhoWrites(t *testing.T) {
	l := newLine(t)
	near, far := l.open(t)
	defer closing(near)
	defer closing(far)
	for name, c := range map[string]net.Conn{"to the target": near, "from the target": far} {
		const bound = 64 << 20 // the kernel's socket buffers are some MiB
		written, chunk := 0, make([]byte, 1<<20)
		for written < bound {
			if err := c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, err := c.Write(chunk)
			written += n
			if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 {
				break
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if written >= bound {
			t.Errorf("%s: %d bytes are somewhere", name, written)
		}
	}
}

// TestCloseDelivers: what was written arrives although the writer is gone.
func TestCloseDelivers(t *testing.T) {
	l := newLine(t)
	near, far := l.open(t)
	defer closing(far)
	want := stuff([]int{1 << 20}, 3)
	go func() {
		_, _ = near.Write(want)
		_ = near.Close()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if err := near.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// TestEnds: each way a tunnel may end is told to who reads and who writes.
func TestEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(l *line, far *net.TCPConn)
		says string // empty: the end of the stream
	}{
		{name: "the target closes", end: func(_ *line, far *net.TCPConn) { _ = far.Close() }},
		{name: "the target breaks", says: "the connection to the target broke", end: func(_ *line, far *net.TCPConn) {
			_ = far.SetLinger(0)
			_ = far.Close()
		}},
		{name: "the agent stops", says: "explained: rpc error: code = Unavailable desc = the agent is stopping", end: func(l *line, _ *net.TCPConn) { l.stopping() }},
		{name: "the agent is killed", says: "explained: rpc error: code = Unavailable", end: func(l *line, _ *net.TCPConn) { l.stop() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(t)
			near, far := l.open(t)
			defer closing(near)
			defer closing(far)
			tt.end(l, far)
			_, err := near.Read(make([]byte, 1))
			if tt.says == "" && err != io.EOF { //nolint:errorlint // io.EOF must not be wrapped
				t.Errorf("read: %v", err)
			}
			if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("read: %v, want %q", err, tt.says)
			}
			// As with TCP, the first writes after it may not notice.
			deadline := time.Now().Add(patience)
			for err = nil; err == nil && time.Now().Before(deadline); {
				_, err = near.Write([]byte("x"))
			}
			if err == nil {
				t.Error("writing goes on")
			}
			// The agent's end is over, so the target's is too.
			if _, err := io.Copy(io.Discard, far); err != nil && tt.says != "" && !strings.Contains(err.Error(), "reset") &&
				!errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// TestAWriterThatDoesNotReadLearnsOfTheEnd although what the target had said before is in its way.
func TestAWriterThatDoesNotReadLearnsOfTheEnd(t *testing.T) {
	l := newLine(t)
	near, far := l.open(t)
	defer closing(near)
	defer closing(far)
	if _, err := far.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	l.stop()
	var err error
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		_, err = near.Write([]byte("x"))
	}
	if err == nil {
		t.Error("writing goes on")
	}
}

func TestOpen(t *testing.T) {
	l := newLine(t)
	l.agent.err = status.Error(codes.FailedPrecondition, "no tunnel leads there")
	if _, err := l.dial(t.Context()); err == nil || err.Error() != "explained: rpc error: code = FailedPrecondition desc = no tunnel leads there" {
		t.Errorf("refused: %v", err)
	}
	l = newLine(t)
	l.agent.hangs = true
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %v", err)
	}
	l = newLine(t)
	ctx, cancel = context.WithCancel(t.Context())
	conn, err := l.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(conn)
	far := <-l.targets
	defer closing(far)
	cancel() // the opening is over
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the opening's context ends the tunnel: %v", err)
	}
	if got := conn.RemoteAddr(); got.String() != "frontend01/redis01:6379" || got.Network() != "tunnel" {
		t.Errorf("it leads to %v", got)
	}
}

// A caller that talks of another target, later, is cut off.
func TestOneTargetPerTunnel(t *testing.T) {
	l := newLine(t)
	stream, err := l.client.Forward(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to := &agentv1.ForwardRequest{Kind: &agentv1.ForwardRequest_To{To: &agentv1.ForwardTarget{Container: "redis01", Port: 6379}}}
	if err := errors.Join(stream.Send(to), stream.Send(to)); err != nil {
		t.Fatal(err)
	}
	defer closing((<-l.targets))
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func BenchmarkTunnel(b *testing.B) {
	l := newLine(b)
	near, far := l.open(b)
	defer closing(near)
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	go func() {
		for range b.N {
			_, _ = far.Write(chunk)
		}
		_ = far.Close()
	}()
	if n, err := io.Copy(io.Discard, near); err != nil || n != int64(b.N)*int64(len(chunk)) {
		b.Errorf("%d bytes, %v", n, err)
	}
}
