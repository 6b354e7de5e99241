package fault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/engine/enginetest"
)

// units is a service manager with an engine, and a filter, in memory.
type units struct {
	engine *enginetest.Engine

	mu     sync.Mutex
	pid    int
	cuts   map[string][]netip.Addr
	broken error // every call fails with it
}

func (u *units) Stop(_ context.Context, units ...string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken != nil || !slices.Equal(units, []string{"docker.socket", "docker.service"}) {
		return errors.Join(u.broken, fmt.Errorf("stop %v", units))
	}
	u.engine.Shutdown(nil)
	u.pid = 0
	return nil
}

func (u *units) Start(_ context.Context, _ ...string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken == nil && u.pid == 0 {
		u.engine.Boot()
		u.pid = 2
	}
	return u.broken
}

func (u *units) Kill(context.Context, string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken == nil {
		u.engine.Die()
		u.pid = 0
		time.AfterFunc(10*time.Second, func() { _ = u.Start(context.Background()) })
	}
	return u.broken
}

func (u *units) MainPID(context.Context, string) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.pid, u.broken
}

func (u *units) Block(_ context.Context, name string, peers []netip.Addr, spared uint16) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken == nil && spared == 7400 {
		u.cuts[name] = peers
	}
	return u.broken
}

func (u *units) Unblock(_ context.Context, name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken == nil {
		delete(u.cuts, name)
	}
	return u.broken
}

func (u *units) Try(context.Context, netip.Addr) error { return nil }

func (u *units) Dropped(_ context.Context, name string) (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if peers, ok := u.cuts[name]; ok {
		return int64(len(peers)), u.broken
	}
	return -1, u.broken
}

func (u *units) Blocked(context.Context) ([]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var names []string
	for name := range u.cuts {
		names = append(names, name)
	}
	return names, u.broken
}

func (u *units) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.broken = err
}

// links, disk and clock are the rest of the machine.
type links struct {
	*units
	impaired map[string]impairment
	// cannot is what the kernel says.
	cannot error
	// born counts up when processes get the numbers of others; forbidden is one that is not to be touched any more.
	born      uint64
	forbidden int
	// recorded reports whether there is a record.
	recorded func() bool
}

type impairment struct {
	pid  int
	spec Spec
}

func (l *links) Can(context.Context, Spec) error { return l.cannot }

func (l *links) Began(pid int) (uint64, error) {
	c, err := l.engine.Container(context.Background(), "web")
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && c.PID == pid {
		return 1000 + l.born, nil
	}
	return 0, os.ErrNotExist
}

func (l *links) Impair(_ context.Context, pid int, name string, s Spec) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recorded != nil && !l.recorded() {
		return errors.New("there is no record")
	}
	l.impaired[name] = impairment{pid, s}
	return l.broken
}

func (l *links) Restore(_ context.Context, pid int, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pid == l.forbidden {
		return errors.New("this is another process")
	}
	if l.broken == nil && l.impaired[name].pid == pid {
		delete(l.impaired, name)
	}
	return l.broken
}

func (l *links) Try(context.Context, int, int) error { return nil }

func (l *links) Look(_ context.Context, pid int, name string) (Impaired, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := Impaired{Links: []string{"eth0"}}
	i, ok := l.impaired[name]
	if !ok || i.pid != pid {
		return have, l.broken
	}
	if i.spec.Kind != faultkind.Delay {
		have.Filtered, have.Met, have.Dropped = true, 9, 3
	}
	if i.spec.Kind != faultkind.Loss {
		have.Queues = []Queue{{Link: "eth0", Delay: i.spec.Delay, Jitter: i.spec.Jitter, Rate: i.spec.Rate, Packets: 4}}
	}
	return have, l.broken
}

// reuse gives a process' number to another.
func (l *links) reuse(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.born++
	l.forbidden = pid
}

// of is what is wrong with the links of a process.
func (l *links) of(pid int) (specs []Spec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.impaired {
		if i.pid == pid {
			specs = append(specs, i.spec)
		}
	}
	return specs
}

type disk struct {
	*units
	free   int64
	file   string
	cannot error
}

func (d *disk) Room(string) (int64, error) { return d.free, d.cannot }

func (d *disk) Fill(_ context.Context, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.file = path
	return d.broken
}

func (d *disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken == nil && d.file == path {
		d.file = ""
	}
	return d.broken
}

func (d *disk) Look(path string) (size, free, reserve int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == path {
		return d.free, 0, 0, d.broken
	}
	return -1, d.free, 0, d.broken
}

// filled is the file that fills it.
func (d *disk) filled() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.file
}

type clock struct {
	*units
	off    time.Duration
	cannot error
}

// wrong is by how much it is.
func (c *clock) wrong() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off
}

func (c *clock) Ready(context.Context) error { return c.cannot }

func (c *clock) Read(context.Context) (Reading, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Reading{Boot: "b", Ahead: 1e18 + c.off}, c.broken
}

func (c *clock) Skew(_ context.Context, right Reading, by time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = right.Ahead - 1e18 + by
	return c.broken
}

func (c *clock) Right(_ context.Context, right Reading) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.off = right.Ahead - 1e18
	}
	return c.broken
}

func (c *clock) Check(ctx context.Context, right Reading) error {
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	return now.differs(right)
}

// bench is a node with a container web on the overlay net, and something that brings it back as the reconcile loop does. It lives in a
// bubble of synthetic time.
type bench struct {
	// precious: the data of the container are made anew by nobody.
	precious bool
	*Keeper
	t      *testing.T
	dir    string
	engine *enginetest.Engine
	units  *units
	links  *links
	disk   *disk
	clock  *clock
	boot   string
	turns  []string
	// refuse may refuse an operation of the engine.
	refuse atomic.Pointer[func(op string) error]
	// end ends the keeper's life, as the agent's end does.
	end func()
}

var spec = engine.Spec{
	Name: "web", Image: "i", Networks: []engine.Attachment{{Network: "net"}}, Mounts: []engine.Mount{{Volume: "data", Target: "/data"}},
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: filepath.Join(t.TempDir(), "faults"), engine: enginetest.New(), boot: "b1"}
	b.engine.Fail = func(op, _ string) error {
		if refuse := b.refuse.Load(); refuse != nil {
			return (*refuse)(op)
		}
		return nil
	}
	b.units = &units{engine: b.engine, pid: 1, cuts: map[string][]netip.Addr{}}
	b.links = &links{units: b.units, impaired: map[string]impairment{}}
	b.disk = &disk{units: b.units, free: 100 << 20}
	b.clock = &clock{units: b.units}
	if err := b.engine.CreateVolume(t.Context(), "data", nil); err != nil {
		t.Fatal(err)
	}
	b.engine.AddImage("i", nil)
	b.engine.SetSwarm(engine.Swarm{State: engine.SwarmActive})
	b.start()
	b.loop()
	return b
}

func (b *bench) means() OS {
	return OS{Units: b.units, Filter: b.units, Links: b.links, Disk: b.disk, Clock: b.clock}
}

// start begins a new life of the agent.
func (b *bench) start() {
	b.t.Helper()
	var mu sync.Mutex
	k, err := Open(b.dir, Deps{
		OS: b.means(), Engine: b.engine, Network: "net", EngineUnits: []string{"docker.socket", "docker.service"}, AgentPort: 7400,
		Own: func(string) error { return nil }, Wanted: func(name string) bool { return name == "web" },
		Renewable: func(string) bool { return !b.precious },
	}, slog.New(slog.DiscardHandler), func(f Fault, action, _ string) {
		mu.Lock()
		defer mu.Unlock()
		b.turns = append(b.turns, action)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	k.now = b.now
	b.Keeper = k
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := k.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	looped := make(chan struct{})
	go func() {
		defer close(looped)
		for ctx.Err() == nil {
			b.loop()
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
	b.end = func() {
		cancel()
		<-ended
		<-looped
	}
	b.t.Cleanup(b.end)
}

func (b *bench) now() (Instant, error) {
	return Instant{Boot: b.boot, At: time.Duration(time.Now().UnixNano())}, nil
}

// loop does what the reconcile loop would.
func (b *bench) loop() {
	ctx := context.Background()
	if b.Held("web") != "" {
		return
	}
	c, err := b.engine.Container(ctx, "web")
	if errors.Is(err, engine.ErrNotFound) {
		_, _ = b.engine.Create(ctx, spec)
		c, err = b.engine.Container(ctx, "web")
	}
	if err == nil && c.State != engine.StatePaused {
		_ = b.engine.Start(ctx, c.ID)
		if c.State == engine.StateRunning && c.Endpoints["net"].Address == "" {
			_ = b.engine.Connect(ctx, c.ID, spec.Networks[0])
		}
	}
}

// records are the files in the folder of faults.
func (b *bench) records() int {
	entries, err := os.ReadDir(b.dir)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	return len(entries)
}

// well fails the test unless the node is as it was.
func (b *bench) well() {
	b.t.Helper()
	c, err := b.engine.Container(context.Background(), "web")
	if err != nil || c.State != engine.StateRunning || c.Endpoints["net"].Address == "" {
		b.t.Errorf("web is %s at %q, %v", c.State, c.Endpoints["net"].Address, err)
	}
	if len(b.links.of(c.PID)) > 0 || b.disk.filled() != "" || b.clock.wrong() != 0 {
		b.t.Errorf("links %v, the file %q, the clock off by %s", b.links.of(c.PID), b.disk.filled(), b.clock.wrong())
	}
	if len(b.units.cuts) > 0 || b.units.pid == 0 || len(b.List()) > 0 || b.Held("web") != "" || b.records() > 0 {
		b.t.Errorf("cuts %v, engine %d, faults %v, held %q, %d records", b.units.cuts, b.units.pid, b.List(), b.Held("web"), b.records())
	}
}

func of(k faultkind.Kind) Spec {
	switch {
	case k == faultkind.Delay:
		return Spec{Kind: k, Container: "web", Strength: faultkind.Strength{Delay: 200 * time.Millisecond, Jitter: 50 * time.Millisecond}}
	case k == faultkind.Loss:
		return Spec{Kind: k, Container: "web", Strength: faultkind.Strength{Loss: 0.3}}
	case k == faultkind.Bandwidth:
		return Spec{Kind: k, Container: "web", Strength: faultkind.Strength{Rate: 64 << 10}}
	case k == faultkind.Skew:
		return Spec{Kind: k, Strength: faultkind.Strength{Skew: -5 * time.Second}}
	case k.OfContainer():
		return Spec{Kind: k, Container: "web"}
	case k == faultkind.Partition:
		return Spec{Kind: k, Peers: []Peer{{"store", netip.MustParseAddr("127.0.0.2")}}}
	}
	return Spec{Kind: k}
}

// Every kind is on disk before it happens, is seen, and ends with its lease.
func TestEveryKindEndsWithItsLease(t *testing.T) {
	for _, kind := range faultkind.All() {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.links.recorded = func() bool { return b.records() == 1 }
				check := func(op string) error {
					if slices.Contains([]string{"Stop", "Pause", "Remove", "Disconnect", "Signal"}, op) && b.records() != 1 {
						t.Errorf("%s before there is a record", op)
					}
					return nil
				}
				b.refuse.Store(&check)
				f, err := b.Inject(t.Context(), of(kind), time.Minute, "me")
				if err != nil {
					t.Fatal(err)
				}
				if f.Evidence == "" || (f.Phase == Ending) != kind.Momentary() || f.Left != 0 && f.Left > time.Minute {
					t.Errorf("%+v", f)
				}
				if !kind.Momentary() {
					time.Sleep(50 * time.Second)
					synctest.Wait()
					if faults := b.List(); len(faults) != 1 || faults[0].Phase != InForce {
						t.Errorf("after 50 s there are the faults %v", faults)
					}
					if held := b.Held("web") != ""; held != kind.OfContainer() {
						t.Errorf("web is held: %v", held)
					}
					if c, err := b.engine.Container(t.Context(), "web"); kind.OfContainer() && err == nil && c.State == engine.StateRunning &&
						c.Endpoints["net"].Address != "" && len(b.links.of(c.PID)) == 0 && b.disk.filled() == "" {
						t.Error("web is well, though the fault is in force")
					}
				}
				time.Sleep(15 * time.Second)
				synctest.Wait()
				b.well()
				if want := []string{"injected", "ending", "ended"}; !slices.Equal(b.turns, want) {
					t.Errorf("turns %v, want %v", b.turns, want)
				}
			})
		})
	}
}

func TestHealEndsAtOnce(t *testing.T) {
	for _, kind := range faultkind.All() {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				f, err := b.Inject(t.Context(), of(kind), 10*time.Minute, "me")
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				over, err := b.Heal(t.Context(), f.ID)
				if err != nil || len(over) != 1 || over[0].ID != f.ID {
					t.Errorf("over %v, %v", over, err)
				}
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("it took %s", took)
				}
				if !kind.OfContainer() { // the engine is back, and its containers are the loop's
					time.Sleep(time.Second)
					synctest.Wait()
				}
				b.well()
				if over, err := b.Heal(t.Context()); err != nil || len(over) != 0 {
					t.Errorf("once more: %v, %v", over, err)
				}
			})
		})
	}
}

// An agent that ends anywhere leaves a fault that the next one ends: at its deadline, or at once when nobody knows whether it happened, or
// when the machine has been started anew.
func TestTheNextAgentEndsIt(t *testing.T) {
	for _, kind := range faultkind.All() {
		for _, when := range []string{"in force", "overdue", "injecting", "rebooted"} {
			t.Run(string(kind)+"/"+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t)
					f, err := b.Inject(t.Context(), of(kind), time.Minute, "me")
					if err != nil {
						t.Fatal(err)
					}
					b.end()
					switch when {
					case "overdue":
						time.Sleep(time.Hour)
					case "injecting":
						f.Phase = Injecting
						if err := b.store.put(f.Record); err != nil {
							t.Fatal(err)
						}
					case "rebooted":
						b.boot = "b2"
					}
					b.start()
					time.Sleep(14 * time.Second)
					synctest.Wait()
					if when == "in force" && !kind.Momentary() {
						if faults := b.List(); len(faults) != 1 || faults[0].Phase != InForce || faults[0].Left > 46*time.Second {
							t.Errorf("the next agent has the faults %v", faults)
						}
						time.Sleep(50 * time.Second)
						synctest.Wait()
					}
					b.well()
				})
			})
		}
	}
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	peer := Peer{"store", netip.MustParseAddr("127.0.0.2")}
	for _, c := range []struct {
		name  string
		spec  Spec
		lease time.Duration
		want  error
		text  string
	}{
		{"no kind", Spec{}, time.Minute, ErrInvalid, "no fault"},
		{"a kind that nobody knows", Spec{Kind: "burn", Container: "web"}, time.Minute, ErrInvalid, "burn"},
		{"no container", Spec{Kind: faultkind.Stop}, time.Minute, ErrInvalid, "None is named"},
		{"a container too many", Spec{Kind: faultkind.EngineStop, Container: "web"}, time.Minute, ErrInvalid, "not of a container"},
		{"no peers", Spec{Kind: faultkind.Partition}, time.Minute, ErrInvalid, "at least one peer"},
		{"a peer twice", Spec{Kind: faultkind.Partition, Peers: []Peer{peer, peer}}, time.Minute, ErrInvalid, "twice"},
		{"peers of a stop", Spec{Kind: faultkind.Stop, Container: "web", Peers: []Peer{peer}}, time.Minute, ErrInvalid, "no peers"},
		{"no lease", of(faultkind.Stop), 0, ErrInvalid, "lease"},
		{"a negative lease", of(faultkind.Stop), -time.Second, ErrInvalid, "lease"},
		{"a day", of(faultkind.Stop), 24 * time.Hour, ErrInvalid, "lease"},
		{"no strength", Spec{Kind: faultkind.Loss, Container: "web"}, time.Minute, ErrInvalid, "a loss of 0 %"},
		{
			"another's strength",
			Spec{Kind: faultkind.Stop, Container: "web", Strength: faultkind.Strength{Loss: 0.5}},
			time.Minute, ErrInvalid,
			"stop knows no loss",
		},
		{"a stranger", Spec{Kind: faultkind.Stop, Container: "other"}, time.Minute, ErrRefused, "bring back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				if _, err := b.Inject(t.Context(), c.spec, c.lease, "me"); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("got %v, want %v with %q", err, c.want, c.text)
				}
				b.well()
			})
		})
	}
	t.Run("what does not run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			if err := b.engine.Pause(t.Context(), "web"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Inject(t.Context(), of(faultkind.Stop), time.Minute, "me"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "paused") {
				t.Errorf("got %v", err)
			}
			if b.records() != 0 {
				t.Error("there is a record")
			}
		})
	})
	t.Run("data that nobody makes anew", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.precious = true
			if _, err := b.Inject(t.Context(), of(faultkind.Wipe), time.Minute, "me"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "votes would be lost") {
				t.Errorf("got %v", err)
			}
			b.well()
		})
	})
	for kind, text := range map[faultkind.Kind]string{
		faultkind.Delay: "no netem", faultkind.Loss: "no netem", faultkind.Fill: "the host's disk", faultkind.Skew: "the host's clock",
	} {
		t.Run("what the node cannot do: "+string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.links.cannot = errors.New("there is no netem")
				b.disk.cannot = fmt.Errorf("%w: it is the host's disk", ErrRefused)
				b.clock.cannot = fmt.Errorf("%w: it is the host's clock", ErrRefused)
				if _, err := b.Inject(t.Context(), of(kind), time.Minute, "me"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), text) {
					t.Errorf("got %v, want %q", err, text)
				}
				b.well()
			})
		})
	}
	t.Run("a second fault of the same", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			if _, err := b.Inject(t.Context(), of(faultkind.Pause), time.Minute, "me"); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []faultkind.Kind{faultkind.Pause, faultkind.Stop, faultkind.EngineStop} {
				if _, err := b.Inject(t.Context(), of(kind), time.Minute, "me"); !errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v", kind, err)
				}
			}
			for _, kind := range []faultkind.Kind{faultkind.Partition, faultkind.Skew} {
				if _, err := b.Inject(t.Context(), of(kind), time.Minute, "me"); err != nil {
					t.Errorf("%s gets in the way of nothing: %v", kind, err)
				}
				if _, err := b.Inject(t.Context(), of(kind), time.Minute, "me"); !errors.Is(err, ErrRefused) {
					t.Errorf("%s twice: %v", kind, err)
				}
			}
			if got := b.records(); got != 3 {
				t.Errorf("%d records", got)
			}
		})
	})
}

// Nothing is believed: a fault that does not show was none.
// What the kernel lacks is told before anybody asks for the fault; what could not be tried is not called impossible.
func TestImpossible(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cannot error
		want   map[string]string
	}{
		"it can":          {nil, map[string]string{}},
		"no netem":        {errNoNetem, map[string]string{"delay": errNoNetem.Error()}},
		"it could not be": {errors.New("unshare: not permitted"), map[string]string{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.links.cannot = c.cannot
			if got := b.Impossible(t.Context()); !maps.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
			b.well()
		})
	}
}

func TestWhatIsNotSeenIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.deps.Engine = deaf{b.engine}
		_, err := b.Inject(t.Context(), of(faultkind.Pause), time.Minute, "me")
		if err == nil || !strings.Contains(err.Error(), "no effect was observed") {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.well()
	})
}

// The network of a container that was started anew is another one: nothing is wrong with it, and nothing is to be undone there, even where
// its process has the number of the one before.
func TestLinksOfAnotherProcess(t *testing.T) {
	for _, reused := range []bool{false, true} {
		t.Run(fmt.Sprintf("its number is reused: %v", reused), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				f, err := b.Inject(t.Context(), of(faultkind.Loss), time.Minute, "me")
				if err != nil {
					t.Fatal(err)
				}
				if reused {
					b.links.reuse(f.Before.PID)
				} else if err := b.engine.Crash("web", 1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(62 * time.Second)
				synctest.Wait()
				if faults := b.List(); len(faults) > 0 {
					t.Errorf("faults %+v", faults)
				}
			})
		})
	}
}

// deaf is an engine that says yes and does nothing.
type deaf struct{ Engine }

func (deaf) Pause(context.Context, string) error { return nil }

// What cannot be undone at once is tried again, and shown with the reason, for as long as it takes.
func TestItIsUndoneInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if _, err := b.Inject(t.Context(), of(faultkind.Partition), time.Second, "me"); err != nil {
			t.Fatal(err)
		}
		b.units.fail(errors.New("the filter is stuck"))
		time.Sleep(time.Minute)
		synctest.Wait()
		faults := b.List()
		if len(faults) != 1 || faults[0].Phase != Ending || faults[0].Trouble == nil {
			t.Fatalf("faults %+v", faults)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Heal(ctx); err == nil || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("heal: %v", err)
		}
		b.units.fail(nil)
		time.Sleep(retryLast)
		synctest.Wait()
		b.well()
	})
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		f, err := b.Inject(t.Context(), of(faultkind.Pause), 10*time.Second, "me")
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(8 * time.Second)
			if f, err = b.Renew(f.ID, 10*time.Second); err != nil || f.Left != 10*time.Second {
				t.Fatalf("%+v, %v", f, err)
			}
		}
		for id, want := range map[string]error{"00000000": ErrUnknown, f.ID: ErrInvalid} {
			if _, err := b.Renew(id, map[error]time.Duration{ErrUnknown: time.Minute, ErrInvalid: 24 * time.Hour}[want]); !errors.Is(err, want) {
				t.Errorf("%s: %v", id, err)
			}
		}
		stuck := func(op string) error {
			if op == "Unpause" {
				return engine.ErrRefused
			}
			return nil
		}
		b.refuse.Store(&stuck)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if _, err := b.Renew(f.ID, time.Minute); !errors.Is(err, ErrRefused) {
			t.Errorf("a fault that is ending was renewed: %v", err)
		}
		b.refuse.Store(nil)
		time.Sleep(retryLast)
		synctest.Wait()
		b.well()
	})
}

// A container that is slow to stop is stopped for as long as the lease lasts, all the same.
func TestTheLeaseBeginsWhenTheFaultIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		slow := func(op string) error {
			if op == "Stop" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		b.refuse.Store(&slow)
		f, err := b.Inject(t.Context(), of(faultkind.Stop), 8*time.Second, "me")
		if err != nil || f.Left != 8*time.Second {
			t.Fatalf("%+v, %v", f, err)
		}
		time.Sleep(7 * time.Second)
		if _, err := b.Renew(f.ID, 8*time.Second); err != nil {
			t.Error(err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		b.well()
	})
}

func TestCutsOfNobodyAreMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.end()
		b.units.cuts["deadbeef"] = nil
		b.start()
		synctest.Wait()
		b.well()
	})
}

func TestADamagedRecordIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if _, err := b.Inject(t.Context(), of(faultkind.Pause), time.Second, "me"); err != nil {
			t.Fatal(err)
		}
		b.end()
		if err := os.WriteFile(filepath.Join(b.dir, "01234567.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.start()
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := os.Stat(b.dir + "-01234567.json.damaged"); err != nil || len(b.List()) != 0 {
			t.Errorf("%v, faults %v", err, b.List())
		}
	})
}

// The reaper does nothing as long as an agent takes care, and everything the host needs when none does.
func TestReap(t *testing.T) {
	for _, kind := range []faultkind.Kind{
		faultkind.Pause, faultkind.Partition, faultkind.EngineStop, faultkind.Delay, faultkind.Loss, faultkind.Bandwidth, faultkind.Fill, faultkind.Skew,
	} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				f, err := b.Inject(t.Context(), of(kind), time.Minute, "me")
				if err != nil {
					t.Fatal(err)
				}
				b.end()
				reap := func() bool {
					t.Helper()
					reaper, err := Open(b.dir, b.deps, slog.New(slog.DiscardHandler), func(Fault, string, string) {})
					if err != nil {
						t.Fatal(err)
					}
					reaper.now = b.now
					abandoned, all, err := reaper.Reap(t.Context())
					if err != nil || all != 1 {
						t.Fatalf("%d faults, %v", all, err)
					}
					return abandoned == 1
				}
				if reap() {
					t.Error("reaped before its time")
				}
				time.Sleep(2 * time.Minute)
				// The files' times are real ones, and so are not in this test's time.
				now := time.Now()
				if err := os.Chtimes(b.store.path(f.ID), now, now); err != nil {
					t.Fatal(err)
				}
				if reap() {
					t.Error("reaped while somebody takes care")
				}
				later := now.Add(time.Hour)
				if err := os.Chtimes(b.store.path(f.ID), later, later); err != nil {
					t.Fatal(err)
				}
				if !reap() {
					t.Error("not reaped, since the clock was set back")
				}
				if err := os.Chtimes(b.store.path(f.ID), now, now); err != nil {
					t.Fatal(err)
				}
				time.Sleep(neglect + time.Second)
				if !reap() {
					t.Error("not reaped")
				}
				if err := b.deps.verb(kind).verifyReverted(t.Context(), f.Record); err != nil && kind != faultkind.EngineStop {
					t.Errorf("not mended: %v", err)
				}
				b.start()
				time.Sleep(time.Second)
				synctest.Wait()
				b.well()
			})
		})
	}
}

// silentEngine says nothing of containers.
type silentEngine struct{ Engine }

func (silentEngine) Container(ctx context.Context, _ string) (engine.Container, error) {
	<-ctx.Done()
	return engine.Container{}, ctx.Err()
}

// The engine says nothing of a container that it is about to start again. That its process has ended the kernel tells.
func TestAKillIsSeenWithoutTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		before, err := b.engine.Container(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		v := kill{container{&Deps{OS: b.means(), Engine: silentEngine{b.engine}}}}
		r := Record{Spec: of(faultkind.Kill), Before: Before{ID: before.ID, PID: before.PID}}
		if evidence, err := v.observe(t.Context(), r); err == nil {
			t.Errorf("it runs, and yet: %s", evidence)
		}
		if err := b.engine.Signal(t.Context(), before.ID, "KILL"); err != nil {
			t.Fatal(err)
		}
		if evidence, err := v.observe(t.Context(), r); err != nil || !strings.HasSuffix(evidence, " ended") {
			t.Errorf("%q, %v", evidence, err)
		}
	})
}
