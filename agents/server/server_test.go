package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/server"
)

// authority is a CA with real keys.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

// validFor is how long certificates are valid.
const validFor = time.Hour

// leaf describes a certificate.
type leaf struct {
	name, unit string
	until      time.Time
	usage      []x509.ExtKeyUsage
}

func (a *authority) issue(l leaf) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if l.until.IsZero() {
		l.until = time.Now().Add(validFor)
	}
	if l.usage == nil {
		l.usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: l.until,
		Subject:     pkix.Name{CommonName: l.name, OrganizationalUnit: []string{l.unit}},
		DNSNames:    []string{l.name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: l.usage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// identity writes a node's certificate as provisioning does and reads it as the agent does.
func (a *authority) identity(l leaf) server.Identity {
	a.t.Helper()
	dir := a.t.TempDir()
	cert, key := a.issue(l)
	for name, content := range map[string][]byte{
		"ca.crt":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}),
		"node.crt": cert, "node.key": key,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	identity, err := server.LoadIdentity(dir)
	if err != nil {
		a.t.Fatal(err)
	}
	return identity
}

// fakeNode answers everything and remembers what it was asked to do.
type fakeNode struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (f *fakeNode) did(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
	return f.err
}

func (f *fakeNode) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fakeNode) Snapshot() *agentv1.NodeSnapshot { return &agentv1.NodeSnapshot{Name: "frontend01"} }

func (f *fakeNode) Watch(_ context.Context, send func(*agentv1.WatchResponse) error) error {
	return errors.Join(send(&agentv1.WatchResponse{Node: f.Snapshot()}), f.err)
}

func (f *fakeNode) Logs(_ context.Context, container string, _ bool, tail int, send func(string, bool) error) error {
	if container == "none" {
		return status.Error(codes.NotFound, "no such container")
	}
	for range min(tail, 3) {
		if err := send("line of "+container, true); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) SetStage(_ context.Context, stage rolev1.Stage) error {
	return f.did("stage " + stage.String())
}

func (f *fakeNode) Heal(_ context.Context, faults []string) (*agentv1.HealResponse, error) {
	return &agentv1.HealResponse{Healed: []string{"redis01"}}, f.did(strings.Join(append([]string{"heal"}, faults...), " "))
}

func (f *fakeNode) Inject(_ context.Context, in *agentv1.InjectRequest) (*agentv1.Fault, error) {
	return &agentv1.Fault{Kind: in.GetKind()}, f.did("inject " + in.GetKind())
}

func (f *fakeNode) Renew(_ context.Context, id string, lease time.Duration) (*agentv1.Fault, error) {
	return &agentv1.Fault{Id: id}, f.did("renew " + id + " " + lease.String())
}

func (f *fakeNode) ForgetNode(_ context.Context, name string) error { return f.did("forget " + name) }

func (f *fakeNode) Reset(_ context.Context, stage rolev1.Stage) (*agentv1.ResetResponse, error) {
	return &agentv1.ResetResponse{RemovedContainers: []string{"a"}}, f.did("reset " + stage.String())
}

func (f *fakeNode) Retire(_ context.Context, progress func(string, float64) error) error {
	return errors.Join(progress("waits", 3), progress("retired", 0), f.did("retire"))
}

func (f *fakeNode) JoinInfo(context.Context) (*agentv1.JoinInfoResponse, error) {
	return &agentv1.JoinInfoResponse{WorkerToken: "token"}, nil
}

// Dial reaches an echo.
func (f *fakeNode) Dial(ctx context.Context, container string, port uint32) (*net.TCPConn, error) {
	if err := f.did(fmt.Sprintf("dial %s:%d", container, port)); err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	go func() {
		conn, err := listener.Accept()
		_ = listener.Close()
		if err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	return (&net.Dialer{}).DialTCP(ctx, "tcp", netip.AddrPort{}, listener.Addr().(*net.TCPAddr).AddrPort())
}

// running is a server on a port of its own.
type running struct {
	t       *testing.T
	ca      *authority
	node    *fakeNode
	address string
	audit   string
	// ahead is by how much the server's clock is ahead, in nanoseconds.
	ahead atomic.Int64
	// stop ends the server.
	stop func()
}

func serve(t *testing.T) *running {
	t.Helper()
	r := &running{t: t, ca: newAuthority(t), node: &fakeNode{}, audit: filepath.Join(t.TempDir(), "audit.log")}
	audit, err := server.OpenAudit(r.audit, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(ctx, listener, server.Config{
			TLS: r.ca.identity(leaf{name: "frontend01", unit: "node"}).Server(), Viewer: r.node, Operator: r.node, Inviter: r.node,
			Dialer: r.node, Audit: audit, Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) },
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, audit.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) dial(config *tls.Config) agentv1.AgentServiceClient {
	r.t.Helper()
	conn, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return agentv1.NewAgentServiceClient(conn)
}

// as is a client with a right.
func (r *running) as(unit string) agentv1.AgentServiceClient {
	return r.dial(r.ca.identity(leaf{name: "lab", unit: unit}).Client("frontend01"))
}

func (r *running) records() []server.Record {
	r.t.Helper()
	file, err := os.Open(r.audit)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var out []server.Record
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var record server.Record
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, record)
	}
	return out
}

// methods calls each method once.
func methods(ctx context.Context, c agentv1.AgentServiceClient) map[string]func() error {
	return map[string]func() error{
		"Snapshot": func() error { _, err := c.Snapshot(ctx, &agentv1.SnapshotRequest{}); return err },
		"Watch": func() error {
			s, err := c.Watch(ctx, &agentv1.WatchRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"Logs": func() error {
			s, err := c.Logs(ctx, &agentv1.LogsRequest{Container: "redis01"})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"SetStage": func() error {
			_, err := c.SetStage(ctx, &agentv1.SetStageRequest{Stage: rolev1.Stage_STAGE_NETWORK})
			return err
		},
		"Heal":   func() error { _, err := c.Heal(ctx, &agentv1.HealRequest{}); return err },
		"Inject": func() error { _, err := c.Inject(ctx, &agentv1.InjectRequest{}); return err },
		"Renew":  func() error { _, err := c.Renew(ctx, &agentv1.RenewRequest{}); return err },
		"Reset": func() error {
			_, err := c.Reset(ctx, &agentv1.ResetRequest{Stage: rolev1.Stage_STAGE_IMAGES})
			return err
		},
		"Retire": func() error {
			s, err := c.Retire(ctx, &agentv1.RetireRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"ForgetNode": func() error {
			_, err := c.ForgetNode(ctx, &agentv1.ForgetNodeRequest{Name: "frontend09"})
			return err
		},
		"Forward": func() error {
			s, err := forward(ctx, c, &agentv1.ForwardTarget{Container: "redis01", Port: 6379})
			if err == nil {
				err = s.CloseSend()
			}
			for err == nil {
				_, err = s.Recv()
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		},
		"JoinInfo": func() error { _, err := c.JoinInfo(ctx, &agentv1.JoinInfoRequest{}); return err },
		"Clock":    func() error { _, err := c.Clock(ctx, &agentv1.ClockRequest{}); return err },
	}
}

// forward opens a tunnel.
func forward(ctx context.Context, c agentv1.AgentServiceClient, to *agentv1.ForwardTarget) (
	grpc.BidiStreamingClient[agentv1.ForwardRequest, agentv1.ForwardResponse], error,
) {
	s, err := c.Forward(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Send(&agentv1.ForwardRequest{Kind: &agentv1.ForwardRequest_To{To: to}}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_, err = s.Recv()
	return s, err
}

func TestRights(t *testing.T) {
	r := serve(t)
	rights := map[string][]string{
		"observe": {"Snapshot", "Watch", "Logs"},
		"operate": {"Snapshot", "Watch", "Logs", "SetStage", "Inject", "Renew", "Heal", "Reset", "Retire", "ForgetNode", "Forward"},
		"node":    {"Snapshot", "JoinInfo", "Clock"},
		"nothing": {},
		"":        {},
	}
	for unit, may := range rights {
		t.Run("as "+unit, func(t *testing.T) {
			allowed := map[string]bool{}
			for _, m := range may {
				allowed[m] = true
			}
			for name, call := range methods(t.Context(), r.as(unit)) {
				err := call()
				if allowed[name] && err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if !allowed[name] && status.Code(err) != codes.PermissionDenied {
					t.Errorf("%s: got %v, want PermissionDenied", name, err)
				}
			}
		})
	}
}

func TestStrangersStayOutside(t *testing.T) {
	r := serve(t)
	foreign := newAuthority(t)
	trusting := r.ca.identity(leaf{name: "lab", unit: "operate"}).Client("frontend01")
	with := func(a *authority, l leaf) *tls.Config {
		cert, key := a.issue(l)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		config := trusting.Clone()
		config.Certificates = []tls.Certificate{pair}
		return config
	}
	none, old := trusting.Clone(), trusting.Clone()
	none.Certificates = nil
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	elsewhere := trusting.Clone()
	elsewhere.ServerName = "frontend02"
	tests := map[string]*tls.Config{
		"expired":                  with(r.ca, leaf{name: "lab", unit: "operate", until: time.Now().Add(-time.Minute)}),
		"of another lab":           with(foreign, leaf{name: "lab", unit: "operate"}),
		"for servers only":         with(r.ca, leaf{name: "lab", unit: "operate", usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}),
		"without a certificate":    none,
		"TLS 1.2":                  old,
		"expecting another node":   elsewhere,
		"trusting another lab's":   foreign.identity(leaf{name: "lab", unit: "operate"}).Client("frontend01"),
		"with the right of no lab": with(foreign, leaf{name: "lab", unit: "node"}),
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := r.dial(config).Heal(t.Context(), &agentv1.HealRequest{})
			if status.Code(err) != codes.Unavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	if done := r.node.done(); len(done) != 0 {
		t.Errorf("they did %v", done)
	}
}

// A connection may outlive the certificate that opened it.
func TestCertificateExpiresOnAnOpenConnection(t *testing.T) {
	r := serve(t)
	c := r.as("operate")
	if _, err := c.Heal(t.Context(), &agentv1.HealRequest{}); err != nil {
		t.Fatal(err)
	}
	r.ahead.Store(int64(validFor - time.Minute))
	if _, err := c.Heal(t.Context(), &agentv1.HealRequest{}); err != nil {
		t.Errorf("before it expires: %v", err)
	}
	r.ahead.Store(int64(validFor + time.Minute))
	if _, err := c.Heal(t.Context(), &agentv1.HealRequest{}); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "expired") {
		t.Errorf("still let in: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	r := serve(t)
	c := r.as("operate")
	bad := map[string]func() error{
		"no stage": func() error { _, err := c.SetStage(t.Context(), &agentv1.SetStageRequest{}); return err },
		"stage 42": func() error { _, err := c.SetStage(t.Context(), &agentv1.SetStageRequest{Stage: 42}); return err },
		"reset to nothing": func() error {
			_, err := c.Reset(t.Context(), &agentv1.ResetRequest{})
			return err
		},
		"forget nobody": func() error { _, err := c.ForgetNode(t.Context(), &agentv1.ForgetNodeRequest{}); return err },
		"a tunnel to nowhere": func() error {
			s, err := c.Forward(t.Context())
			if err == nil {
				err = s.Send(&agentv1.ForwardRequest{Kind: &agentv1.ForwardRequest_Data{Data: []byte("x")}})
			}
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"too many lines": func() error {
			s, err := c.Logs(t.Context(), &agentv1.LogsRequest{Tail: 10001})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
	}
	for name, call := range bad {
		if err := call(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if done := r.node.done(); len(done) != 0 {
		t.Errorf("bad calls did %v", done)
	}
	s, err := c.Logs(t.Context(), &agentv1.LogsRequest{Container: "none"})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("a status stays what it is: %v", err)
	}
	r.node.err = errors.New("disk full")
	if _, err := c.Heal(t.Context(), &agentv1.HealRequest{}); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

func TestClock(t *testing.T) {
	before := time.Now()
	out, err := serve(t).as("node").Clock(t.Context(), &agentv1.ClockRequest{})
	if err != nil {
		t.Fatal(err)
	}
	arrived, answered := out.GetArrivedAt().AsTime(), out.GetAnsweredAt().AsTime()
	if arrived.Before(before) || answered.Before(arrived) || time.Now().Before(answered) {
		t.Errorf("asked after %v: %v, %v", before, arrived, answered)
	}
}

func TestAudit(t *testing.T) {
	r := serve(t)
	operate, observe := r.as("operate"), r.as("observe")
	if _, err := operate.SetStage(t.Context(), &agentv1.SetStageRequest{Stage: rolev1.Stage_STAGE_NETWORK}); err != nil {
		t.Fatal(err)
	}
	if _, err := operate.Snapshot(t.Context(), &agentv1.SnapshotRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := observe.Heal(t.Context(), &agentv1.HealRequest{}); err == nil {
		t.Fatal("an observer heals")
	}
	r.node.err = status.Error(codes.FailedPrecondition, "not now")
	s, err := operate.Retire(t.Context(), &agentv1.RetireRequest{})
	for err == nil {
		_, err = s.Recv()
	}
	got := r.records()
	want := []server.Record{
		{Phase: "begin", Method: "SetStage"},
		{Phase: "end", Method: "SetStage", Code: "OK"},
		{Phase: "refused", Method: "Heal", Code: "PermissionDenied"},
		{Phase: "begin", Method: "Retire"},
		{Phase: "end", Method: "Retire", Code: "FailedPrecondition"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d records: %+v", len(got), got)
	}
	for i, w := range want {
		g := got[i]
		if g.Phase != w.Phase || g.Method != w.Method || g.Code != w.Code || g.Caller != "lab" || g.At.IsZero() || g.Address == "" {
			t.Errorf("record %d: %+v, want %+v", i, g, w)
		}
	}
	if !strings.Contains(string(got[0].Request), "STAGE_NETWORK") {
		t.Errorf("the request is %s", got[0].Request)
	}
}

// Each tunnel is in the audit log once, with where it led, however much went through.
func TestTunnelsAreAudited(t *testing.T) {
	r := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := forward(ctx, r.as("operate"), &agentv1.ForwardTarget{Container: "pg", Port: 5432})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := s.Send(&agentv1.ForwardRequest{Kind: &agentv1.ForwardRequest_Data{Data: []byte("SELECT 'secret'")}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for got := 0; err == nil; {
		var response *agentv1.ForwardResponse
		if response, err = s.Recv(); err == nil && response.GetEof() && got != 150 {
			t.Errorf("%d bytes came back", got)
		}
		got += len(response.GetData())
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, err := forward(t.Context(), r.as("observe"), &agentv1.ForwardTarget{Container: "pg", Port: 5432}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("an observer's: %v", err)
	}
	r.stop()
	records := r.records()
	if len(records) != 3 {
		t.Fatalf("%d records: %+v", len(records), records)
	}
	for i, phase := range []string{"begin", "end", "refused"} {
		request := string(records[i].Request)
		if records[i].Phase != phase || records[i].Method != "Forward" || strings.Contains(request, "secret") ||
			(phase != "refused") != (strings.Contains(request, "pg") && strings.Contains(request, "5432")) {
			t.Errorf("%+v, %s", records[i], request)
		}
	}
}

// Tunnels are bounded; who closes one makes room for another, and none outlives the agent.
func TestTunnelsAreBounded(t *testing.T) {
	r := serve(t)
	c := r.as("operate")
	to := &agentv1.ForwardTarget{Container: "redis01", Port: 6379}
	var tunnels []grpc.BidiStreamingClient[agentv1.ForwardRequest, agentv1.ForwardResponse]
	for range 32 {
		s, err := forward(t.Context(), c, to)
		if err != nil {
			t.Fatal(err)
		}
		tunnels = append(tunnels, s)
	}
	if _, err := forward(t.Context(), c, to); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "32 tunnels") {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Snapshot(t.Context(), &agentv1.SnapshotRequest{}); err != nil {
		t.Errorf("beside all tunnels: %v", err)
	}
	first := tunnels[0]
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = first.Recv()
	}
	again, err := forward(t.Context(), c, to)
	for deadline := time.Now().Add(3 * time.Minute); status.Code(err) == codes.ResourceExhausted && time.Now().Before(deadline); {
		again, err = forward(t.Context(), c, to) // the answer may come before the place is free
	}
	if err != nil {
		t.Fatal(err)
	}
	tunnels[0] = again
	r.stop()
	for _, s := range tunnels {
		for err = nil; err == nil; {
			_, err = s.Recv()
		}
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the agent is stopping") {
			t.Fatalf("the agent is gone: %v", err)
		}
	}
}

func TestAuditIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	const limit = 2000
	for range 2 { // over a restart of the agent
		audit, err := server.OpenAudit(path, limit)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err := audit.Write(server.Record{Method: "Heal", At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(audit.Close(), audit.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil || info.Size() > limit || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestLoadIdentity(t *testing.T) {
	if _, err := server.LoadIdentity(t.TempDir()); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("got %v", err)
	}
}
