// Package fault breaks things on a node, for a while.
//
// A fault is a lease. What it takes to end it, and the moment at which it ends at the latest, are on disk before anything is broken; who
// injected it may renew it, and when nobody does, it ends. [Keeper] owns the leases of a node: it injects, renews and ends, takes up where
// an agent before it left off, and believes neither that a fault is in force nor that it is over before it has looked.
//
// Ending has two parts. What the fault did to the host (a paused container, a stopped engine, dropped packets, a full disk) is undone here,
// as often as it takes. A container that was stopped, removed or disconnected comes back by the reconcile loop, which leaves it alone while
// the fault is in force ([Keeper.Held]) and has the better means. The lease is gone only once the effect is.
//
// Where the agent itself is gone, `labagent reap`, a process of its own that systemd runs as long as there are records, calls [Keeper.Reap].
//
// The package must not know plans, roles or gRPC.
package fault

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
)

// Errors of Keeper's methods. What is refused has changed nothing.
var (
	// ErrInvalid: no node could do this.
	ErrInvalid = errors.New("invalid")
	// ErrRefused: it cannot be done on this node, or not now.
	ErrRefused = errors.New("refused")
	// ErrUnknown: there is no such fault, or not any more.
	ErrUnknown = errors.New("no such fault")
)

// Spec is what to break.
type Spec struct {
	Kind faultkind.Kind `json:"kind"`
	// Container by name, for the kinds that break one.
	Container string `json:"container,omitempty"`
	// Peers of a partition.
	Peers []Peer `json:"peers,omitempty"`
	faultkind.Strength
}

// Peer is another node.
type Peer struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}

// Check tells what is wrong with a spec: an ErrInvalid.
func (s Spec) Check() error {
	switch {
	case !s.Kind.Known():
		return fmt.Errorf("%w: there is no fault %q", ErrInvalid, s.Kind)
	case s.Kind.OfContainer() && s.Container == "":
		return fmt.Errorf("%w: %s which container? None is named", ErrInvalid, s.Kind)
	case !s.Kind.OfContainer() && s.Container != "":
		return fmt.Errorf("%w: %s is not of a container, and %s is named", ErrInvalid, s.Kind, s.Container)
	case s.Kind == faultkind.Partition && len(s.Peers) == 0:
		return fmt.Errorf("%w: a partition needs at least one peer", ErrInvalid)
	case s.Kind != faultkind.Partition && len(s.Peers) > 0:
		return fmt.Errorf("%w: %s knows no peers", ErrInvalid, s.Kind)
	}
	seen := map[string]bool{}
	for _, p := range s.Peers {
		if !p.Address.Is4() || p.Name == "" || seen[p.Name] {
			return fmt.Errorf("%w: peer %q at %v is nobody, or there twice", ErrInvalid, p.Name, p.Address)
		}
		seen[p.Name] = true
	}
	if err := s.Strength.Check(s.Kind); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (s Spec) String() string {
	var peers []string
	for _, p := range s.Peers {
		peers = append(peers, p.Name)
	}
	return faultkind.Text(s.Kind, s.Container, peers, s.Strength)
}

// CheckLease tells what is wrong with the length of a lease: an ErrInvalid.
func CheckLease(length time.Duration) error {
	if err := faultkind.CheckLease(length); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

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

// Record is a fault as it lies on disk.
type Record struct {
	ID   string `json:"id"`
	Spec Spec   `json:"fault"`
	// Holder is who injected it, for people.
	Holder string `json:"holder"`
	// Injected is by the node's clock, for people.
	Injected time.Time `json:"injected_at"`
	Deadline Instant   `json:"deadline"`
	Phase    Phase     `json:"phase"`
	// Before is what the target was before; ending and looking take it.
	Before Before `json:"before"`
	// Evidence is how the fault was seen, in words.
	Evidence string `json:"evidence,omitempty"`
}

// Before is what a target was before the fault.
type Before struct {
	// ID of the container.
	ID string `json:"id,omitempty"`
	// PID of the container's first process, or of the engine.
	PID int `json:"pid,omitempty"`
	// Began tells that process from a later one with its PID: when it began, in the kernel's ticks since boot. Of faults of links.
	Began uint64 `json:"began,omitempty"`
	// Folder of the data, of a fault that fills their disk.
	Folder string `json:"folder,omitempty"`
	// Clock as it was, of a fault that sets it.
	Clock Reading `json:"clock,omitzero"`
}

// Fault is what others are told of a record.
type Fault struct {
	Record
	// Left of the lease; 0 for one that is ending.
	Left time.Duration
	// Trouble is why it has not ended yet.
	Trouble error
}
