package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/console"
	"github.com/swarmlab/swarmlab/lab/docker"
	"github.com/swarmlab/swarmlab/lab/lock"
	"github.com/swarmlab/swarmlab/lab/outage"
	"github.com/swarmlab/swarmlab/lab/power"
	"github.com/swarmlab/swarmlab/lab/settings"
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
	if err := l.down(ctx, log, phase.Say); err != nil {
		phase.Fail()
		board.Close()
		if ctx.Err() != nil {
			return errors.New("interrupted; `make down` again removes the rest")
		}
		return fmt.Errorf("%w; `make down` again continues, the log is in %s", err, l.Lab.Relative(log.Name()))
	}
	phase.Done("")
	board.Close()
	fmt.Fprintf(l.Console, "The lab %s is gone (%s).\n", l.Lab.Name, console.Seconds(time.Since(begun)))
	return nil
}

func (l *Lifecycle) down(ctx context.Context, log io.Writer, say func(string)) error {
	// Containers go by their labels, whatever Vagrant still knows of them: it takes half the time, and finds also what a
	// broken run left. Only virtual machines need Vagrant to go.
	if l.Lab.Provider != settings.ProviderDocker {
		machines := l.Host.Machines(l.Lab, io.MultiWriter(log, &lines{each: say}))
		if err := machines.Destroy(ctx); err != nil {
			return err
		}
	}
	if err := l.Host.Sweep(ctx, l.Lab, say); err != nil {
		return err
	}
	if err := forgetVotes(l.Lab); err != nil {
		return err
	}
	if err := outage.Forget(l.Lab); err != nil {
		return err
	}
	return l.Lab.Forget()
}

// Sweep implements Host. It takes what this clone made, under whatever name, and what bears the lab's name and was made
// by a clone that no longer exists; never what another clone's lab consists of.
func (s System) Sweep(ctx context.Context, lab *settings.Lab, say func(string)) error {
	engine := s.Engine
	ours := func(labels map[string]string) bool {
		folder := labels[docker.LabelFolder]
		if folder == lab.Dir {
			return true
		}
		_, err := os.Stat(folder)
		return folder != "" && labels[docker.LabelLab] == lab.Name && errors.Is(err, os.ErrNotExist)
	}
	containers, err := engine.Containers(ctx, "")
	if err != nil {
		if lab.Provider != settings.ProviderDocker && lab.Saved != nil && !errors.Is(err, docker.ErrNoAnswer) {
			return s.forgetMachines(lab) // no engine is needed for a lab of virtual machines
		}
		return fmt.Errorf("ask the Docker engine for what is left of the lab: %w", err)
	}
	var ids []string
	for _, c := range containers {
		if ours(c.Labels) {
			ids = append(ids, c.ID)
		}
	}
	say(fmt.Sprintf("removing %d containers", len(ids)))
	var thawing sync.WaitGroup
	for _, id := range ids {
		thawing.Go(func() {
			// What cannot be thawed is off, or not frozen, or cannot be removed, which is told then.
			_ = power.ThawWithin(ctx, id)
		})
	}
	thawing.Wait()
	if err := engine.RemoveContainers(ctx, ids); err != nil {
		return err
	}
	volumes, err := engine.Volumes(ctx, "")
	if err != nil {
		return err
	}
	var names []string
	for _, v := range volumes {
		if ours(v.Labels) {
			names = append(names, v.Name)
		}
	}
	say(fmt.Sprintf("removing %d volumes", len(names)))
	if err := engine.RemoveVolumes(ctx, names); err != nil {
		return err
	}
	networks, err := engine.Networks(ctx)
	if err != nil {
		return err
	}
	ids = nil
	for _, n := range networks {
		if n.Labels[docker.LabelLab] != "" && ours(n.Labels) {
			ids = append(ids, n.ID)
		}
	}
	if err := engine.RemoveNetworks(ctx, ids); err != nil {
		return err
	}
	return s.forgetMachines(lab)
}
