// Package powerfault takes the power from nodes, or freezes them, for a while.
//
// These faults are the host's: the agent of a node without power ends nothing. Like an agent's they are leases. A record with the deadline is
// on the host's disk before anything is done; who injected renews it; when nobody does, a reaper ends the fault: a process of its own, one
// for each lab, which neither a killed command nor a closed terminal takes along ([PowerFaults.Reap]). Should the reaper be killed, or the host
// restart, the next lab command starts another ([Open]).
//
// A fault is not believed to be in force before the machine's provider says so and the node's agent is silent, nor to be over before the machine
// runs and the agent answers; its record stays until then. Whoever does something to a fault holds the lock of its record, so that only one does:
// the reaper, `lab heal`, a drill.
//
// Deadlines are by the wall clock, other than those of the agents. No drill sets the host's clock, every system has it, and it goes on while a
// laptop sleeps, so that what ran out meanwhile ends on waking; Linux's CLOCK_BOOTTIME does that too, but macOS has none. A clock that is set back
// does not prolong a lease beyond the longest one.
//
// The package must not know what drills are, nor how a lab is brought up.
package powerfault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// Kind says what is done to a node.
type Kind string

// The kinds.
const (
	// PowerOff takes the node's power without a goodbye; its end gives it back.
	PowerOff Kind = "power-off"
	// Freeze stops the whole node where it stands: it neither answers nor hangs up.
	Freeze Kind = "freeze"
)

// Kinds returns all kinds, in the order in which people are told of them.
func Kinds() []Kind { return []Kind{PowerOff, Freeze} }

// Does says what becomes of the node.
func (k Kind) Does() string {
	if k == PowerOff {
		return "the plug is pulled: nothing on it gets to say goodbye"
	}
	return "frozen as a whole: it neither answers nor hangs up"
}

// leaves is the state in which the fault leaves a machine.
func (k Kind) leaves() power.State {
	if k == Freeze {
		return power.StatePaused
	}
	return power.StateOff
}

// Errors of the methods. What is refused has changed nothing.
var (
	// ErrInvalid: no lab could do this.
	ErrInvalid = errors.New("invalid")
	// ErrRefused: it cannot be done on this lab, or not now.
	ErrRefused = errors.New("refused")
	// ErrUnknown: there is no such fault, or not any more.
	ErrUnknown = errors.New("no such fault")
)

// Phase is where a fault stands.
type Phase string

// The phases.
const (
	// Injecting: the record is written; the fault may be in force or not.
	Injecting Phase = "injecting"
	// InForce: it was injected, and seen.
	InForce Phase = "in-force"
	// Ending: it is being undone, or its effect is not gone yet.
	Ending Phase = "ending"
)

// Fault is a fault that is not over, as it lies on disk.
type Fault struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	Node string `json:"node"`
	// Holder is who injected it, for people.
	Holder   string    `json:"holder"`
	Injected time.Time `json:"injected_at"`
	Deadline time.Time `json:"deadline"`
	Phase    Phase     `json:"phase"`
	// Evidence is how the fault was seen, in words.
	Evidence string `json:"evidence,omitempty"`
	// Trouble is why it has not ended yet.
	Trouble string `json:"trouble,omitempty"`
}

func (f Fault) String() string { return string(f.Kind) + " " + f.Node }

// Left of the lease; 0 for a fault that is ending.
func (f Fault) Left(now time.Time) time.Duration {
	if f.Phase == Ending {
		return 0
	}
	return max(f.Deadline.Sub(now), 0)
}

// due reports whether a fault is to be ended by whoever has its lock. One that is still being injected then has lost its injector.
func (f Fault) due(now time.Time) bool {
	left := f.Left(now)
	// The clock was set back: no lease is that long.
	turned := left > faultkind.MaxLease
	return f.Phase != InForce || left == 0 || turned
}

// PowerFaults are the power faults of a lab. Safe for concurrent use, also by several processes.
type PowerFaults struct {
	lab   *settings.Lab
	power power.Switch
	// answers asks a node's agent whether it is there.
	answers func(ctx context.Context, node string) error
	// start starts the reaper's process.
	start func() error
	store store
	log   *slog.Logger
	times times
}

// times are the limits of what depends on the provider.
type times struct {
	// inject bounds an injection with its undoing.
	inject time.Duration
	// seen bounds the search for evidence of a fault.
	seen time.Duration
	// end bounds how long somebody waits for an end; the reaper tries on.
	end time.Duration
	// late is for how long a command that was given before the one who gave it died may still strike.
	late time.Duration
	// answer bounds how long the agent of a machine that runs may take until it answers, before the machine is looked at again.
	answer time.Duration
}

// Open returns the power faults of a lab. If there are some that nobody takes care of, it starts the reaper. start starts a process, detached
// from this one, that calls Reap; nil: this is the process.
func Open(lab *settings.Lab, start func() error) (*PowerFaults, error) {
	output := logOf(lab)
	o := &PowerFaults{
		lab: lab, power: power.NewSwitch(lab, output), start: start, store: store{lab.FaultDir()},
		log:   slog.New(slog.NewTextHandler(output, nil)),
		times: times{inject: 10 * time.Minute, seen: 2 * time.Minute, end: 20 * time.Minute, late: time.Minute, answer: 10 * time.Minute},
	}
	if lab.Provider == settings.ProviderDocker {
		o.times = times{inject: 3 * time.Minute, seen: time.Minute, end: 3 * time.Minute, late: 5 * time.Second, answer: time.Minute}
	}
	o.answers = o.ask
	return o, o.replay()
}

// replay starts the reaper if there is something to end and nobody to do it.
func (o *PowerFaults) replay() error {
	faults, err := o.List()
	if err != nil || len(faults) == 0 || o.start == nil || o.reaped() {
		return err
	}
	if err := o.start(); err != nil {
		return fmt.Errorf("start what ends power faults: %w", err)
	}
	return nil
}

// ask asks over a connection of its own: one that was there before the fault would first have to notice it.
func (o *PowerFaults) ask(ctx context.Context, node string) error {
	f, err := fleet.Connect(o.lab, fleet.Observe)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only asked
	return f.Answers(ctx, node)
}

// List returns the faults that are not over, the oldest first.
func (o *PowerFaults) List() ([]Fault, error) {
	faults, damaged, err := o.store.all()
	for _, name := range damaged {
		o.log.Error("the record of a fault is damaged, and set aside", "file", name)
	}
	slices.SortFunc(faults, func(a, b Fault) int { return a.Injected.Compare(b.Injected) })
	return faults, err
}

// Forget drops all records of a lab whose machines are gone.
func Forget(lab *settings.Lab) error {
	if err := os.RemoveAll(lab.FaultDir()); err != nil {
		return fmt.Errorf("forget the power faults: %w", err)
	}
	return nil
}

// CheckLease tells what is wrong with the length of a lease: an ErrInvalid.
func CheckLease(length time.Duration) error {
	if err := faultkind.CheckLease(length); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// renewPatience is how long a renewal waits for whoever holds the fault: an injection that is about to be through, or an end that is not.
const renewPatience = 2 * time.Second

// Renew lets a fault last for so long from now on. One that is ending cannot be renewed: ErrRefused.
func (o *PowerFaults) Renew(id string, lease time.Duration) (Fault, error) {
	if err := CheckLease(lease); err != nil {
		return Fault{}, err
	}
	f, err := o.store.get(id)
	if err != nil {
		return Fault{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewPatience)
	defer cancel()
	held, err := lock.Wait(ctx, o.store.lock(id))
	if errors.Is(err, lock.ErrHeld) {
		return Fault{}, fmt.Errorf("%w: the fault %s is %s", ErrRefused, f, Ending)
	}
	if err != nil {
		return Fault{}, err
	}
	defer held.Release()
	if f, err = o.store.get(id); err != nil {
		if errors.Is(err, ErrUnknown) {
			held.Remove()
		}
		return Fault{}, err
	}
	now := wall()
	if f.due(now) {
		return Fault{}, fmt.Errorf("%w: the fault %s is %s", ErrRefused, f, Ending)
	}
	f.Deadline = now.Add(lease)
	return f, o.store.put(f)
}

// wall is the present moment by the wall clock alone, as it is read from disk.
func wall() time.Time { return time.Now().Round(0) }

// logFile is appended to by several processes, a line or a tool's output at a time.
type logFile string

func logOf(lab *settings.Lab) logFile { return logFile(lab.Path("reap.log")) }

func (l logFile) open() (*os.File, error) {
	f, err := os.OpenFile(string(l), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep a log: %w", err)
	}
	return f, nil
}

func (l logFile) Write(p []byte) (int, error) {
	f, err := l.open()
	if err != nil {
		return 0, err
	}
	n, err := f.Write(p)
	return n, errors.Join(err, f.Close())
}

// maxLog is the size in bytes from which on a log is put aside.
const maxLog = 1 << 20

// StartLog opens the log for a reaper that is about to be started. A large one becomes reap.log.1, in the place of the one before.
func StartLog(lab *settings.Lab) (*os.File, error) {
	log := logOf(lab)
	if info, err := os.Stat(string(log)); err == nil && info.Size() >= maxLog {
		// Somebody else may just have done it, and a log that grows is no reason to leave a fault without its end.
		_ = os.Rename(string(log), string(log)+".1")
	}
	return log.open()
}
