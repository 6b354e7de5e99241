package role

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// Version is the version of the role protocol that this package speaks.
//
// History:
//
//	1  Describe, Plan, Check (agents/api/role/v1)
const Version = 1

// pluginName is the one thing that a role plugin dispenses.
const pluginName = "role"

// handshake tells a role plugin that it was launched by an agent; it is no protection, AutoMTLS is.
func handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		// go-plugin takes this one when a plugin knows nothing of versions.
		ProtocolVersion:  Version,
		MagicCookieKey:   "SWARMLAB_ROLE_PLUGIN",
		MagicCookieValue: "6c1f8c1e-8c43-4b0f-9a55-1d6a8b6f1f0a",
	}
}

// versions maps protocol versions to what is dispensed; impl is nil on the host.
func versions(impl Role) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{
		1: {pluginName: &grpcPlugin{impl: impl}},
	}
}

// grpcPlugin is go-plugin's view of a role.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	impl Role
}

var _ plugin.GRPCPlugin = (*grpcPlugin)(nil)

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	rolev1.RegisterRoleServiceServer(s, &server{impl: p.impl})
	return nil
}

// GRPCClient returns a *client. done ends with the plugin's process.
func (p *grpcPlugin) GRPCClient(done context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &client{stub: rolev1.NewRoleServiceClient(conn), done: done.Done()}, nil
}

// server offers a Role over gRPC.
type server struct {
	rolev1.UnimplementedRoleServiceServer
	impl Role
}

func (s *server) Describe(ctx context.Context, _ *rolev1.DescribeRequest) (*rolev1.DescribeResponse, error) {
	d, err := s.impl.Describe(ctx)
	return d, toStatus(err)
}

func (s *server) Plan(ctx context.Context, req *rolev1.PlanRequest) (*rolev1.PlanResponse, error) {
	p, err := s.impl.Plan(ctx, facts(req.GetFacts()))
	return p, toStatus(err)
}

func (s *server) Check(ctx context.Context, req *rolev1.CheckRequest) (*rolev1.CheckResponse, error) {
	h, err := s.impl.Check(ctx, facts(req.GetFacts()), req.GetSecretsDir())
	return h, toStatus(err)
}

// facts spares roles the nil check.
func facts(f *Facts) *Facts {
	if f == nil {
		return &Facts{}
	}
	return f
}

// client is a Role at the other end of a gRPC connection.
type client struct {
	stub rolev1.RoleServiceClient
	done <-chan struct{}
}

var _ Role = (*client)(nil)

func (c *client) Describe(ctx context.Context) (*Description, error) {
	d, err := c.stub.Describe(ctx, &rolev1.DescribeRequest{})
	return d, fromStatus(ctx, err)
}

func (c *client) Plan(ctx context.Context, facts *Facts) (*Plan, error) {
	p, err := c.stub.Plan(ctx, &rolev1.PlanRequest{Facts: facts})
	return p, fromStatus(ctx, err)
}

func (c *client) Check(ctx context.Context, facts *Facts, secretsDir string) (*Health, error) {
	h, err := c.stub.Check(ctx, &rolev1.CheckRequest{Facts: facts, SecretsDir: secretsDir})
	return h, fromStatus(ctx, err)
}

// ErrNotRunning is the error of a call that found no plugin process, or lost it on the way: the agent tries again once the plugin has
// been launched anew.
var ErrNotRunning = errors.New("the role plugin is not running")

// toStatus gives a role's own errors the code Unknown and keeps the text; what gRPC makes of its own troubles has other codes.
func toStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}

// fromStatus turns gRPC's codes for a call with ctx into what callers here tell apart.
func fromStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Unknown:
		return errors.New(s.Message())
	case codes.Unavailable:
		return fmt.Errorf("%w: %s", ErrNotRunning, s.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case codes.Canceled:
		if ctx.Err() == nil {
			// Not the caller gave up: the connection was closed under the call, because the process is gone.
			return fmt.Errorf("%w: %s", ErrNotRunning, s.Message())
		}
		return context.Canceled
	case codes.Unimplemented:
		return fmt.Errorf("the plugin lacks this call, although it claims version %d of the role protocol: %s", Version, s.Message())
	}
	return err
}
