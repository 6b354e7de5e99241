// Package server is the agent's gRPC surface: who may call what, the audit log, and the translation between messages and
// the node behind it.
//
// Connections are TLS 1.3 with certificates of the lab's own CA on both sides. The organizational unit of the caller's
// certificate is its right: "observe" looks, "operate" does everything but what is for nodes, "node" is another agent. Calls that
// change something, or could (a tunnel), are written to the audit log, refused ones too.
//
// The package knows neither Docker nor roles.
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/api/tunnel"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Viewer shows the node.
type Viewer interface {
	Snapshot() *agentv1.NodeSnapshot
	// Watch sends a snapshot first and then every change until the context ends or send fails.
	Watch(ctx context.Context, send func(*agentv1.WatchResponse) error) error
	// Logs sends lines of a container's output, or of the agent's journal for an empty name.
	Logs(ctx context.Context, container string, follow bool, tail int, send func(line string, stderr bool) error) error
}

// Operator changes the node. Errors that are not gRPC statuses reach the caller as Internal with their text.
type Operator interface {
	SetStage(ctx context.Context, stage rolev1.Stage) error
	Inject(ctx context.Context, in *agentv1.InjectRequest) (*agentv1.Fault, error)
	Renew(ctx context.Context, id string, lease time.Duration) (*agentv1.Fault, error)
	Heal(ctx context.Context, faults []string) (*agentv1.HealResponse, error)
	Reset(ctx context.Context, stage rolev1.Stage) (*agentv1.ResetResponse, error)
	Retire(ctx context.Context, progress func(text string, queued float64) error) error
	ForgetNode(ctx context.Context, name string) error
}

// Dialer reaches what the node's containers publish for the node alone. Errors are as the Operator's.
type Dialer interface {
	// Dial connects to a port of a container of the plan, if that is published on the node's own 127.0.0.1.
	Dial(ctx context.Context, container string, port uint32) (*net.TCPConn, error)
}

// Inviter tells other nodes how to join.
type Inviter interface {
	JoinInfo(ctx context.Context) (*agentv1.JoinInfoResponse, error)
}

// Config is what a server serves.
type Config struct {
	TLS      *tls.Config
	Viewer   Viewer
	Operator Operator
	Inviter  Inviter
	Dialer   Dialer
	Audit    *Audit
	Log      *slog.Logger
	// Now is the clock by which certificates expire; nil: time.Now.
	Now func() time.Time
}

// maxTunnels is how many tunnels may be open at once. Each costs up to some 200 KiB, and one of the streams below.
const maxTunnels = 32

// maxStreams is how many calls may go on at once on one connection.
const maxStreams = 2 * maxTunnels

// maxRequest bounds a request, in bytes: none is larger than a tunnel's 32 KiB.
const maxRequest = 64 << 10

// drainTimeout is how long calls may go on once the server ends.
const drainTimeout = 2 * time.Second

// Serve answers on the listener until the context ends.
func Serve(ctx context.Context, listener net.Listener, config Config) error {
	guard := &guard{audit: config.Audit, log: config.Log, now: config.Now}
	if guard.now == nil {
		guard.now = time.Now
	}
	s := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config.TLS)),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(timescale.Scale(10*time.Second)),
		// A laptop that fell asleep in the middle of a Watch must not hold it forever.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: timescale.Scale(20 * time.Second), Timeout: timescale.Scale(10 * time.Second)}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ReadBufferSize(8<<10), grpc.WriteBufferSize(8<<10),
		grpc.UnaryInterceptor(guard.unary),
		grpc.StreamInterceptor(guard.stream),
	)
	agentv1.RegisterAgentServiceServer(s, &service{
		viewer: config.Viewer, operator: config.Operator, inviter: config.Inviter, dialer: config.Dialer,
		tunnels: make(chan struct{}, maxTunnels), life: ctx,
	})
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		timer := time.AfterFunc(drainTimeout, s.Stop)
		defer timer.Stop()
		s.GracefulStop()
	})
	err := s.Serve(listener)
	if stop() {
		close(stopped) // it ended by itself
	}
	<-stopped
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
}

type service struct {
	agentv1.UnimplementedAgentServiceServer
	viewer   Viewer
	operator Operator
	inviter  Inviter
	dialer   Dialer
	// tunnels holds one token for each tunnel.
	tunnels chan struct{}
	// life is the server's: tunnels end with it at once, since nobody knows when they would by themselves.
	life context.Context //nolint:containedctx // as the comment says
}

func (s *service) Snapshot(context.Context, *agentv1.SnapshotRequest) (*agentv1.SnapshotResponse, error) {
	return &agentv1.SnapshotResponse{Node: s.viewer.Snapshot()}, nil
}

func (s *service) Watch(_ *agentv1.WatchRequest, stream grpc.ServerStreamingServer[agentv1.WatchResponse]) error {
	return answered(s.viewer.Watch(stream.Context(), stream.Send))
}

const (
	defaultTail = 200
	maxTail     = 10000
)

func (s *service) Logs(in *agentv1.LogsRequest, stream grpc.ServerStreamingServer[agentv1.LogsResponse]) error {
	tail := int(in.GetTail())
	switch {
	case tail == 0:
		tail = defaultTail
	case tail > maxTail:
		return status.Errorf(codes.InvalidArgument, "tail is %d; the maximum is %d lines", tail, maxTail)
	}
	return answered(s.viewer.Logs(stream.Context(), in.GetContainer(), in.GetFollow(), tail, func(line string, stderr bool) error {
		return stream.Send(&agentv1.LogsResponse{Line: line, Stderr: stderr})
	}))
}

func (s *service) SetStage(ctx context.Context, in *agentv1.SetStageRequest) (*agentv1.SetStageResponse, error) {
	if err := checkStage(in.GetStage()); err != nil {
		return nil, err
	}
	if err := s.operator.SetStage(ctx, in.GetStage()); err != nil {
		return nil, answered(err)
	}
	return &agentv1.SetStageResponse{}, nil
}

func (s *service) Inject(ctx context.Context, in *agentv1.InjectRequest) (*agentv1.InjectResponse, error) {
	f, err := s.operator.Inject(ctx, in)
	if err != nil {
		return nil, answered(err)
	}
	return &agentv1.InjectResponse{Fault: f}, nil
}

func (s *service) Renew(ctx context.Context, in *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	f, err := s.operator.Renew(ctx, in.GetId(), in.GetLease().AsDuration())
	if err != nil {
		return nil, answered(err)
	}
	return &agentv1.RenewResponse{Fault: f}, nil
}

func (s *service) Heal(ctx context.Context, in *agentv1.HealRequest) (*agentv1.HealResponse, error) {
	out, err := s.operator.Heal(ctx, in.GetFaults())
	if err != nil {
		return nil, answered(err)
	}
	return out, nil
}

func (s *service) Reset(ctx context.Context, in *agentv1.ResetRequest) (*agentv1.ResetResponse, error) {
	if err := checkStage(in.GetStage()); err != nil {
		return nil, err
	}
	out, err := s.operator.Reset(ctx, in.GetStage())
	if err != nil {
		return nil, answered(err)
	}
	return out, nil
}

func (s *service) Retire(_ *agentv1.RetireRequest, stream grpc.ServerStreamingServer[agentv1.RetireResponse]) error {
	return answered(s.operator.Retire(stream.Context(), func(text string, queued float64) error {
		return stream.Send(&agentv1.RetireResponse{Progress: text, VotesQueued: queued})
	}))
}

func (s *service) ForgetNode(ctx context.Context, in *agentv1.ForgetNodeRequest) (*agentv1.ForgetNodeResponse, error) {
	if in.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "which node is to be forgotten? The name is empty")
	}
	if err := s.operator.ForgetNode(ctx, in.GetName()); err != nil {
		return nil, answered(err)
	}
	return &agentv1.ForgetNodeResponse{}, nil
}

func (s *service) JoinInfo(ctx context.Context, _ *agentv1.JoinInfoRequest) (*agentv1.JoinInfoResponse, error) {
	info, err := s.inviter.JoinInfo(ctx)
	if err != nil {
		return nil, answered(err)
	}
	return info, nil
}

// Clock needs nobody behind it. Two readings, since a busy node may take the processor away in between.
func (s *service) Clock(context.Context, *agentv1.ClockRequest) (*agentv1.ClockResponse, error) {
	out := &agentv1.ClockResponse{ArrivedAt: timestamppb.Now()}
	out.AnsweredAt = timestamppb.Now()
	return out, nil
}

func (s *service) Forward(stream tunnel.Stream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(status.Error(codes.Unavailable, "the agent is stopping")) })()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	to := first.GetTo()
	if to == nil {
		return status.Error(codes.InvalidArgument, "where does the tunnel lead? The first message must say so")
	}
	select {
	case s.tunnels <- struct{}{}:
		defer func() { <-s.tunnels }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d tunnels are open at this agent, which is the maximum", maxTunnels)
	}
	target, err := s.dialer.Dial(ctx, to.GetContainer(), to.GetPort())
	if err != nil {
		return answered(err)
	}
	return tunnel.Serve(ctx, stream, target)
}

func checkStage(stage rolev1.Stage) error {
	if _, known := rolev1.Stage_name[int32(stage)]; !known || stage == rolev1.Stage_STAGE_UNSPECIFIED {
		return status.Errorf(codes.InvalidArgument, "there is no stage %d", stage)
	}
	return nil
}

// answered turns an error into a status; one that is a status already stays as it is.
func answered(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if s := status.FromContextError(err); s.Code() == codes.Canceled || s.Code() == codes.DeadlineExceeded {
		return s.Err()
	}
	return status.Error(codes.Internal, err.Error())
}
