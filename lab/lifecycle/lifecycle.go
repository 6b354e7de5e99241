// Package lifecycle brings a lab up, takes it down and clears it in between.
//
// Up is a series of phases: check, preflight, prepare (keys, images), nodes, application, first vote. Each looks at what
// there is and does only what is missing, so that a second run repairs and an interrupted one is continued by the next.
// The order of things that must not be lost is here too: a frontend that goes is drained before it is removed.
// What a phase works with comes as small interfaces, so that the logic is tested without an engine. How phases look is
// the console's business, which machines exist the provider's, what runs on a node its agent's.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/bundle"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/inherit"
	"github.com/swarmlab/swarmlab/lab/host/nodefiles"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// Machines are the nodes' machines, of whatever kind.
type Machines interface {
	// States by node; a node that is not in the map is absent.
	States(ctx context.Context) (map[string]power.State, error)
	// Resume lets paused nodes go on.
	Resume(ctx context.Context, nodes ...string) error
	// Up creates or starts nodes and provisions them.
	Up(ctx context.Context, nodes ...string) error
	// Provision installs on running nodes what has changed.
	Provision(ctx context.Context, nodes ...string) error
	// Destroy removes nodes, which are named, with all that is on them, and makes sure that they are gone. It refuses what is not the lab's.
	Destroy(ctx context.Context, nodes ...string) error
}

// Host is what the lifecycle needs of the machine that it runs on.
type Host interface {
	// Preflight says why a lab cannot be brought up here; nil when it can, or when that could not be told. note tells what it
	// had to change, and what it could not tell; say, for what it waits.
	Preflight(ctx context.Context, lab *settings.Lab, say func(string)) (note string, err error)
	// NodeImage makes the image of container nodes, unless it is there.
	NodeImage(ctx context.Context, lab *settings.Lab, say func(string)) error
	// Bundle makes the files of the stock images, unless they are there.
	Bundle(ctx context.Context, lab *settings.Lab, say func(string)) error
	// Machines of a lab; their output goes to w.
	Machines(lab *settings.Lab, w io.Writer) Machines
	// Sweep removes all containers, volumes and networks that are the lab's, and makes sure that they are gone. It reports whether there were any.
	Sweep(ctx context.Context, lab *settings.Lab, say func(string)) (found bool, err error)
}

// Witness is a Host that can tell what became of labs.
type Witness interface {
	// Forsaken tells that a lab of the clone is there whose settings were deleted, and which cannot be taken up again: its keys were deleted, too, or
	// it was made with other settings than hold now. It is nil when there is none, or when that could not be told.
	Forsaken(ctx context.Context, lab *settings.Lab) error
	// Left tells that a lab of the clone is there whose settings were deleted, whatever hold now; nil when there is none, or when that could not be told.
	Left(ctx context.Context, lab *settings.Lab) error
	// Strays names what bears the lab's name, and is not removed because it may still be wanted by whoever made it.
	Strays(ctx context.Context, lab *settings.Lab) ([]string, error)
}

var _ Witness = System{}

// System is the Host outside tests.
type System struct {
	// Check is the preflight.
	Check func(ctx context.Context, lab *settings.Lab, say func(string)) (note string, err error)
	// Engine is the host's.
	Engine docker.Engine
}

var _ Host = System{}

// Preflight implements Host.
func (s System) Preflight(ctx context.Context, lab *settings.Lab, say func(string)) (note string, err error) {
	if note, err = s.Check(ctx, lab, say); err != nil {
		return note, err
	}
	if missing := nodefiles.Unbuilt(lab); len(missing) > 0 {
		return note, fmt.Errorf("not built yet: %s; run `make build`, or `make up`, which does it first", strings.Join(missing, ", "))
	}
	return note, nil
}

// NodeImage implements Host.
func (s System) NodeImage(ctx context.Context, lab *settings.Lab, say func(string)) error {
	if err := noteEngine(ctx, s.Engine, lab); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(lab.Dir, "vagrant", "node", "build.sh"))
	cmd.Dir, cmd.Env = lab.Dir, inherit.Environ(os.Environ())
	tail := &tail{keep: 20}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&lines{each: say}, tail), tail
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("build the image of the nodes (vagrant/node/build.sh): %w\n%s", err, tail)
	}
	return nil
}

// Bundle implements Host.
func (System) Bundle(ctx context.Context, lab *settings.Lab, say func(string)) error {
	_, err := bundle.Make(ctx, bundle.Options{
		Root: lab.Dir, Arch: lab.Arch(),
		Progress: func(image, state string) { say(image + ": " + state) },
	})
	return err
}

// Machines implements Host.
func (s System) Machines(lab *settings.Lab, w io.Writer) Machines {
	vagrant := power.New(lab, w)
	if lab.Provider != settings.ProviderDocker {
		return virtual{vagrant, lab}
	}
	return containers{Vagrant: vagrant, engine: s.Engine, lab: lab}
}

// Lifecycle works on one lab.
type Lifecycle struct {
	Lab     *settings.Lab
	Host    Host
	Console *console.Console
	// ReadyTimeout bounds how long the nodes may take to become ready; 0 chooses by provider.
	ReadyTimeout time.Duration
	// Drain bounds how long a node that is to be removed may take to be empty; 0 is two minutes.
	Drain time.Duration
	// Look bounds how long an agent may take to answer; 0 is more than a healthy one needs. Hear is how long one may take
	// that is asked again, because what is to be done depends on it; 0 is a minute.
	Look, Hear time.Duration
	// Answer is how long the agents of nodes that Vagrant has just started may take until they answer; 0 is a tenth of ReadyTimeout.
	Answer time.Duration
	// End is how long those may take to end who use a lab that is taken down or cleared; 0 chooses by provider.
	End time.Duration
}

// readyTimeout is generous: a healthy lab of containers takes seconds, of emulated machines minutes.
func (l *Lifecycle) readyTimeout() time.Duration {
	switch {
	case l.ReadyTimeout > 0:
		return l.ReadyTimeout
	case l.Lab.Provider == settings.ProviderDocker:
		return 4 * time.Minute
	default:
		return 20 * time.Minute
	}
}

func (l *Lifecycle) drainWithin() time.Duration {
	if l.Drain > 0 {
		return l.Drain
	}
	return 2 * time.Minute
}

// ErrNoLab says that a command needs a lab, and there is none.
var ErrNoLab = errors.New("no lab is up in this clone; bring one up with `make up`")

// Connect returns the fleet of a lab that is up, or ErrNoLab.
func Connect(lab *settings.Lab, unit fleet.Unit) (*fleet.Fleet, error) {
	if lab.Saved == nil {
		return nil, ErrNoLab
	}
	f, err := fleet.Connect(lab, unit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w (its certificates are not there: %w)", ErrNoLab, err)
	}
	return f, err
}

// lookTimeout is more than a healthy agent needs to answer.
const lookTimeout = 3 * time.Second

// look takes a snapshot of the fleet that waits for nobody longer than a healthy agent needs.
func look(ctx context.Context, f *fleet.Fleet) fleet.View { return lookFor(ctx, f, lookTimeout) }

// lookFor takes a snapshot of the fleet that waits for nobody longer than it is told.
func lookFor(ctx context.Context, f *fleet.Fleet, within time.Duration) fleet.View {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return f.Snapshot(ctx)
}

// openLog starts a new log file for a run and keeps the one before.
func openLog(lab *settings.Lab, name string) (*os.File, error) {
	dir := lab.Path("log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep a log: %w", err)
	}
	path := filepath.Join(dir, name)
	// The log before may not exist, and losing it is no reason to fail.
	_ = os.Rename(path, path+".1")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep a log: %w", err)
	}
	fmt.Fprintf(f, "%s on %s/%s, lab %s\n", time.Now().Format(time.RFC3339), runtime.GOOS, runtime.GOARCH, lab.Name)
	return f, nil
}
