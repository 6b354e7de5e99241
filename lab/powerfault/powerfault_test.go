package powerfault

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// switchboard is power for nodes that are none. What a call does stands in function fields; nil: it works.
type switchboard struct {
	mu     sync.Mutex
	states map[string]power.State
	calls  []string

	hooks
	// boots is how long a node takes from having power to its agent's first answer; booted is when it answers.
	boots  time.Duration
	booted map[string]time.Time
}

type hooks struct {
	onState          func(node string) (power.State, error)
	onOff, onOn      func(node string) error
	onFreeze, onThaw func(node string) error
	onAnswer         func(node string) error
}

// hook changes the hooks, whoever calls meanwhile.
func (s *switchboard) hook(change func(*hooks)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.hooks)
}

func (s *switchboard) now() hooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks
}

func (s *switchboard) state(node string) power.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[node]
}

var _ power.Switch = (*switchboard)(nil)

func newSwitchboard() *switchboard {
	return &switchboard{
		states: map[string]power.State{"frontend02": power.StateRunning, "store": power.StateRunning},
		boots:  3 * time.Second, booted: map[string]time.Time{},
	}
}

func (s *switchboard) State(_ context.Context, node string) (power.State, error) {
	if on := s.now().onState; on != nil {
		return on(node)
	}
	return s.state(node), nil
}

func (s *switchboard) set(call, node string, hook func(string) error, state power.State) error {
	s.mu.Lock()
	s.calls = append(s.calls, call+" "+node)
	s.mu.Unlock()
	if hook != nil {
		if err := hook(node); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == power.StateRunning && s.states[node] == power.StateOff {
		s.booted[node] = time.Now().Add(s.boots)
	}
	s.states[node] = state
	return nil
}

func (s *switchboard) Off(_ context.Context, node string) error {
	return s.set("off", node, s.now().onOff, power.StateOff)
}

func (s *switchboard) On(_ context.Context, node string) error {
	return s.set("on", node, s.now().onOn, power.StateRunning)
}

func (s *switchboard) Freeze(_ context.Context, node string) error {
	return s.set("freeze", node, s.now().onFreeze, power.StatePaused)
}

func (s *switchboard) Thaw(_ context.Context, node string) error {
	return s.set("thaw", node, s.now().onThaw, power.StateRunning)
}

// answer is the agent's.
func (s *switchboard) answer(_ context.Context, node string) error {
	if on := s.now().onAnswer; on != nil {
		return on(node)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[node] != power.StateRunning || time.Now().Before(s.booted[node]) {
		return &fleet.Error{Node: node, Problem: fleet.ProblemDown, Reason: "nothing listens"}
	}
	return nil
}

func (s *switchboard) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// process returns the faults of a lab as one more process sees them, and its reaper as one more, which ends with the test.
func process(t *testing.T, lab *settings.Lab, s *switchboard) *PowerFaults {
	t.Helper()
	o := reaper(lab, s)
	o.start = func() error {
		go func() {
			if err := reaper(lab, s).Reap(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		return nil
	}
	return o
}

func reaper(lab *settings.Lab, s *switchboard) *PowerFaults {
	return &PowerFaults{
		lab: lab, power: s, answers: s.answer, store: store{lab.FaultDir()}, log: slog.New(slog.DiscardHandler),
		times: times{inject: time.Minute, seen: 5 * time.Second, end: time.Minute, late: 5 * time.Second, answer: 10 * time.Second},
	}
}

func newLab(t *testing.T) *settings.Lab {
	t.Helper()
	lab := &settings.Lab{Dir: t.TempDir(), Settings: settings.Settings{Name: "blue", PortBase: 21000, Provider: settings.ProviderDocker}}
	lab.Topology = &topology.Topology{Nodes: []topology.Node{
		{Name: "frontend02", Octet: 21, Address: netip.MustParseAddr("192.168.33.21")},
		{Name: "store", Octet: 250, Address: netip.MustParseAddr("192.168.33.250")},
		{Name: "worker01", Octet: 200, Address: netip.MustParseAddr("192.168.33.200")},
	}}
	if err := os.Mkdir(lab.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	return lab
}

// nothingLeft demands that no record, no lock of one, and no reaper is left.
func nothingLeft(t *testing.T, o *PowerFaults) {
	t.Helper()
	time.Sleep(2 * watchEvery)
	synctest.Wait()
	entries, err := os.ReadDir(o.store.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left: %s", e.Name())
	}
	if o.reaped() {
		t.Error("a reaper lives, and nothing is left to reap")
	}
}

func mustInject(t *testing.T, o *PowerFaults, kind Kind, node string, lease time.Duration) Fault {
	t.Helper()
	f, err := o.Inject(t.Context(), kind, node, lease, "me")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLease: a fault is on disk before it is done, ends by itself, and is over when the agent answers.
func TestLease(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]struct {
		calls, evidence string
		over            time.Duration
	}{
		PowerOff: {"off frontend02, on frontend02", "its machine is off, and no agent answers at 127.0.0.1:21021", 33 * time.Second},
		Freeze:   {"freeze frontend02, thaw frontend02", "its machine is paused, and no agent answers at 127.0.0.1:21021", 30 * time.Second},
	} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, lab := newSwitchboard(), newLab(t)
				o := process(t, lab, s)
				recorded := func(string) error {
					faults, err := reaper(lab, s).List()
					if err != nil || len(faults) != 1 || faults[0].Phase != Injecting || !o.reaped() {
						t.Errorf("while it is done: %+v, %v, reaper %v", faults, err, o.reaped())
					}
					return nil
				}
				s.hook(func(h *hooks) { h.onOff, h.onFreeze = recorded, recorded })
				begun := time.Now()
				f := mustInject(t, o, kind, "frontend02", 30*time.Second)
				if f.Evidence != want.evidence || f.Phase != InForce || f.String() != string(kind)+" frontend02" {
					t.Errorf("got %+v", f)
				}
				if left := f.Left(wall()); left != 30*time.Second {
					t.Errorf("%s are left", left)
				}
				for {
					faults, err := o.List()
					if err != nil {
						t.Fatal(err)
					}
					if len(faults) == 0 {
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				if took := time.Since(begun); took < want.over || took > want.over+time.Second {
					t.Errorf("over after %s", took)
				}
				if calls := strings.Join(s.said(), ", "); calls != want.calls {
					t.Errorf("calls: %s", calls)
				}
				nothingLeft(t, o)
			})
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind   Kind
		node   string
		lease  time.Duration
		before func(*testing.T, *PowerFaults, *switchboard)
		want   error
		says   string
	}{
		"kind":          {kind: "burn", want: ErrInvalid, says: `there is no fault "burn"`},
		"node":          {node: "nobody", want: ErrInvalid, says: "its nodes are frontend02, store, worker01"},
		"lease short":   {lease: time.Millisecond, want: ErrInvalid, says: "give one from 1s to 10m0s"},
		"lease long":    {lease: time.Hour, want: ErrInvalid, says: "give one from 1s to 10m0s"},
		"no machine":    {node: "worker01", want: ErrRefused, says: "worker01 has no machine"},
		"off":           {before: func(_ *testing.T, _ *PowerFaults, s *switchboard) { s.states["store"] = power.StateOff }, want: ErrRefused, says: "store is off already"},
		"unknown":       {before: func(_ *testing.T, _ *PowerFaults, s *switchboard) { s.states["store"] = power.StateUnknown }, want: ErrRefused, says: "could not tell whether its machine runs"},
		"another fault": {before: func(t *testing.T, o *PowerFaults, _ *switchboard) { mustInject(t, o, Freeze, "store", time.Minute) }, want: ErrRefused, says: "the fault freeze store is not over yet"},
		"no tool": {before: func(_ *testing.T, _ *PowerFaults, s *switchboard) {
			s.onState = func(string) (power.State, error) { return power.StateAbsent, errors.New("virsh is not installed") }
		}, want: ErrRefused, says: "virsh is not installed"},
		"lab up": {before: func(t *testing.T, o *PowerFaults, _ *switchboard) {
			release, err := lock.Lab(o.lab, "lab up")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(release)
		}, want: ErrRefused, says: "another command works on the lab of this clone: `lab up`"},
		"no reaper": {before: func(_ *testing.T, o *PowerFaults, _ *switchboard) {
			o.start = func() error { return errors.New("no process to be had") }
		}, want: ErrRefused, says: "start what is to end it: no process to be had"},
		"reaper dies": {before: func(_ *testing.T, o *PowerFaults, _ *switchboard) { o.start = func() error { return nil } }, want: ErrRefused, says: "has not started within 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSwitchboard()
				o := process(t, newLab(t), s)
				if tt.before != nil {
					tt.before(t, o, s)
				}
				before := s.said()
				kind, node, lease := tt.kind, tt.node, tt.lease
				if kind == "" {
					kind = PowerOff
				}
				if node == "" {
					node = "store"
				}
				if lease == 0 {
					lease = time.Minute
				}
				if _, err := o.Inject(t.Context(), kind, node, lease, "me"); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v", err)
				}
				if calls := s.said(); !slices.Equal(calls, before) {
					t.Errorf("and yet something was done: %v", calls)
				}
				s.hook(func(h *hooks) { h.onState = nil })
				if _, err := o.Heal(t.Context()); err != nil {
					t.Error(err)
				}
				nothingLeft(t, o)
			})
		})
	}
}

// TestUnseen: what is not seen is undone.
func TestUnseen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set  func(*switchboard)
		says string
	}{
		"fails": {func(s *switchboard) { s.onOff = func(string) error { return errors.New("permission denied") } }, "power-off store: permission denied"},
		"machine runs on": {func(s *switchboard) {
			s.onState = func(string) (power.State, error) { return power.StateRunning, nil }
			s.onAnswer = func(string) error { return nil }
		}, "injected, but no effect was observed: its machine is running"},
		"agent answers": {func(s *switchboard) { s.onAnswer = func(string) error { return nil } }, "its machine is off, and yet its agent answers"},
		"something answers": {func(s *switchboard) {
			first := true
			s.onAnswer = func(string) error {
				if s.state("store") == power.StateRunning && !first {
					return nil
				}
				first = false
				return &fleet.Error{Node: "store", Problem: fleet.ProblemTrust, Reason: "who are you"}
			}
		}, "something answers: store: who are you"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSwitchboard()
				o := process(t, newLab(t), s)
				tt.set(s)
				if _, err := o.Inject(t.Context(), PowerOff, "store", time.Minute, "me"); err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v", err)
				}
				if s.state("store") != power.StateRunning && s.onState == nil {
					t.Error("it was not undone")
				}
				nothingLeft(t, o)
			})
		})
	}
}

// TestCallerGoesAway: what has begun is brought to its end.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		o := process(t, newLab(t), s)
		ctx, cancel := context.WithCancel(t.Context())
		s.onOff = func(string) error { cancel(); return nil }
		if _, err := o.Inject(ctx, PowerOff, "store", time.Second, "me"); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		nothingLeft(t, o)
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		o := process(t, newLab(t), s)
		f := mustInject(t, o, Freeze, "store", 5*time.Second)
		for range 4 {
			time.Sleep(4 * time.Second)
			if _, err := o.Renew(f.ID, 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if s.state("store") != power.StatePaused {
			t.Error("it ended, though it was renewed")
		}
		if _, err := o.Renew(f.ID, time.Hour); !errors.Is(err, ErrInvalid) {
			t.Errorf("a lease too long: %v", err)
		}
		s.hook(func(h *hooks) { h.onThaw = func(string) error { time.Sleep(10 * time.Second); return nil } })
		time.Sleep(6 * time.Second)
		if _, err := o.Renew(f.ID, 5*time.Second); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "freeze store is ending") {
			t.Errorf("one that is ending: %v", err)
		}
		time.Sleep(10 * time.Second)
		for _, id := range []string{f.ID, "00000000", "../../etc"} {
			if _, err := o.Renew(id, 5*time.Second); !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: %v", id, err)
			}
		}
		nothingLeft(t, o)
	})
}

// TestHealOnce: however many end a fault, one does, and all wait for it.
func TestHealOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, lab := newSwitchboard(), newLab(t)
		o := process(t, lab, s)
		first := mustInject(t, o, PowerOff, "store", 10*time.Second)
		other := mustInject(t, o, Freeze, "frontend02", time.Minute)
		time.Sleep(10*time.Second - time.Millisecond)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				over, err := process(t, lab, s).Heal(t.Context(), first.ID)
				if err != nil || len(over) != 1 || over[0].Node != "store" {
					t.Errorf("%v, %v", over, err)
				}
				if err := s.answer(t.Context(), "store"); err != nil {
					t.Errorf("healed, and yet %v", err)
				}
			})
		}
		group.Wait()
		if over, err := o.Heal(t.Context()); err != nil || len(over) != 1 || over[0].ID != other.ID {
			t.Errorf("%v, %v", over, err)
		}
		if over, err := o.Heal(t.Context()); err != nil || len(over) != 0 {
			t.Errorf("again: %v, %v", over, err)
		}
		if calls := strings.Join(s.said(), ", "); calls != "off store, freeze frontend02, on store, thaw frontend02" {
			t.Errorf("calls: %s", calls)
		}
		nothingLeft(t, o)
	})
}

// TestTrouble: an end that fails is tried again, and says why meanwhile; who waits for it is told.
func TestTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		o := process(t, newLab(t), s)
		f := mustInject(t, o, PowerOff, "store", time.Second)
		fail := errors.New("no space left on device")
		s.hook(func(h *hooks) { h.onOn = func(string) error { return fail } })
		time.Sleep(5 * time.Second)
		faults, err := o.List()
		if err != nil || len(faults) != 1 || faults[0].Phase != Ending || faults[0].Trouble != fail.Error() || faults[0].Left(wall()) != 0 {
			t.Errorf("%+v, %v", faults, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if over, err := o.Heal(ctx, f.ID); len(over) != 0 || err == nil || !strings.Contains(err.Error(), "power-off store is not over yet: no space left on device") {
			t.Errorf("%v, %v", over, err)
		}
		s.hook(func(h *hooks) { h.onOn = nil })
		// Longer than the reaper tries in one go.
		time.Sleep(2 * time.Minute)
		nothingLeft(t, o)
		if s.state("store") != power.StateRunning {
			t.Error("it was given up")
		}
	})
}

// TestUnknownIsNotOver: a machine of which nobody can tell whether it runs is neither left to itself nor switched; its
// fault goes on until it can be told.
func TestUnknownIsNotOver(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(string) (power.State, error){
		"no state":  func(string) (power.State, error) { return power.StateUnknown, nil },
		"no answer": func(string) (power.State, error) { return power.StateUnknown, context.DeadlineExceeded },
	} {
		for _, kind := range Kinds() {
			t.Run(name+", "+string(kind), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newSwitchboard()
					o := process(t, newLab(t), s)
					f := mustInject(t, o, kind, "store", time.Second)
					s.hook(func(h *hooks) { h.onState = say })
					time.Sleep(5 * time.Minute)
					if faults, err := o.List(); err != nil || len(faults) != 1 || faults[0].ID != f.ID || faults[0].Trouble == "" {
						t.Errorf("%+v, %v", faults, err)
					}
					if calls := s.said(); len(calls) != 1 {
						t.Errorf("calls: %v", calls)
					}
					s.hook(func(h *hooks) { h.onState = nil })
					time.Sleep(2 * time.Minute)
					nothingLeft(t, o)
					if s.state("store") != power.StateRunning {
						t.Error("it was given up")
					}
				})
			})
		}
	}
}

// TestOthersHands: what somebody else did to the machine is not undone, and the fault is over.
func TestOthersHands(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind  Kind
		state power.State
	}{
		"switched on": {PowerOff, power.StateRunning},
		"removed":     {PowerOff, power.StateAbsent},
		"resumed":     {Freeze, power.StateRunning},
		"halted":      {Freeze, power.StateOff},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSwitchboard()
				o := process(t, newLab(t), s)
				mustInject(t, o, tt.kind, "store", time.Second)
				s.mu.Lock()
				s.states["store"] = tt.state
				s.mu.Unlock()
				time.Sleep(3 * time.Second)
				if calls := s.said(); len(calls) != 1 {
					t.Errorf("calls: %v", calls)
				}
				nothingLeft(t, o)
			})
		})
	}
}

// TestReplay: what a process that is gone has left is ended by the reaper that the next one starts.
func TestReplay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		record Fault
		// over is when it is, at the latest.
		over time.Duration
	}{
		"the injector died":   {Fault{Phase: Injecting, Deadline: time.Now().Add(time.Hour)}, 15 * time.Second},
		"the reaper died":     {Fault{Phase: InForce}, 15 * time.Second},
		"while it ended":      {Fault{Phase: Ending}, 5 * time.Second},
		"the host slept":      {Fault{Phase: InForce, Deadline: time.Unix(0, 0)}, 5 * time.Second},
		"the clock turned":    {Fault{Phase: InForce, Deadline: time.Now().Add(24 * 365 * time.Hour)}, 5 * time.Second},
		"before its deadline": {Fault{Phase: Injecting}, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, lab := newSwitchboard(), newLab(t)
				s.states["store"] = power.StateOff
				o := process(t, lab, s)
				r := tt.record
				r.ID, r.Kind, r.Node, r.Injected = newID(), PowerOff, "store", wall()
				if r.Deadline.IsZero() {
					r.Deadline = wall().Add(10 * time.Second)
				}
				if err := errors.Join(o.store.make(), o.store.put(r)); err != nil {
					t.Fatal(err)
				}
				started := 0
				start := o.start
				o.start = func() error { started++; return start() }
				for range 3 {
					if err := o.replay(); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				if started != 1 {
					t.Errorf("%d reapers were started", started)
				}
				time.Sleep(tt.over)
				if s.state("store") != power.StateRunning {
					t.Error("it was not ended")
				}
				nothingLeft(t, o)
				if err := o.replay(); err != nil || started != 1 {
					t.Errorf("a reaper is started for nothing: %v", err)
				}
			})
		})
	}
}

// TestLateBlow: what an injector that died has set going is waited for, also by the second reaper.
func TestLateBlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, lab := newSwitchboard(), newLab(t)
		o := process(t, lab, s)
		f := Fault{ID: newID(), Kind: PowerOff, Node: "store", Phase: Injecting, Injected: wall(), Deadline: wall().Add(time.Minute)}
		if err := errors.Join(o.store.make(), o.store.put(f)); err != nil {
			t.Fatal(err)
		}
		killed, kill := context.WithCancel(t.Context())
		go func() { _ = reaper(lab, s).Reap(killed) }()
		time.Sleep(time.Second)
		kill()
		synctest.Wait()
		if err := o.replay(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := s.Off(t.Context(), "store"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if calls := strings.Join(s.said(), ", "); calls != "off store, on store" {
			t.Errorf("calls: %s", calls)
		}
		nothingLeft(t, o)
	})
}

// TestDown: a fault that is ending when its lab goes does not come back.
func TestDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, lab := newSwitchboard(), newLab(t)
		o := process(t, lab, s)
		mustInject(t, o, PowerOff, "store", time.Second)
		s.hook(func(h *hooks) { h.onOn = func(string) error { return errors.New("no such container") } })
		time.Sleep(5 * time.Second)
		if err := Forget(lab); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		nothingLeft(t, o)
		if err := Forget(lab); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	o := reaper(newLab(t), newSwitchboard())
	good := Fault{ID: "0123abcd", Kind: Freeze, Node: "store", Phase: InForce}
	if err := errors.Join(o.store.make(), o.store.put(good), os.WriteFile(o.store.path("ffffffff"), []byte(`{"id":"ff`), 0o600),
		os.WriteFile(o.store.path("eeeeeeee"), []byte(`{"id":"0123abcd","kind":"freeze","node":"store","phase":"ending"}`), 0o600),
		os.WriteFile(filepath.Join(o.store.dir, "notes.json"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		faults, err := o.List()
		if err != nil || len(faults) != 1 || faults[0] != good {
			t.Errorf("%+v, %v", faults, err)
		}
	}
	for _, id := range []string{"ffffffff", "eeeeeeee"} {
		if _, err := os.Stat(o.store.path(id) + damagedSuffix); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, seed := range []string{
		`{"id":"cefc95a1","kind":"power-off","node":"frontend02","holder":"me@here","injected_at":"2026-11-21T22:10:54.98Z","deadline":"2026-11-21T22:11:15.63Z","phase":"in-force","evidence":"seen"}`,
		`{"id":"cefc95a1","kind":"freeze","node":"store","phase":"ending","trouble":"no"}`,
		`{"id":"../../x","kind":"freeze","node":"store","phase":"ending"}`,
		`{"id":"cefc95a1","kind":"burn","node":"store","phase":"injecting"}`, `{}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := parseRecord(content)
		if err != nil {
			return
		}
		s := store{t.TempDir()}
		if filepath.Dir(s.path(r.ID)) != s.dir {
			t.Fatalf("%q leads out of the folder", r.ID)
		}
		if err := s.put(r); err != nil {
			t.Skip(err) // a year beyond 9999
		}
		again, err := s.get(r.ID)
		if err != nil || !again.Deadline.Equal(r.Deadline) || !again.Injected.Equal(r.Injected) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
		again.Deadline, again.Injected = r.Deadline, r.Injected
		if again != r {
			t.Fatalf("%+v became %+v", r, again)
		}
	})
}

// A log is put aside when it is large and a reaper is about to write a new one, in the place of the one before it.
func TestStartLog(t *testing.T) {
	lab := &settings.Lab{Dir: t.TempDir()}
	path := lab.Path("reap.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	start := func() {
		t.Helper()
		log, err := StartLog(lab)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %.20q (%d bytes), %v; want %.20q (%d bytes)", filepath.Base(path), got, len(got), err, want, len(want))
		}
	}
	start()
	holds(path, "")
	small := strings.Repeat("a", maxLog-1)
	if _, err := logOf(lab).Write([]byte(small)); err != nil {
		t.Fatal(err)
	}
	start()
	holds(path, small)
	for _, last := range []string{"b", "c"} {
		large := strings.Repeat(last, maxLog)
		if err := os.WriteFile(path, []byte(large), 0o600); err != nil {
			t.Fatal(err)
		}
		start()
		holds(path, "")
		holds(path+".1", large)
	}
}
