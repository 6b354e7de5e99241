package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
)

// Containers is what Actions does to containers; see [engine.Engine] for each.
type Containers interface {
	Create(ctx context.Context, spec engine.Spec) (string, error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Signal(ctx context.Context, id, signal string) error
}

// Networks is what Actions does to networks and volumes.
type Networks interface {
	CreateOverlay(ctx context.Context, name, mtu string, labels map[string]string) error
	Connect(ctx context.Context, id string, to engine.Attachment) error
	Disconnect(ctx context.Context, id, from string) error
	CreateVolume(ctx context.Context, name string, labels map[string]string) error
}

// Swarm is what Actions does to the swarm.
type Swarm interface {
	InitSwarm(ctx context.Context, in engine.SwarmInit) error
	JoinSwarm(ctx context.Context, in engine.SwarmJoin) error
	LeaveSwarm(ctx context.Context) error
	RemoveMember(ctx context.Context, id string) error
}

// Images provides the images of containers.
type Images interface {
	// Provide brings a stock image into the engine.
	Provide(ctx context.Context, ref string) error
	// Build builds an image from a folder below the app directory and labels it with the folder's hash.
	Build(ctx context.Context, ref, folder string, labels map[string]string) error
}

// Invitation gets what a worker must show to join, from the manager's agent.
type Invitation interface {
	Join(ctx context.Context) (engine.SwarmJoin, error)
}

// Stopper is told before the agent itself stops a container, so that this does not count as a hand's stop.
type Stopper interface {
	Own(id string) error
}

// Actions does single steps.
type Actions struct {
	Containers Containers
	Networks   Networks
	Swarm      Swarm
	Images     Images
	Invitation Invitation
	Stopper    Stopper
	Files      Files
	// Init is how the manager founds the swarm.
	Init engine.SwarmInit
	// MTU of overlays as text; empty: the driver's default.
	MTU string
	// Labels of what the agent creates: volumes, networks, images.
	Labels map[string]string
}

// A start that joins an overlay may hang for half a minute and still succeed; everything else is quick or broken.
const (
	imageTimeout = 15 * time.Minute
	stopGrace    = 20 * time.Second
)

var (
	startTimeout   = timescale.Scale(40 * time.Second)
	defaultTimeout = timescale.Scale(30 * time.Second)
	swarmTimeout   = timescale.Scale(45 * time.Second)
)

// attachAttempts is after how many failed attempts to attach a running container it is made anew instead.
const attachAttempts = 2

// Apply does one step. attempt counts from 0.
func (a *Actions) Apply(ctx context.Context, step Step, attempt int) error {
	ctx, cancel := context.WithTimeout(ctx, timeout(step))
	defer cancel()
	switch step.Kind {
	case InitSwarm:
		return a.Swarm.InitSwarm(ctx, a.Init)
	case JoinSwarm:
		in, err := a.Invitation.Join(ctx)
		if err != nil {
			return err
		}
		return a.Swarm.JoinSwarm(ctx, in)
	case LeaveSwarm:
		return a.Swarm.LeaveSwarm(ctx)
	case ForgetMember:
		return a.Swarm.RemoveMember(ctx, step.ID)
	case CreateNetwork:
		err := a.Networks.CreateOverlay(ctx, step.Subject, a.MTU, a.Labels)
		if errors.Is(err, engine.ErrConflict) {
			return nil // another hand was quicker
		}
		return err
	case ProvideImage:
		return a.Images.Provide(ctx, step.Subject)
	case BuildImage:
		return a.Images.Build(ctx, step.Subject, step.Container.Build, a.Labels)
	case CreateContainer:
		return a.create(ctx, step.Container)
	case StartContainer:
		return a.start(ctx, step)
	case ReplaceContainer:
		return a.replace(ctx, step)
	case ReloadContainer:
		return a.reload(ctx, step)
	case AttachContainer:
		return a.attach(ctx, step, attempt)
	}
	return fmt.Errorf("%s: nobody can do this", step)
}

func timeout(step Step) time.Duration {
	switch step.Kind {
	case InitSwarm, JoinSwarm, LeaveSwarm:
		return swarmTimeout
	case ProvideImage, BuildImage:
		return imageTimeout
	case StartContainer:
		return startTimeout
	case ReplaceContainer:
		return defaultTimeout + step.Container.Spec.StopTimeout
	case AttachContainer:
		return startTimeout + step.Container.Spec.StopTimeout
	}
	return defaultTimeout
}

func (a *Actions) create(ctx context.Context, c *Container) error {
	if err := a.Files.Write(c); err != nil {
		return err
	}
	for _, m := range c.Spec.Mounts {
		if m.Volume == "" {
			continue
		}
		// The engine would create it too, but without the labels by which a reset finds it.
		if err := a.Networks.CreateVolume(ctx, m.Volume, a.Labels); err != nil {
			return err
		}
	}
	id, err := a.Containers.Create(ctx, c.Spec)
	if err != nil && id != "" {
		// Half made: it has its name but not all of its networks.
		return errors.Join(err, a.Containers.Remove(ctx, id))
	}
	return err
}

func (a *Actions) start(ctx context.Context, step Step) error {
	if step.Container != nil {
		if err := a.Files.Write(step.Container); err != nil {
			return err
		}
	}
	if err := a.Containers.Start(ctx, step.ID); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("it did not start within %s: %w", startTimeout, err)
		}
		return err
	}
	return a.loaded(step)
}

func (a *Actions) loaded(step Step) error {
	if step.Container == nil {
		return nil
	}
	hash := step.Container.FilesHash()
	if hash == "" {
		return nil
	}
	return a.Files.SetLoaded(step.Subject, step.ID, hash)
}

func (a *Actions) replace(ctx context.Context, step Step) error {
	if err := a.stop(ctx, step.ID); err != nil {
		return err
	}
	if err := a.Containers.Remove(ctx, step.ID); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	return nil
}

func (a *Actions) stop(ctx context.Context, id string) error {
	if err := a.Stopper.Own(id); err != nil {
		return err
	}
	if err := a.Containers.Stop(ctx, id); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	return nil
}

func (a *Actions) reload(ctx context.Context, step Step) error {
	if err := a.Files.Write(step.Container); err != nil {
		return err
	}
	for _, signal := range step.Container.Signals() {
		if err := a.Containers.Signal(ctx, step.ID, signal); err != nil {
			return err
		}
	}
	return a.loaded(step)
}

// attach gives a running container a fresh endpoint on a network. One that cannot get it while it runs is removed, to be
// created anew, unless a hand started it.
func (a *Actions) attach(ctx context.Context, step Step, attempt int) error {
	if attempt >= attachAttempts && !step.Keep {
		return a.replace(ctx, step)
	}
	err := a.Networks.Disconnect(ctx, step.ID, step.Network)
	if err != nil && !errors.Is(err, engine.ErrNotFound) && !errors.Is(err, engine.ErrRefused) {
		return err
	}
	for _, n := range step.Container.Spec.Networks {
		if n.Network == step.Network {
			return a.Networks.Connect(ctx, step.ID, n)
		}
	}
	return nil
}
