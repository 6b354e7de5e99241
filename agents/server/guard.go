package server

import (
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// Rights, as they stand in the organizational unit of a certificate.
const (
	RightObserve = "observe"
	RightOperate = "operate"
	RightNode    = "node"
)

// allowed returns the rights that may call a method; an unknown method has none.
func allowed(method string) []string {
	switch method {
	case agentv1.AgentService_Snapshot_FullMethodName:
		return []string{RightObserve, RightOperate, RightNode}
	case agentv1.AgentService_Watch_FullMethodName, agentv1.AgentService_Logs_FullMethodName:
		return []string{RightObserve, RightOperate}
	case agentv1.AgentService_JoinInfo_FullMethodName, agentv1.AgentService_Clock_FullMethodName:
		return []string{RightNode}
	}
	if operates(method) {
		return []string{RightOperate}
	}
	return nil
}

// operates reports whether a method changes something or lets the caller do so, so that its calls are audited.
func operates(method string) bool {
	switch method {
	case agentv1.AgentService_SetStage_FullMethodName, agentv1.AgentService_Heal_FullMethodName,
		agentv1.AgentService_Inject_FullMethodName, agentv1.AgentService_Renew_FullMethodName,
		agentv1.AgentService_Reset_FullMethodName, agentv1.AgentService_Retire_FullMethodName,
		agentv1.AgentService_ForgetNode_FullMethodName, agentv1.AgentService_Forward_FullMethodName:
		return true
	}
	return false
}

// guard stands before every call.
type guard struct {
	audit *Audit
	log   *slog.Logger
	now   func() time.Time
}

type caller struct {
	name, address string
	rights        []string
}

// admit checks the caller's right to call a method.
func (g *guard) admit(ctx context.Context, method string) (caller, error) {
	c, err := g.identify(ctx)
	if err != nil {
		return c, err
	}
	may := allowed(method)
	for _, right := range c.rights {
		if slices.Contains(may, right) {
			return c, nil
		}
	}
	return c, status.Errorf(codes.PermissionDenied, "%s with the right to %s may not call %s; that takes a certificate for: %s",
		c.name, strings.Join(c.rights, ", "), short(method), strings.Join(may, ", "))
}

func (g *guard) identify(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, status.Error(codes.Unauthenticated, "the caller is unknown")
	}
	c := caller{address: p.Addr.String()}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return c, status.Error(codes.Unauthenticated, "the caller showed no certificate of this lab")
	}
	leaf := info.State.VerifiedChains[0][0]
	c.name, c.rights = leaf.Subject.CommonName, leaf.Subject.OrganizationalUnit
	// The handshake checked it too, but a connection may outlive its certificate.
	if expired(leaf, g.now()) {
		return c, status.Errorf(codes.Unauthenticated, "the certificate of %s expired at %s; `lab up` makes new ones",
			c.name, leaf.NotAfter.Format(time.RFC3339))
	}
	return c, nil
}

func expired(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter) || now.Before(c.NotBefore)
}

func (g *guard) unary(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	var out any
	request, _ := in.(proto.Message)
	err := g.call(ctx, info.FullMethod, func() proto.Message { return request }, func() (err error) {
		out, err = next(ctx, in)
		return err
	})
	return out, err
}

func (g *guard) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	request := func() proto.Message { return nil }
	if info.FullMethod == agentv1.AgentService_Forward_FullMethodName {
		first := &forwarding{ServerStream: stream}
		stream, request = first, first.peek
	}
	return g.call(stream.Context(), info.FullMethod, request, func() error { return next(srv, stream) })
}

// forwarding is a Forward call whose first message may be looked at before it is received: it says where the tunnel leads, and that
// belongs in the audit log.
type forwarding struct {
	grpc.ServerStream
	first *agentv1.ForwardRequest
}

func (f *forwarding) peek() proto.Message {
	first := &agentv1.ForwardRequest{}
	if f.ServerStream.RecvMsg(first) != nil {
		return nil // the next to receive will see it
	}
	f.first = first
	if to := first.GetTo(); to != nil {
		return to
	}
	return nil
}

// RecvMsg implements [grpc.ServerStream].
func (f *forwarding) RecvMsg(into any) error {
	message, ok := into.(proto.Message)
	if f.first == nil || !ok {
		return f.ServerStream.RecvMsg(into)
	}
	proto.Merge(message, f.first)
	f.first = nil
	return nil
}

// call admits, audits and runs a call. A call that cannot be audited is not run. Only of one that is admitted and audited the request
// is asked for; nil is none.
func (g *guard) call(ctx context.Context, method string, request func() proto.Message, run func() error) error {
	c, err := g.admit(ctx, method)
	if err != nil {
		g.log.Warn("call refused", "method", short(method), "caller", c.name, "address", c.address, "error", err)
	}
	if !operates(method) {
		if err != nil {
			return err
		}
		return run()
	}
	record := Record{At: g.now(), Phase: PhaseRefused, Caller: c.name, Address: c.address, Method: short(method)}
	if err != nil {
		record.Code, record.Error = status.Code(err).String(), status.Convert(err).Message()
		g.note(record)
		return err
	}
	if message := request(); message != nil {
		// None of the requests holds a secret.
		record.Request, _ = protojson.Marshal(message)
	}
	record.Phase = PhaseBegin
	if auditErr := g.audit.Write(record); auditErr != nil {
		g.log.Error("call refused, since it cannot be audited", "method", short(method), "error", auditErr)
		return status.Errorf(codes.Unavailable, "the call cannot be written to the audit log, so it is not done: %v", auditErr)
	}
	err = run()
	record.Phase, record.Took, record.At = PhaseEnd, g.now().Sub(record.At).Round(time.Millisecond).String(), g.now()
	record.Code = status.Code(err).String()
	if err != nil {
		record.Error = status.Convert(err).Message()
	}
	g.note(record)
	return err
}

func (g *guard) note(record Record) {
	if err := g.audit.Write(record); err != nil {
		g.log.Error("audit log", "error", err)
	}
}

// short is a method's name without its service.
func short(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }
