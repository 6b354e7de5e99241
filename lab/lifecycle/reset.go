package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// resetWithin bounds the clearing of one group of nodes.
const resetWithin = 5 * time.Minute

// Reset clears the lab between two classes: no votes, nothing that learners left, everything at the given stage.
func (l *Lifecycle) Reset(ctx context.Context, stage settings.Stage) error {
	return l.change(ctx, "lab reset", stage, func(ctx context.Context, f *fleet.Fleet, board *console.Board) error {
		var managers, others []string
		for _, n := range l.Lab.Topology.Nodes {
			if n.Role == topology.RoleManager {
				managers = append(managers, n.Name)
			} else {
				others = append(others, n.Name)
			}
		}
		// The manager last: a node leaves swarm and Consul in good order only while there are any. The others are cleared
		// down to bare nodes first, so that none of them joins the swarm that is about to go.
		phase := board.Begin("clear")
		// A drill that ends gives back the node that it took.
		open, err := l.endUse(ctx, "lab reset", phase.Say, board.Note)
		defer open()
		if err == nil {
			everyone := func(string) bool { return true }
			err = unreachable(l.hear(ctx, f, l.lookWithin(), l.hearWithin(), everyone, phase.Say))
		}
		if err != nil {
			phase.Fail()
			return err
		}
		err = func() error {
			ctx, cancel := context.WithTimeout(ctx, resetWithin)
			defer cancel()
			phase.Say("removing containers and votes on all nodes but the manager")
			if err := f.Reset(ctx, settings.StageInfrastructure, others...); err != nil {
				return err
			}
			phase.Say("removing them on the manager")
			if err := f.Reset(ctx, stage, managers...); err != nil {
				return err
			}
			return f.SetStage(ctx, stage, others...)
		}()
		if err != nil {
			phase.Fail()
			return err
		}
		phase.Done("no containers, no votes")
		return forgetVotes(l.Lab)
	})
}

// SetStage lets all agents build the lab up to a stage, and waits until they have.
func (l *Lifecycle) SetStage(ctx context.Context, stage settings.Stage) error {
	return l.change(ctx, "lab stage", stage, func(ctx context.Context, f *fleet.Fleet, _ *console.Board) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return f.SetStage(ctx, stage)
	})
}

// change does something to the agents that leads to a stage, remembers the stage, and waits for it.
func (l *Lifecycle) change(ctx context.Context, command string, stage settings.Stage,
	do func(context.Context, *fleet.Fleet, *console.Board) error,
) error {
	f, err := Connect(l.Lab, fleet.Operate)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // connections that are no longer needed
	unlock, err := lock.Lab(l.Lab, command)
	if err != nil {
		return err
	}
	defer unlock()
	board := console.NewBoard(l.Console)
	defer board.Close()
	if err := do(ctx, f, board); err != nil {
		return err
	}
	// Remembered as soon as agents know it: a later `lab up` must not lead elsewhere.
	if err := l.Lab.SaveStage(stage); err != nil {
		return err
	}
	phase := board.Begin("ready")
	view, err := awaitReady(ctx, f, stage, l.readyTimeout(), phase.Say)
	if err != nil {
		phase.Fail()
		return err
	}
	phase.Done(readySummary(view, stage))
	board.Close()
	for _, line := range notes(view, stage) {
		fmt.Fprintf(l.Console, "%s %s\n", l.Console.Warn("!"), line)
	}
	return nil
}

// unreachable joins what is wrong with the nodes that do not answer.
func unreachable(view fleet.View) error {
	var errs []error
	for _, n := range view.Nodes {
		if n.Err != nil {
			errs = append(errs, n.Err)
		}
	}
	return errors.Join(errs...)
}
