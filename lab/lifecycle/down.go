package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/usage"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// Down removes the lab: nodes, volumes, networks, Vagrant's knowledge of them, and the settings. It needs neither
// agents nor a Vagrant that is in order, and may be repeated. Keys, secrets and images stay for the next lab.
func (l *Lifecycle) Down(ctx context.Context) error {
	unlock, err := lock.Lab(l.Lab, "lab down")
	if err != nil {
		return err
	}
	defer unlock()
	begun := time.Now()
	log, err := openLog(l.Lab, "down.log")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // only a log
	board := console.NewBoard(l.Console)
	defer board.Close()
	phase := board.Begin("down")
	known := l.Lab.Saved != nil
	found, strays, err := l.down(ctx, log, phase.Say, board.Note)
	if err != nil {
		phase.Fail()
		board.Close()
		if ctx.Err() != nil {
			return errors.New("interrupted; `make down` again removes the rest")
		}
		return fmt.Errorf("%w; `make down` again continues, the log is in %s", err, l.Lab.Relative(log.Name()))
	}
	phase.Done("")
	board.Close()
	took := console.Seconds(time.Since(begun))
	switch {
	case len(strays) == 0 && !known && !found:
		// Another clone's lab of that name may well be there.
		fmt.Fprintf(l.Console, "Nothing of a lab of this clone is left (%s).\n", took)
		return nil
	case len(strays) == 0:
		fmt.Fprintf(l.Console, "The lab %s is gone (%s).\n", l.Lab.Name, took)
		return nil
	}
	fmt.Fprintf(l.Console, "Nothing that this clone made is left (%s). Another clone's lab is called %s, too:\n", took, l.Lab.Name)
	for _, one := range strays {
		fmt.Fprintln(l.Console, one)
	}
	return nil
}

// down reports whether anything of the lab was there, and what bears the lab's name and is not its own.
func (l *Lifecycle) down(ctx context.Context, log io.Writer, say, note func(string)) (found bool, strays []string, err error) {
	open, err := l.endUse(ctx, "lab down", say, note)
	var still *usage.StillUsedError
	if err != nil && !errors.As(err, &still) {
		return false, nil, err
	}
	defer open()
	if still != nil {
		note(fmt.Sprintf("%s has not ended within %s, and goes on without a lab", strings.Join(still.Users, "; "), still.Within))
	}
	if err := l.destroyMachines(ctx, io.MultiWriter(log, &lines{each: say})); err != nil {
		return false, nil, err
	}
	if found, err = l.Host.Sweep(ctx, l.Lab, say); err != nil {
		return found, nil, err
	}
	if host, ok := l.Host.(Witness); ok {
		if strays, err = host.Strays(ctx, l.Lab); err != nil && l.Lab.Provider == settings.ProviderDocker {
			return found, nil, err
		}
	}
	if err := forgetVotes(l.Lab); err != nil {
		return found, nil, err
	}
	if err := powerfault.Forget(l.Lab); err != nil {
		return found, nil, err
	}
	return found, strays, errors.Join(forgetEngine(l.Lab), l.Lab.Forget())
}

// destroyMachines destroys the virtual machines of which Vagrant has taken note in the clone, also under a provider that the lab's settings, which may
// have been deleted, do not name. Containers go by their labels, whatever Vagrant still knows of them: it takes half the time, and finds also
// what a broken run left.
func (l *Lifecycle) destroyMachines(ctx context.Context, output io.Writer) error {
	records, err := power.Records(l.Lab)
	if err != nil {
		return err
	}
	nodes := map[string][]string{}
	for _, r := range records {
		if r.Provider != settings.ProviderDocker {
			nodes[r.Provider] = append(nodes[r.Provider], r.Node)
		}
	}
	for _, provider := range slices.Sorted(maps.Keys(nodes)) {
		under, err := l.asMade(provider, nodes[provider])
		if err != nil {
			return err
		}
		if err := l.Host.Machines(under, output).Destroy(ctx, nodes[provider]...); err != nil {
			return err
		}
	}
	return nil
}

// asMade is the lab as it was made, whatever the environment says by now, with these nodes among its own: Vagrant destroys only what it finds defined.
func (l *Lifecycle) asMade(provider string, nodes []string) (*settings.Lab, error) {
	before := *l.Lab
	if l.Lab.Saved != nil {
		before.Settings = *l.Lab.Saved
	}
	before.Provider = provider
	lab, err := before.WithCounts(before.Frontends, before.Workers)
	if err != nil {
		return nil, fmt.Errorf("the settings that the lab was made with: %w", err)
	}
	for _, name := range nodes {
		lab = defining(lab, name)
	}
	return lab, nil
}

// defining returns the lab with as many frontends and workers as it takes to have that node, and the same lab where no number does.
func defining(lab *settings.Lab, name string) *settings.Lab {
	if _, ok := lab.Topology.Node(name); ok {
		return lab
	}
	for n := range settings.MaxCount {
		for _, counts := range [][2]int{{lab.Frontends + n + 1, lab.Workers}, {lab.Frontends, lab.Workers + n + 1}} {
			if counts[0] > settings.MaxCount || counts[1] > settings.MaxCount {
				continue
			}
			larger, err := lab.WithCounts(counts[0], counts[1])
			if err != nil {
				continue // so many do not fit
			}
			if _, ok := larger.Topology.Node(name); ok {
				return larger
			}
		}
	}
	return lab
}

// How long those who use a lab may take to end: a drill heals first, which takes longest where a node's power was cut.
const (
	endContainers = 2 * time.Minute
	endMachines   = 10 * time.Minute
)

// endUse ends what uses the lab. open lets it be used again.
func (l *Lifecycle) endUse(ctx context.Context, command string, say, note func(string)) (open func(), err error) {
	within := endMachines
	if l.Lab.Provider == settings.ProviderDocker {
		within = endContainers
	}
	users, open, err := usage.Close(ctx, l.Lab, "`"+command+"`", cmp.Or(l.End, within), say)
	if open == nil {
		open = func() {}
	}
	if err == nil && len(users) > 0 {
		note("ended, because it used the lab: " + strings.Join(users, "; "))
	}
	return open, err
}
