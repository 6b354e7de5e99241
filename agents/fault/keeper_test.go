package fault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

func (u *units) Cut(_ context.Context, name string, peers []netip.Addr, spared uint16) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken == nil && spared == 7400 {
		u.cuts[name] = peers
	}
	return u.broken
}

func (u *units) Mend(_ context.Context, name string) error {
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

func (u *units) Cuts(context.Context) ([]string, error) {
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

// bench is a node with a container web on the overlay net, and something that brings it back as the reconcile loop does. It lives in a
// bubble of synthetic time.
type bench struct {
	*Keeper
	t      *testing.T
	dir    string
	engine *enginetest.Engine
	units  *units
	boot   string
	turns  []string
	// refuse may refuse an operation of the engine.
	refuse atomic.Pointer[func(op string) error]
	// end ends the keeper's life, as the agent's end does.
	end func()
}

var spec = engine.Spec{Name: "web", Image: "i", Networks: []engine.Attachment{{Network: "net"}}}

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
	b.engine.AddImage("i", nil)
	b.engine.SetSwarm(engine.Swarm{State: engine.SwarmActive})
	b.start()
	b.loop()
	return b
}

// start begins a new life of the agent.
func (b *bench) start() {
	b.t.Helper()
	var mu sync.Mutex
	k, err := Open(b.dir, Parts{
		Engine: b.engine, Units: b.units, Filter: b.units, Network: "net", EngineUnits: []string{"docker.socket", "docker.service"}, AgentPort: 7400,
		Own: func(string) error { return nil }, Wanted: func(name string) bool { return name == "web" },
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
	if len(b.units.cuts) > 0 || b.units.pid == 0 || len(b.List()) > 0 || b.Held("web") != "" || b.records() > 0 {
		b.t.Errorf("cuts %v, engine %d, faults %v, held %q, %d records", b.units.cuts, b.units.pid, b.List(), b.Held("web"), b.records())
	}
}

func of(k Kind) Spec {
	switch {
	case k.OfContainer():
		return Spec{Kind: k, Container: "web"}
	case k == Partition:
		return Spec{Kind: k, Peers: []Peer{{"store", netip.MustParseAddr("127.0.0.2")}}}
	}
	return Spec{Kind: k}
}

// Every kind is on disk before it happens, is seen, and ends with its lease.
func TestEveryKindEndsWithItsLease(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
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
						c.Endpoints["net"].Address != "" {
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
	for _, kind := range Kinds() {
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
	for _, kind := range Kinds() {
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
		{"no container", Spec{Kind: Stop}, time.Minute, ErrInvalid, "None is named"},
		{"a container too many", Spec{Kind: EngineStop, Container: "web"}, time.Minute, ErrInvalid, "not of a container"},
		{"no peers", Spec{Kind: Partition}, time.Minute, ErrInvalid, "No node"},
		{"a peer twice", Spec{Kind: Partition, Peers: []Peer{peer, peer}}, time.Minute, ErrInvalid, "twice"},
		{"peers of a stop", Spec{Kind: Stop, Container: "web", Peers: []Peer{peer}}, time.Minute, ErrInvalid, "no peers"},
		{"no lease", of(Stop), 0, ErrInvalid, "lease"},
		{"a negative lease", of(Stop), -time.Second, ErrInvalid, "lease"},
		{"a day", of(Stop), 24 * time.Hour, ErrInvalid, "lease"},
		{"a stranger", Spec{Kind: Stop, Container: "other"}, time.Minute, ErrRefused, "bring back"},
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
			if _, err := b.Inject(t.Context(), of(Stop), time.Minute, "me"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "paused") {
				t.Errorf("got %v", err)
			}
			if b.records() != 0 {
				t.Error("there is a record")
			}
		})
	})
	t.Run("a second fault of the same", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			if _, err := b.Inject(t.Context(), of(Pause), time.Minute, "me"); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []Kind{Pause, Stop, EngineStop} {
				if _, err := b.Inject(t.Context(), of(kind), time.Minute, "me"); !errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v", kind, err)
				}
			}
			if _, err := b.Inject(t.Context(), of(Partition), time.Minute, "me"); err != nil {
				t.Errorf("a partition gets in the way of nothing: %v", err)
			}
			if got := b.records(); got != 2 {
				t.Errorf("%d records", got)
			}
		})
	})
}

// Nothing is believed: a fault that does not show was none.
func TestWhatIsNotSeenIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.parts.Engine = deaf{b.engine}
		_, err := b.Inject(t.Context(), of(Pause), time.Minute, "me")
		if err == nil || !strings.Contains(err.Error(), "not seen") {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.well()
	})
}

// deaf is an engine that says yes and does nothing.
type deaf struct{ Engine }

func (deaf) Pause(context.Context, string) error { return nil }

// What cannot be undone at once is tried again, and shown with the reason, for as long as it takes.
func TestItIsUndoneInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if _, err := b.Inject(t.Context(), of(Partition), time.Second, "me"); err != nil {
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
		f, err := b.Inject(t.Context(), of(Pause), 10*time.Second, "me")
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
		if _, err := b.Inject(t.Context(), of(Pause), time.Second, "me"); err != nil {
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
	for _, kind := range []Kind{Pause, Partition, EngineStop} {
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
					reaper, err := Open(b.dir, b.parts, slog.New(slog.DiscardHandler), func(Fault, string, string) {})
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
				time.Sleep(neglect + time.Second)
				if !reap() {
					t.Error("not reaped")
				}
				if err := b.parts.verb(kind).mended(t.Context(), f.Record); err != nil && kind != EngineStop {
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
