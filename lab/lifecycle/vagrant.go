package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// BeforeVagrant does what Up does before it calls Vagrant, for a `vagrant up` that somebody else called. The caller, the
// Vagrantfile, holds the clone's lock, and Vagrant is at work on the machines of the topology: they are left alone.
func (l *Lifecycle) BeforeVagrant(ctx context.Context) error {
	return l.run(ctx, func(r *upRun) error {
		settled, err := r.settled(ctx)
		r.view = fleet.View{} // AfterVagrant tells of it
		if settled || err != nil {
			return err
		}
		if err := r.ready(ctx); err != nil {
			return err
		}
		if _, err := r.hashes(); err != nil {
			return err
		}
		return r.unpause(ctx)
	})
}

// unpause lets paused containers go on: Vagrant takes them for running, and waits for their sshd. Paused virtual
// machines it resumes itself.
func (r *upRun) unpause(ctx context.Context) error {
	if r.Lab.Provider != settings.ProviderDocker {
		return nil
	}
	machines := r.Host.Machines(r.Lab, r.log)
	states, err := statesOf(ctx, machines)
	if err != nil {
		return err
	}
	paused := inState(r.Lab, states, power.StatePaused)
	if len(paused) == 0 {
		return nil
	}
	return machines.Resume(ctx, paused...)
}

// AfterVagrant does what Up does after it called Vagrant: what runs has today's content in the end, and the lab is ready.
// A lab of which not all nodes were taken up is not waited for. The caller holds the clone's lock.
func (l *Lifecycle) AfterVagrant(ctx context.Context) error {
	var off []string
	err := l.run(ctx, func(r *upRun) error {
		r.byVagrant = true
		if settled, err := r.settled(ctx); settled || err != nil {
			return err
		}
		r.changed = true
		var err error
		if r.log, err = openLog(r.Lab, "up.log"); err != nil {
			return err
		}
		states, err := statesOf(ctx, r.Host.Machines(r.Lab, r.log))
		if err != nil {
			return err
		}
		off = notRunning(r.Lab, states)
		if err := r.answers(ctx, states); err != nil {
			return err
		}
		if err := r.nodes(ctx, false); err != nil || len(off) > 0 {
			return err
		}
		return r.application(ctx)
	})
	if err == nil && len(off) > 0 {
		fmt.Fprintf(l.Console, "%d of %d nodes are up; `vagrant up` brings up the others too: %s\n",
			len(l.Lab.Topology.Nodes)-len(off), len(l.Lab.Topology.Nodes), strings.Join(off, " "))
	}
	return err
}

func notRunning(lab *settings.Lab, states map[string]power.State) []string {
	var off []string
	for _, n := range lab.Topology.Nodes {
		if states[n.Name] != power.StateRunning {
			off = append(off, n.Name)
		}
	}
	return off
}

// answers gives the agents of running nodes, which may just have been started, some time to answer: one that does not is
// provisioned again. How long is no error.
func (r *upRun) answers(ctx context.Context, states map[string]power.State) error {
	f, err := fleet.Connect(r.Lab, fleet.Operate)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // connections that are no longer needed
	watching, cancel := context.WithTimeout(ctx, cmp.Or(r.Answer, r.readyTimeout()/10))
	defer cancel()
	for update := range f.Watch(watching) {
		silent := false
		for _, n := range update.View.Nodes {
			silent = silent || states[n.Node.Name] == power.StateRunning && n.Snapshot == nil
		}
		if !silent {
			break
		}
	}
	return ctx.Err()
}
