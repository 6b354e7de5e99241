package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/discovery"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/engine/enginetest"
	"github.com/swarmlab/swarmlab/agents/fault"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
	"github.com/swarmlab/swarmlab/agents/server"
)

// fakeRole wants a Redis and a web container on the overlay, which the web container needs.
type fakeRole struct {
	changed chan struct{}

	mu       sync.Mutex
	dead     bool
	nonsense bool
	queued   float64
	env      string
	ports    []*rolev1.PublishedPort
	mounts   []*rolev1.Mount // of web
}

func (f *fakeRole) Status() role.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := role.Status{Name: "manager", Running: !f.dead}
	if f.dead {
		st.Err = errors.New("it crashed")
	}
	return st
}

func (f *fakeRole) Changed() <-chan struct{} { return f.changed }

func (f *fakeRole) set(change func(f *fakeRole)) {
	f.mu.Lock()
	change(f)
	f.mu.Unlock()
	poke(f.changed)
}

func (f *fakeRole) Plan(context.Context, *rolev1.Facts) (*rolev1.PlanResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nonsense {
		return nil, errors.New("these facts make no sense")
	}
	on := []*rolev1.NetworkAttachment{{Network: contract.Network}}
	return &rolev1.PlanResponse{
		Swarm: rolev1.SwarmMembership_SWARM_MEMBERSHIP_MANAGER,
		Containers: []*rolev1.Container{
			{
				Name: "redis01", Image: &rolev1.Image{Reference: "redis:8.0"}, Stage: rolev1.Stage_STAGE_APPLICATION, Networks: on,
				Restart: rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE, Env: map[string]string{"E": f.env}, Ports: f.ports,
				Mounts: []*rolev1.Mount{{Source: &rolev1.Mount_Volume{Volume: "redis01-data"}, Target: "/data"}},
			},
			{
				Name: "web", Image: &rolev1.Image{Reference: "web:latest", Build: "web"}, Stage: rolev1.Stage_STAGE_APPLICATION,
				Networks: on, Restart: rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE, Needs: []string{"redis01"}, Mounts: f.mounts,
			},
		},
		Services: []*rolev1.Service{{Name: "web-vote-app", Container: "web", Port: 5000}},
	}, nil
}

func (f *fakeRole) Check(context.Context, *rolev1.Facts, string) (*rolev1.CheckResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return nil, role.ErrNotRunning
	}
	return &rolev1.CheckResponse{Healthy: true, Measures: map[string]float64{contract.MeasureQueued: f.queued}}, nil
}

// fakeDiscovery registers at once what it is offered.
type fakeDiscovery struct {
	changed chan struct{}

	mu         sync.Mutex
	registered []string
	forgotten  []string
}

func (f *fakeDiscovery) Offer(services []*rolev1.Service) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registered = nil
	for _, s := range services {
		f.registered = append(f.registered, "manager/"+s.GetName())
	}
}

func (f *fakeDiscovery) Status() discovery.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return discovery.Status{Reachable: true, Registered: slices.Clone(f.registered)}
}

func (f *fakeDiscovery) Forget(_ context.Context, node string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten = append(f.forgotten, node)
	return nil, nil
}

func (f *fakeDiscovery) Follow([]string)               {}
func (f *fakeDiscovery) Instances() []*rolev1.Instance { return nil }
func (f *fakeDiscovery) Changed() <-chan struct{}      { return f.changed }

func (f *fakeDiscovery) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// fakeHost runs the engine as a service manager would.
type fakeHost struct {
	mu       sync.Mutex
	stopping bool
	since    time.Time
	// slow is how long it takes to say how the engine does.
	slow time.Duration
	// engine is what runs as docker.service.
	engine *enginetest.Engine
	cuts   map[string]int64
}

func (f *fakeHost) Engine(context.Context) (EngineUnit, error) {
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		return EngineUnit{State: "deactivating"}, nil
	}
	return EngineUnit{State: "active", Running: true, Since: f.since}, nil
}

func (f *fakeHost) set(stopping bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopping, f.since = stopping, time.Now()
}

func (f *fakeHost) slowDown(slow time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = slow
}

func (f *fakeHost) Ready()                  {}
func (f *fakeHost) Alive()                  {}
func (f *fakeHost) MTU(string) (int, error) { return 1500, nil }

func (f *fakeHost) Clock(context.Context) ClockKeeper {
	return ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_HOST}
}

func (f *fakeHost) Journal(_ context.Context, _ bool, _ int, line func(string) error) error {
	return line("a line of the journal")
}

// bench is a node without an operating system.
type bench struct {
	t         *testing.T
	dir       string
	engine    *enginetest.Engine
	role      *fakeRole
	discovery *fakeDiscovery
	host      *fakeHost
	identity  server.Identity
	node      *Node
	stop      func()
	// eventDelay is the tracker's; see quickVerdict.
	eventDelay time.Duration
}

// TestMain lets many nodes run at a time: they wait most of it.
func TestMain(m *testing.M) {
	roletest.RunBeside(8)
	os.Exit(m.Run())
}

// quickVerdict is for an engine that ends and says nothing of why its containers did: the agent waits in vain for its word, which is shorter
// so. Elsewhere it waits for as long as a busy machine needs.
func quickVerdict(b *bench) { b.eventDelay = 200 * time.Millisecond }

func newBench(t *testing.T, change ...func(*bench)) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{
		eventDelay: roletest.Patience,
		t:          t, dir: t.TempDir(), engine: enginetest.New(), host: &fakeHost{since: time.Now().Add(-time.Hour), cuts: map[string]int64{}},
		role:      &fakeRole{changed: make(chan struct{}, 1), env: "1"},
		discovery: &fakeDiscovery{changed: make(chan struct{}, 1)},
		identity:  testIdentity(t),
	}
	b.host.engine = b.engine
	b.engine.Registry = []string{"redis:8.0"}
	b.write("app/web/Dockerfile", "FROM scratch")
	if err := os.MkdirAll(filepath.Join(b.dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(b)
	}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(content), 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func testIdentity(t *testing.T) server.Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "manager"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, content := range map[string][]byte{
		"ca.crt": cert, "node.crt": cert, "node.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	identity, err := server.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// start runs the agent.
func (b *bench) start() {
	b.t.Helper()
	config, err := ParseConfig([]byte(goodConfig))
	if err != nil {
		b.t.Fatal(err)
	}
	config.Self, config.Listen = config.Manager(), "127.0.0.1:0"
	b.node, err = New(Deps{
		Config: config, Engine: b.engine, Role: b.role, Discovery: b.discovery, Host: b.host, Identity: b.identity,
		Means: fault.OS{Units: b.host, Filter: b.host, Links: ableLinks{}, Patience: roletest.Patience}, Log: slog.New(slog.DiscardHandler), Version: "test",
		Paths: Paths{State: filepath.Join(b.dir, "state"), Secrets: b.dir, Bundle: b.dir, App: filepath.Join(b.dir, "app")},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.node.observer.SettleTime = 0 // there is no gossip
	b.node.tracker.EventDelay, b.node.judgeTimeout = b.eventDelay, roletest.Patience
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.node.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

// restart ends the agent and runs another.
func (b *bench) restart() {
	b.stop()
	b.start()
}

// until waits for a snapshot that is as wanted.
func (b *bench) until(what string, wanted func(s *agentv1.NodeSnapshot) bool) *agentv1.NodeSnapshot {
	b.t.Helper()
	var last *agentv1.NodeSnapshot
	for deadline := time.Now().Add(roletest.Patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if last = b.node.Snapshot(); wanted(last) {
			return last
		}
	}
	b.t.Fatalf("it never came to this: %s; at last it was %v", what, last)
	return nil
}

func (b *bench) ready() *agentv1.NodeSnapshot {
	b.t.Helper()
	return b.until("the node is ready", (*agentv1.NodeSnapshot).GetReady)
}

func (b *bench) id(name string) string {
	b.t.Helper()
	c, err := b.engine.Container(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c.ID
}

// startedAt is when a container was started last.
func (b *bench) startedAt(name string) time.Time {
	b.t.Helper()
	c, err := b.engine.Container(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c.StartedAt
}

func find(s *agentv1.NodeSnapshot, name string) *agentv1.ContainerStatus {
	for _, c := range s.GetContainers() {
		if c.GetName() == name {
			return c
		}
	}
	return nil
}

func manuallyStopped(name string) func(s *agentv1.NodeSnapshot) bool {
	return func(s *agentv1.NodeSnapshot) bool { return find(s, name).GetManuallyStopped() }
}

func TestBecomesReady(t *testing.T) {
	b := newBench(t)
	s := b.ready()
	if s.GetReachedStage() != rolev1.Stage_STAGE_APPLICATION || len(s.GetPending()) != 0 || !s.GetSwarm().GetManager() {
		t.Errorf("%v", s)
	}
	for _, name := range []string{"redis01", "web"} {
		if c := find(s, name); c.GetOwnership() != agentv1.Ownership_OWNERSHIP_MANAGED || c.GetNetworks()[contract.Network] == "" {
			t.Errorf("%v", c)
		}
	}
	redis, web := b.id("redis01"), b.id("web")
	b.restart()
	b.ready()
	if b.id("redis01") != redis || b.id("web") != web || b.engine.Calls("Stop") != 0 {
		t.Error("a restart of the agent touched containers")
	}
}

func TestRemovedComesBack(t *testing.T) {
	b := newBench(t)
	b.ready()
	before := b.id("redis01")
	if err := b.engine.Remove(t.Context(), "redis01"); err != nil {
		t.Fatal(err)
	}
	b.until("another redis01 runs", func(s *agentv1.NodeSnapshot) bool {
		c := find(s, "redis01")
		return c.GetState() == "running" && c.GetId() != before
	})
	if b.engine.Calls("RemoveVolume") != 0 {
		t.Error("its data is gone")
	}
}

func TestManuallyStoppedStaysStopped(t *testing.T) {
	for name, stop := range map[string]func(b *bench) error{
		"docker stop": func(b *bench) error { return b.engine.Stop(b.t.Context(), "redis01") },
		"docker kill": func(b *bench) error { return b.engine.Kill("redis01") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.ready()
			started := b.startedAt("redis01")
			if err := stop(b); err != nil {
				t.Fatal(err)
			}
			b.until("it is shown as stopped manually", manuallyStopped("redis01"))
			quickVerdict(b)
			b.restart()
			b.until("the next agent knows it too", manuallyStopped("redis01"))
			b.host.set(true)
			b.engine.Shutdown(nil)
			b.until("the engine is down", func(s *agentv1.NodeSnapshot) bool { return !s.GetEngine().GetUp() })
			b.engine.Boot()
			b.host.set(false)
			b.until("and after a boot", func(s *agentv1.NodeSnapshot) bool {
				return manuallyStopped("redis01")(s) && s.GetEngine().GetUp()
			})
			if !b.startedAt("redis01").Equal(started) {
				t.Error("it was started meanwhile")
			}
			b.until("healed", func(*agentv1.NodeSnapshot) bool {
				out, err := b.node.Heal(t.Context(), nil)
				return err == nil && slices.Equal(out.GetHealed(), []string{"redis01"})
			})
			b.ready()
		})
	}
}

// A container that is stopped while nobody looks is found in the engine's past events.
func TestHandStopWhileTheAgentIsAway(t *testing.T) {
	b := newBench(t)
	b.ready()
	b.stop()
	if err := b.engine.Kill("web"); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.until("it is shown as stopped manually", manuallyStopped("web"))
}

func TestShutdownIsNoHandStop(t *testing.T) {
	b := newBench(t, quickVerdict)
	b.ready()
	b.host.set(true)
	b.engine.Shutdown(func() {
		time.Sleep(300 * time.Millisecond) // an engine that answers for a while yet
	})
	b.until("the engine is down", func(s *agentv1.NodeSnapshot) bool { return !s.GetEngine().GetUp() && !s.GetReady() })
	b.engine.Boot()
	b.host.set(false)
	b.ready()
}

func TestCrashOfTheEngineIsNoHandStop(t *testing.T) {
	b := newBench(t, quickVerdict)
	b.ready()
	b.engine.Die()
	b.until("the engine is down", func(s *agentv1.NodeSnapshot) bool { return !s.GetEngine().GetUp() })
	b.engine.Boot()
	b.host.set(false) // since now: what its containers suffered before was not a hand's
	b.ready()
}

func TestCrashes(t *testing.T) {
	b := newBench(t)
	b.ready()
	for _, code := range []int{0, 1} {
		before := find(b.ready(), "redis01").GetPid()
		if err := b.engine.Crash("redis01", code); err != nil {
			t.Fatal(err)
		}
		b.until(fmt.Sprintf("it runs again after exit code %d", code), func(s *agentv1.NodeSnapshot) bool {
			c := find(s, "redis01")
			return c.GetState() == "running" && c.GetPid() != before && !c.GetManuallyStopped()
		})
	}
}

// Who heals at once does not have to wait until the agent has seen what there is to heal.
func TestHealRightAfterTheStop(t *testing.T) {
	b := newBench(t)
	b.ready()
	b.host.slowDown(300 * time.Millisecond)
	for what, stop := range map[string]func() error{
		"stopped": func() error { return b.engine.Stop(t.Context(), "web") },
		"killed":  func() error { return b.engine.Kill("web") },
		"paused":  func() error { return b.engine.Pause(t.Context(), "web") },
	} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if out, err := b.node.Heal(t.Context(), nil); err != nil || !slices.Equal(out.GetHealed(), []string{"web"}) {
			t.Errorf("%s: healed %v, %v", what, out, err)
		}
		b.ready()
	}
}

func TestPausedIsHealed(t *testing.T) {
	b := newBench(t)
	b.ready()
	if err := b.engine.Pause(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	b.until("it is not ready", func(s *agentv1.NodeSnapshot) bool { return !s.GetReady() && find(s, "web").GetState() == "paused" })
	if out, err := b.node.Heal(t.Context(), nil); err != nil || !slices.Equal(out.GetHealed(), []string{"web"}) {
		t.Errorf("healed %v, %v", out, err)
	}
	b.ready()
}

func TestNewSpecReplaces(t *testing.T) {
	b := newBench(t)
	b.ready()
	redis, web := b.id("redis01"), b.id("web")
	b.role.set(func(f *fakeRole) { f.env = "2" })
	b.until("redis01 is another", func(s *agentv1.NodeSnapshot) bool { return s.GetReady() && find(s, "redis01").GetId() != redis })
	if b.id("web") != web {
		t.Error("web was touched too")
	}
}

func TestDeadRoleDisturbsNothing(t *testing.T) {
	b := newBench(t)
	b.ready()
	redis := b.id("redis01")
	b.role.set(func(f *fakeRole) { f.dead = true })
	b.until("it is not ready", func(s *agentv1.NodeSnapshot) bool { return !s.GetReady() && s.GetRole().GetError() == "it crashed" })
	if err := b.engine.Remove(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	b.until("the last plan is still in force", func(s *agentv1.NodeSnapshot) bool { return find(s, "web").GetState() == "running" })
	if b.id("redis01") != redis {
		t.Error("redis01 was touched")
	}
	b.role.set(func(f *fakeRole) { f.dead, f.nonsense = false, true })
	b.until("the plan's error shows", func(s *agentv1.NodeSnapshot) bool {
		return strings.Contains(s.GetRole().GetError(), "make no sense")
	})
	b.restart()
	b.until("without any plan it does nothing", func(s *agentv1.NodeSnapshot) bool {
		return len(s.GetPending()) == 1 && strings.Contains(s.GetPending()[0].GetReason(), "make no sense") && !s.GetReady()
	})
	if b.id("redis01") != redis {
		t.Error("redis01 was touched")
	}
}

func TestStages(t *testing.T) {
	b := newBench(t)
	b.ready()
	redis := b.id("redis01")
	if err := b.node.SetStage(t.Context(), rolev1.Stage_STAGE_NETWORK); err != nil {
		t.Fatal(err)
	}
	b.restart()
	s := b.until("the lower stage is desired and reached", func(s *agentv1.NodeSnapshot) bool {
		return s.GetDesiredStage() == rolev1.Stage_STAGE_NETWORK && s.GetReady()
	})
	if find(s, "redis01").GetId() != redis {
		t.Error("a lower stage takes nothing down")
	}
	if err := b.engine.Remove(t.Context(), "redis01"); err != nil {
		t.Fatal(err)
	}
	b.until("what lies above is not looked after", func(s *agentv1.NodeSnapshot) bool {
		return find(s, "redis01").GetOwnership() == agentv1.Ownership_OWNERSHIP_MISSING
	})
	if err := b.node.SetStage(t.Context(), rolev1.Stage_STAGE_APPLICATION); err != nil {
		t.Fatal(err)
	}
	b.ready()
}

func TestReset(t *testing.T) {
	b := newBench(t)
	b.ready()
	b.engine.AddImage("busybox", nil)
	if id, err := b.engine.Create(t.Context(), engine.Spec{Name: "mine", Image: "busybox"}); err != nil || b.engine.Start(t.Context(), id) != nil {
		t.Fatal(err)
	}
	if err := b.engine.Kill("web"); err != nil {
		t.Fatal(err)
	}
	b.until("web is stopped manually", manuallyStopped("web"))
	out, err := b.node.Reset(t.Context(), rolev1.Stage_STAGE_INFRASTRUCTURE)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.GetRemovedContainers(), []string{"mine", "redis01", "web"}) || !slices.Equal(out.GetRemovedVolumes(), []string{"redis01-data"}) {
		t.Errorf("%v", out)
	}
	b.until("nothing is left", func(s *agentv1.NodeSnapshot) bool {
		return s.GetReady() && s.GetDesiredStage() == rolev1.Stage_STAGE_INFRASTRUCTURE && s.GetSwarm().GetLocalState() == "inactive"
	})
	if _, err := b.engine.Image(t.Context(), "web:latest"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the lab's own image is left: %v", err)
	}
	if _, err := b.engine.Image(t.Context(), "redis:8.0"); err != nil {
		t.Errorf("a stock image was removed: %v", err)
	}
	if err := b.node.SetStage(t.Context(), rolev1.Stage_STAGE_APPLICATION); err != nil {
		t.Fatal(err)
	}
	if s := b.ready(); find(s, "web").GetManuallyStopped() {
		t.Error("a reset forgets who was stopped manually")
	}
}

func TestRetire(t *testing.T) {
	b := newBench(t)
	b.ready()
	b.role.set(func(f *fakeRole) { f.queued = 3 })
	var mu sync.Mutex
	var said []string
	retired := make(chan error, 1)
	go func() {
		retired <- b.node.Retire(t.Context(), func(text string, queued float64) error {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, fmt.Sprint(text, " ", queued))
			return nil
		})
	}()
	b.until("web is stopped, redis01 drains", func(s *agentv1.NodeSnapshot) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(said, "waits until its queue is empty 3") && find(s, "web").GetState() == "exited" &&
			find(s, "redis01").GetState() == "running" && len(s.GetDiscovery().GetRegistered()) == 0
	})
	if err := b.node.Retire(t.Context(), func(string, float64) error { return nil }); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("retired twice at a time: %v", err)
	}
	b.role.set(func(f *fakeRole) { f.queued = 0 })
	if err := <-retired; err != nil {
		t.Fatal(err)
	}
	gone := func(s *agentv1.NodeSnapshot) bool {
		return find(s, "redis01").GetState() == "exited" && !find(s, "redis01").GetManuallyStopped() && !s.GetReady() &&
			s.GetSwarm().GetLocalState() == "inactive" && len(s.GetPending()) == 1 &&
			strings.Contains(s.GetPending()[0].GetReason(), "retired")
	}
	b.until("it is retired", gone)
	b.restart()
	b.until("the next agent knows it", gone)
	if err := b.node.SetStage(t.Context(), rolev1.Stage_STAGE_APPLICATION); err != nil {
		t.Fatal(err)
	}
	b.ready()
}

func TestRetireWithoutAnEnd(t *testing.T) {
	b := newBench(t)
	b.ready()
	b.role.set(func(f *fakeRole) { f.queued = 3 })
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	err := b.node.Retire(ctx, func(_ string, queued float64) error {
		if queued > 0 {
			leave() // the caller goes away while the queue drains
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b.ready()
}

func TestJoinInfo(t *testing.T) {
	b := newBench(t)
	info, err := b.node.JoinInfo(t.Context()) // waits for the swarm
	if err != nil || info.GetWorkerToken() == "" || info.GetManagerAddress() != "192.168.33.11:2377" || info.GetClusterId() == "" {
		t.Fatalf("%v, %v", info, err)
	}
	b.ready()
	if info, err = b.node.JoinInfo(t.Context()); err != nil || !info.GetNetworkReady() || info.GetNetworkId() == "" {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := b.node.Reset(t.Context(), rolev1.Stage_STAGE_INFRASTRUCTURE); err != nil {
		t.Fatal(err)
	}
	b.until("no swarm", func(s *agentv1.NodeSnapshot) bool { return s.GetSwarm().GetLocalState() == "inactive" })
	if _, err = b.node.JoinInfo(t.Context()); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}

func TestForgetNode(t *testing.T) {
	b := newBench(t)
	b.ready()
	self, err := b.engine.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.engine.SetSwarm(self.Swarm,
		engine.Member{ID: self.Swarm.NodeID, Hostname: "manager", State: "ready"},
		engine.Member{ID: "gone", Hostname: "frontend02", State: "down", Address: "127.0.0.1"},
		engine.Member{ID: "former", Hostname: "frontend01", State: "down"},
		engine.Member{ID: "present", Hostname: "frontend01", State: "ready"},
		engine.Member{ID: "abandoned", State: "unknown", Abandoned: true},
	)
	b.until("members that came back as others are forgotten", func(s *agentv1.NodeSnapshot) bool {
		return len(s.GetSwarm().GetMembers()) == 3
	})
	if err := b.node.ForgetNode(t.Context(), "frontend02"); err != nil {
		t.Fatal(err)
	}
	members, err := b.engine.Members(t.Context())
	if err != nil || len(members) != 2 || members[1].ID != "present" || !slices.Equal(b.discovery.forgotten, []string{"frontend02"}) {
		t.Errorf("%v, %v, forgotten %v", members, err, b.discovery.forgotten)
	}
	if err := b.node.ForgetNode(t.Context(), "manager"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

// TestForgetNoNodeUnheard: a node that the swarm lists as ready and that does not answer may be alive; one at whose address
// nobody is has gone.
func TestForgetNoNodeUnheard(t *testing.T) {
	before := lifeTimeout
	lifeTimeout = 300 * time.Millisecond
	t.Cleanup(func() { lifeTimeout = before })
	hung, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.77", strconv.Itoa(contract.AgentPort)))
	if err != nil {
		t.Skip("needs an address of its own: ", err)
	}
	defer func() { _ = hung.Close() }()
	b := newBench(t)
	b.ready()
	self, err := b.engine.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.engine.SetSwarm(self.Swarm,
		engine.Member{ID: self.Swarm.NodeID, Hostname: "manager", State: "ready"},
		engine.Member{ID: "silent", Hostname: "frontend01", State: "ready", Address: "127.0.0.77"},
		engine.Member{ID: "gone", Hostname: "frontend02", State: "ready", Address: "127.0.0.78"},
	)
	if err := b.node.ForgetNode(t.Context(), "frontend01"); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "could not tell whether frontend01 is alive") {
		t.Errorf("got %v", err)
	}
	lifeTimeout = before
	if err := b.node.ForgetNode(t.Context(), "frontend02"); err != nil {
		t.Error(err)
	}
	members, err := b.engine.Members(t.Context())
	if err != nil || len(members) != 2 || members[1].ID != "silent" || !slices.Equal(b.discovery.forgotten, []string{"frontend02"}) {
		t.Errorf("%v, %v, forgotten %v", members, err, b.discovery.forgotten)
	}
}

func TestWatch(t *testing.T) {
	b := newBench(t)
	b.ready()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan *agentv1.WatchResponse, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.node.Watch(ctx, func(r *agentv1.WatchResponse) error {
			got <- r
			return nil
		})
	}()
	if first := <-got; first.GetEvent() != nil || first.GetNode().GetName() != "manager" {
		t.Errorf("first came %v", first)
	}
	killed := time.Now()
	if err := b.engine.Kill("redis01"); err != nil {
		t.Fatal(err)
	}
	for r := range got {
		if r.GetEvent() == nil || r.GetNode() == nil {
			t.Fatalf("came %v", r)
		}
		if r.GetEvent().GetSubject() == "redis01" && r.GetEvent().GetAction() == "die" {
			break
		}
	}
	t.Logf("told after %v", time.Since(killed).Round(time.Millisecond))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestWatchWithoutAnEvent(t *testing.T) {
	h := newHub()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan *agentv1.WatchResponse)
	ended := make(chan error, 1)
	go func() {
		ended <- h.watch(ctx, func() *agentv1.NodeSnapshot { return &agentv1.NodeSnapshot{Name: "manager"} },
			func(r *agentv1.WatchResponse) error {
				got <- r
				return nil
			})
	}()
	<-got
	h.refresh()
	if r := <-got; r.GetEvent() != nil || r.GetNode().GetName() != "manager" {
		t.Errorf("after a refresh came %v", r)
	}
	h.emit(&agentv1.Event{Action: "start"})
	h.refresh()
	if r := <-got; r.GetEvent().GetAction() != "start" {
		t.Errorf("with an event came %v", r)
	}
	cancel()
	select {
	case r := <-got:
		t.Errorf("one snapshot was enough, and yet came %v", r)
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestLogs(t *testing.T) {
	b := newBench(t)
	b.ready()
	var lines []string
	collect := func(line string, stderr bool) error {
		lines = append(lines, fmt.Sprint(line, " ", stderr))
		return nil
	}
	if err := b.node.Logs(t.Context(), "", false, 10, collect); err != nil {
		t.Error(err)
	}
	if err := b.node.Logs(t.Context(), "redis01", false, 10, collect); err != nil {
		t.Error(err)
	}
	id := b.id("redis01")
	if want := []string{"a line of the journal false", "out of " + id + " false", "err of " + id + " true"}; !slices.Equal(lines, want) {
		t.Errorf("got %q", lines)
	}
	if err := b.node.Logs(t.Context(), "none", false, 10, collect); status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestDamagedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}
