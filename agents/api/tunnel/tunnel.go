// Package tunnel is both ends of the agents' Forward call: a call becomes a net.Conn on the caller's side, and is joined to one on the
// agent's. It knows nothing of nodes and containers beyond their names in the first message.
//
// # Semantics
//
// A tunnel behaves like a TCP connection to its target: bytes arrive once and in order, each direction ends by itself, and what was
// written before a Close still arrives. Memory is bounded by the flow control of HTTP/2: who does not read stops who writes.
package tunnel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// maxChunk is what one message carries, in bytes, at most.
const maxChunk = 32 << 10

// Stream is the agent's side of a Forward call.
type Stream = grpc.BidiStreamingServer[agentv1.ForwardRequest, agentv1.ForwardResponse]

// Serve joins a Forward call, whose first message was received, to its target, until both directions have ended, one of them failed
// or the context, which is the stream's or a child of it, ended. It tells the caller that the tunnel is open, and closes the target.
// Errors are gRPC statuses; one of the context is its cause, if that is a status.
func Serve(ctx context.Context, stream Stream, target *net.TCPConn) error {
	err := serve(ctx, stream, target)
	if ctx.Err() == nil {
		return err
	}
	// Whatever came of it, this was the reason.
	if cause := context.Cause(ctx); status.Code(cause) != codes.Unknown {
		return cause
	}
	return status.FromContextError(ctx.Err()).Err()
}

func serve(ctx context.Context, stream Stream, target *net.TCPConn) error {
	defer func() { _ = target.Close() }()
	// What waits for the target is woken up by this.
	defer context.AfterFunc(ctx, func() { _ = target.Close() })()
	if err := stream.Send(&agentv1.ForwardResponse{}); err != nil {
		return err
	}
	// Receiving cannot be interrupted but by returning, so it is this goroutine that does not wait for the other.
	up := make(chan error, 1)
	go func() {
		err := upload(stream, target)
		up <- err
		if err != nil {
			_ = target.Close()
		}
	}()
	if err := download(stream, target); err != nil {
		select {
		case first := <-up:
			return cmp.Or(first, err)
		default:
			return err
		}
	}
	select {
	case err := <-up:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// upload takes what the caller sends to the target.
func upload(stream Stream, target *net.TCPConn) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			// Where the target is gone too, there is nothing left to close.
			_ = target.CloseWrite()
			return nil
		}
		if err != nil {
			return err
		}
		if _, ok := request.GetKind().(*agentv1.ForwardRequest_Data); !ok {
			return status.Error(codes.InvalidArgument, "a tunnel leads to one place: all but the first message hold data")
		}
		if _, err := target.Write(request.GetData()); err != nil {
			return broken(err)
		}
	}
}

// download takes what the target sends to the caller.
func download(stream Stream, target *net.TCPConn) error {
	buffer := make([]byte, maxChunk)
	for {
		n, err := target.Read(buffer)
		if n > 0 {
			// A message belongs to gRPC once it is sent.
			if err := stream.Send(&agentv1.ForwardResponse{Data: bytes.Clone(buffer[:n])}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return stream.Send(&agentv1.ForwardResponse{Eof: true})
		case err != nil:
			return broken(err)
		}
	}
}

func broken(err error) error {
	return status.Error(codes.Aborted, fmt.Sprintf("the connection to the target broke: %v", err))
}
