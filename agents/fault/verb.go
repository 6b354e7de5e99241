package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/agents/engine"
)

// Engine is the node's Docker engine; see [engine.Engine].
type Engine interface {
	Ping(ctx context.Context) error
	Container(ctx context.Context, id string) (engine.Container, error)
	Signal(ctx context.Context, id, signal string) error
	Stop(ctx context.Context, id string) error
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	RemoveVolume(ctx context.Context, name string) error
	Disconnect(ctx context.Context, id, network string) error
	VolumeFolder(ctx context.Context, name string) (string, error)
}

// Units are the services of the node's operating system.
type Units interface {
	// Stop returns when the units are stopped, in this order.
	Stop(ctx context.Context, units ...string) error
	// Start returns when the units are started, in this order; one that runs is left alone.
	Start(ctx context.Context, units ...string) error
	// Kill ends a unit's main process by SIGKILL.
	Kill(ctx context.Context, unit string) error
	// MainPID is the process id of a running unit; 0 for one that does not run.
	MainPID(ctx context.Context, unit string) (int, error)
}

// Filter drops packets.
type Filter interface {
	// Block drops what comes from or goes to the peers, but for TCP from or to the spared port. A cut of that name is replaced.
	Block(ctx context.Context, name string, peers []netip.Addr, spared uint16) error
	// Restore removes a cut; none of that name is fine.
	Unblock(ctx context.Context, name string) error
	// Try sends a peer a packet, which a cut drops.
	Try(ctx context.Context, peer netip.Addr) error
	// Dropped is how many packets a cut has dropped so far; -1: there is no such cut.
	Dropped(ctx context.Context, name string) (int64, error)
	// Blocked are the names of all cuts.
	Blocked(ctx context.Context) ([]string, error)
}

// verb is how one kind of fault is done. All of it may be called again.
type verb interface {
	// prepare refuses what cannot be done now. It changes nothing.
	prepare(ctx context.Context, s Spec) (Before, error)
	inject(ctx context.Context, r Record) error
	// observe looks, and says in words by what it sees that the fault happened; an error while it sees nothing.
	observe(ctx context.Context, r Record) (string, error)
	// revert ends what the reconcile loop would not.
	revert(ctx context.Context, r Record) error
	// verifyReverted looks whether the effect is gone; an error says what is left.
	verifyReverted(ctx context.Context, r Record) error
}

// OS are those of the node's operating system.
type OS struct {
	Units  Units
	Filter Filter
	Links  Links
	Disk   Disk
	Clock  Clock
	// Patience is what the search for evidence of a fault may take, and each answer of a container to an OffsetClock; 0 means 20 s and 2 s.
	Patience time.Duration
}

// Deps are what faults touch on a node.
type Deps struct {
	OS
	Engine Engine
	// Network is the lab's overlay.
	Network string
	// EngineUnits in the order in which they are stopped: what would start the engine again comes first. The last is the engine.
	EngineUnits []string
	// AgentPort is that of all agents, which no partition cuts off.
	AgentPort uint16
	// Own tells, before it is done, that the agent itself is about to stop a container.
	Own func(id string) error
	// Wanted reports whether the reconcile loop will bring a container back, faults apart.
	Wanted func(container string) bool
	// Renewable reports whether the data of a container are made anew by others when they are lost.
	Renewable func(container string) bool
}

// engineSays is how long the engine may take to say how a container is.
const engineSays = time.Second

func (p *Deps) verb(k faultkind.Kind) verb {
	switch k {
	case faultkind.Kill:
		return kill{container{p}}
	case faultkind.Stop:
		return stop{container{p}}
	case faultkind.Pause:
		return pause{container{p}}
	case faultkind.Remove:
		return remove{container{p}}
	case faultkind.Wipe:
		return wipe{container{p}}
	case faultkind.Disconnect:
		return disconnect{container{p}}
	case faultkind.Delay, faultkind.Loss, faultkind.Bandwidth:
		return link{container{p}}
	case faultkind.Fill:
		return fill{container{p}}
	case faultkind.EngineStop:
		return engineStop{p}
	case faultkind.EngineKill:
		return engineKill{p}
	case faultkind.Partition:
		return partition{p}
	case faultkind.Skew:
		return skew{p}
	}
	return nil
}

// container is what all faults of containers have in common.
type container struct{ *Deps }

func (c container) prepare(ctx context.Context, s Spec) (Before, error) {
	if !c.Wanted(s.Container) {
		return Before{}, fmt.Errorf("%w: %s is not a container that this node would bring back", ErrRefused, s.Container)
	}
	have, err := c.Engine.Container(ctx, s.Container)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return Before{}, fmt.Errorf("%w: there is no container %s now", ErrRefused, s.Container)
	case err != nil:
		return Before{}, err
	case have.State != engine.StateRunning:
		return Before{}, fmt.Errorf("%w: %s does not run: it is %s", ErrRefused, s.Container, have.State)
	}
	return Before{ID: have.ID, PID: have.PID}, nil
}

// observe holds for all that end the container's process.
func (c container) observe(ctx context.Context, r Record) (string, error) {
	have, err := c.Engine.Container(ctx, r.Before.ID)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return fmt.Sprintf("the container is gone, its process %d with it", r.Before.PID), nil
	case err != nil:
		return "", err
	case have.PID == r.Before.PID:
		return "", fmt.Errorf("%s still has the process %d", r.Spec.Container, r.Before.PID)
	case have.PID != 0:
		return fmt.Sprintf("process %d ended, and process %d runs instead", r.Before.PID, have.PID), nil
	}
	return fmt.Sprintf("process %d ended with exit code %d", r.Before.PID, have.ExitCode), nil
}

func (c container) revert(context.Context, Record) error { return nil }

func (c container) verifyReverted(ctx context.Context, r Record) error {
	if !c.Wanted(r.Spec.Container) {
		return nil // somebody has other plans for it meanwhile
	}
	have, err := c.Engine.Container(ctx, r.Spec.Container)
	switch {
	case err != nil:
		return err
	case have.State != engine.StateRunning:
		return fmt.Errorf("%s is %s", r.Spec.Container, have.State)
	case have.PID == r.Before.PID && have.ID == r.Before.ID && r.Spec.Kind == faultkind.Kill:
		return fmt.Errorf("%s still has the process %d", r.Spec.Container, r.Before.PID)
	}
	for _, n := range have.Spec.Networks {
		if n.Network == c.Network && have.Endpoints[n.Network].Address == "" {
			return fmt.Errorf("%s is not on network %s", r.Spec.Container, c.Network)
		}
	}
	return nil
}

type kill struct{ container }

func (k kill) inject(ctx context.Context, r Record) error {
	return k.Engine.Signal(ctx, r.Before.ID, "KILL")
}

// observe asks the kernel where the engine is silent: it says nothing of a container that it is about to start again, and that takes as long as
// the swarm's manager is away.
func (k kill) observe(ctx context.Context, r Record) (string, error) {
	once, cancel := context.WithTimeout(ctx, engineSays)
	defer cancel()
	evidence, err := k.container.observe(once, r)
	if once.Err() == nil {
		return evidence, err
	}
	if _, gone := k.Links.Began(r.Before.PID); !errors.Is(gone, fs.ErrNotExist) {
		return "", fmt.Errorf("process %d is still there: %w", r.Before.PID, cmp.Or(gone, err))
	}
	return fmt.Sprintf("process %d ended", r.Before.PID), nil
}

type stop struct{ container }

func (s stop) inject(ctx context.Context, r Record) error {
	if err := s.Own(r.Before.ID); err != nil {
		return err
	}
	return s.Engine.Stop(ctx, r.Before.ID)
}

type remove struct{ container }

func (v remove) inject(ctx context.Context, r Record) error {
	if err := v.Own(r.Before.ID); err != nil {
		return err
	}
	return v.Engine.Remove(ctx, r.Before.ID)
}

// wipe removes the container with its data.
type wipe struct{ container }

func (v wipe) prepare(ctx context.Context, s Spec) (Before, error) {
	if !v.Renewable(s.Container) {
		return Before{}, fmt.Errorf("%w: nobody could make the data of %s anew: votes would be lost", ErrRefused, s.Container)
	}
	return v.container.prepare(ctx, s)
}

func (v wipe) inject(ctx context.Context, r Record) error {
	have, err := v.Engine.Container(ctx, r.Before.ID)
	if err != nil {
		return err
	}
	if err := remove(v).inject(ctx, r); err != nil {
		return err
	}
	for _, m := range have.Spec.Mounts {
		if m.Volume == "" {
			continue
		}
		if err := v.Engine.RemoveVolume(ctx, m.Volume); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
	}
	return nil
}

type pause struct{ container }

func (p pause) inject(ctx context.Context, r Record) error { return p.Engine.Pause(ctx, r.Before.ID) }

func (p pause) observe(ctx context.Context, r Record) (string, error) {
	have, err := p.Engine.Container(ctx, r.Before.ID)
	if err != nil {
		return "", err
	}
	if have.State != engine.StatePaused {
		return "", fmt.Errorf("%s is %s", r.Spec.Container, have.State)
	}
	return fmt.Sprintf("the engine says that process %d is frozen", r.Before.PID), nil
}

func (p pause) revert(ctx context.Context, r Record) error {
	have, err := p.Engine.Container(ctx, r.Before.ID)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err != nil || have.State != engine.StatePaused {
		return err
	}
	return p.Engine.Unpause(ctx, r.Before.ID)
}

type disconnect struct{ container }

func (d disconnect) prepare(ctx context.Context, s Spec) (Before, error) {
	before, err := d.container.prepare(ctx, s)
	if err != nil {
		return before, err
	}
	have, err := d.Engine.Container(ctx, before.ID)
	if err != nil {
		return before, err
	}
	if have.Endpoints[d.Network].Address == "" {
		return before, fmt.Errorf("%w: %s is not on network %s", ErrRefused, s.Container, d.Network)
	}
	return before, nil
}

func (d disconnect) inject(ctx context.Context, r Record) error {
	return d.Engine.Disconnect(ctx, r.Before.ID, d.Network)
}

func (d disconnect) observe(ctx context.Context, r Record) (string, error) {
	have, err := d.Engine.Container(ctx, r.Before.ID)
	if err != nil {
		return "", err
	}
	if address := have.Endpoints[d.Network].Address; address != "" {
		return "", fmt.Errorf("%s is on network %s, with the address %s", r.Spec.Container, d.Network, address)
	}
	return "it has no address on network " + d.Network, nil
}

type engineStop struct{ *Deps }

func (e engineStop) unit() string { return e.EngineUnits[len(e.EngineUnits)-1] }

func (e engineStop) prepare(ctx context.Context, _ Spec) (Before, error) {
	pid, err := e.Units.MainPID(ctx, e.unit())
	if err == nil && pid == 0 {
		err = fmt.Errorf("%w: the engine does not run", ErrRefused)
	}
	return Before{PID: pid}, err
}

func (e engineStop) inject(ctx context.Context, _ Record) error {
	return e.Units.Stop(ctx, e.EngineUnits...)
}

func (e engineStop) observe(ctx context.Context, r Record) (string, error) {
	pid, err := e.Units.MainPID(ctx, e.unit())
	switch {
	case err != nil:
		return "", err
	case pid != 0:
		return "", fmt.Errorf("the engine runs, as process %d", pid)
	case e.Engine.Ping(ctx) == nil:
		return "", errors.New("the engine answers")
	}
	return fmt.Sprintf("process %d ended, and no engine answers", r.Before.PID), nil
}

func (e engineStop) revert(ctx context.Context, _ Record) error {
	return e.Units.Start(ctx, e.EngineUnits...)
}

func (e engineStop) verifyReverted(ctx context.Context, _ Record) error { return e.Engine.Ping(ctx) }

type engineKill struct{ *Deps }

func (e engineKill) prepare(ctx context.Context, s Spec) (Before, error) {
	return engineStop(e).prepare(ctx, s)
}

func (e engineKill) inject(ctx context.Context, _ Record) error {
	return e.Units.Kill(ctx, engineStop(e).unit())
}

func (e engineKill) observe(ctx context.Context, r Record) (string, error) {
	pid, err := e.Units.MainPID(ctx, engineStop(e).unit())
	if err == nil && pid == r.Before.PID {
		err = fmt.Errorf("the engine still is process %d", pid)
	}
	return fmt.Sprintf("process %d ended", r.Before.PID), err
}

// revert leaves the start to systemd, which waits for as long as the engine's unit demands.
func (e engineKill) revert(context.Context, Record) error { return nil }

func (e engineKill) verifyReverted(ctx context.Context, _ Record) error { return e.Engine.Ping(ctx) }

type partition struct{ *Deps }

func (p partition) prepare(ctx context.Context, _ Spec) (Before, error) {
	if _, err := p.Filter.Blocked(ctx); err != nil {
		return Before{}, fmt.Errorf("%w: packets cannot be dropped here: %w", ErrRefused, err)
	}
	return Before{}, nil
}

func (p partition) inject(ctx context.Context, r Record) error {
	var peers []netip.Addr
	for _, peer := range r.Spec.Peers {
		peers = append(peers, peer.Address)
	}
	return p.Filter.Block(ctx, r.ID, peers, p.AgentPort)
}

// observe sends each peer a packet, which is dropped and counted.
func (p partition) observe(ctx context.Context, r Record) (string, error) {
	for _, peer := range r.Spec.Peers {
		if err := p.Filter.Try(ctx, peer.Address); err != nil {
			return "", fmt.Errorf("send %s a packet: %w", peer.Name, err)
		}
	}
	dropped, err := p.Filter.Dropped(ctx, r.ID)
	if err == nil && dropped < int64(len(r.Spec.Peers)) {
		err = errors.New("no packets are dropped")
	}
	return fmt.Sprintf("%d packets were dropped so far", dropped), err
}

func (p partition) revert(ctx context.Context, r Record) error { return p.Filter.Unblock(ctx, r.ID) }

func (p partition) verifyReverted(ctx context.Context, r Record) error {
	dropped, err := p.Filter.Dropped(ctx, r.ID)
	if err == nil && dropped >= 0 {
		err = errors.New("packets are still dropped")
	}
	return err
}
