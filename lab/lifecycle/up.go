package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/nodefiles"
	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/host/usage"
	"github.com/swarmlab/swarmlab/lab/votes/client"
)

// callTimeout bounds what is asked of agents in one go.
const callTimeout = 15 * time.Second

// Up brings the lab up, or what is broken of it.
func (l *Lifecycle) Up(ctx context.Context) error {
	unlock, err := lock.Lab(l.Lab, "lab up")
	if err != nil {
		return err
	}
	defer unlock()
	return l.run(ctx, func(r *upRun) error {
		if settled, err := r.settled(ctx); settled || err != nil {
			return err
		}
		if err := r.ready(ctx); err != nil {
			return err
		}
		if err := r.nodes(ctx, true); err != nil {
			return err
		}
		return r.application(ctx)
	})
}

// run does the phases of a run, and tells how the lab is if they ended with a look at it.
func (l *Lifecycle) run(ctx context.Context, phases func(*upRun) error) error {
	begun := time.Now()
	board := console.NewBoard(l.Console)
	defer board.Close()
	r := &upRun{Lifecycle: l, board: board}
	err := phases(r)
	r.closeLog()
	board.Close()
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted; the next `make up` or `vagrant up` continues from here, `make down` clears up")
	case err != nil:
		return err
	case len(r.view.Nodes) > 0:
		l.report(r, time.Since(begun))
	}
	return nil
}

// upRun is one run of Up.
type upRun struct {
	*Lifecycle
	board *console.Board
	log   *os.File
	fleet *fleet.Fleet
	// view is how the lab was at the end; empty when it was not looked at.
	view fleet.View
	// changed: there was something to do.
	changed bool
	// byVagrant: Vagrant was at work before, and what it changed is not known.
	byVagrant bool
	// hasher keeps what it has read.
	hasher hasher
}

// phase runs do as a phase of the board.
func (r *upRun) phase(name string, do func(say func(string)) (summary string, err error)) error {
	p := r.board.Begin(name)
	summary, err := do(p.Say)
	if err != nil {
		p.Fail()
		return err
	}
	p.Done(summary)
	return nil
}

func (r *upRun) closeLog() {
	if r.fleet != nil {
		_ = r.fleet.Close() // connections that are no longer needed
	}
	if r.log != nil {
		_ = r.log.Close() // only a log
	}
}

// settled says whether the lab is as it should be, by the word of its agents.
func (r *upRun) settled(ctx context.Context) (bool, error) {
	if err := r.unchangeable(ctx); err != nil {
		return false, err
	}
	if r.Lab.Saved == nil || !sameLab(*r.Lab.Saved, r.Lab.Settings) {
		return false, nil
	}
	done := false
	err := r.phase("check", func(func(string)) (string, error) {
		var err error
		done, err = r.check(ctx)
		if done {
			return "all nodes are ready", err
		}
		return "something is to be done", err
	})
	return done, err
}

// ready makes everything that nodes are made from, and removes the nodes that shall no longer be.
func (r *upRun) ready(ctx context.Context) error {
	r.changed = true
	if err := r.phase("preflight", func(say func(string)) (string, error) {
		note, err := r.Host.Preflight(ctx, r.Lab, say)
		return cmp.Or(note, "host OK"), err
	}); err != nil {
		return err
	}
	var err error
	if r.log, err = openLog(r.Lab, "up.log"); err != nil {
		return err
	}
	if err := r.scaleIn(ctx); err != nil {
		return err
	}
	states, err := statesOf(ctx, r.Host.Machines(r.Lab, r.log))
	if err != nil {
		return err
	}
	// From here on there is something to take down.
	if _, err := owner.Sign(r.Lab.Dir); err != nil {
		return err
	}
	if err := r.Lab.Save(); err != nil {
		return err
	}
	return r.prepare(ctx, states)
}

// sameLab: nothing differs that stands in nodes' files or machines. The stage does not.
func sameLab(a, b settings.Settings) bool {
	a.Stage, b.Stage = 0, 0
	return a == b
}

// unchangeable refuses to turn a lab that is up into another one: its nodes would be lost from sight.
func (r *upRun) unchangeable(ctx context.Context) error {
	saved := r.Lab.Saved
	if saved == nil {
		if host, ok := r.Host.(Witness); ok {
			return host.Forsaken(ctx, r.Lab)
		}
		return nil
	}
	if err := r.keysDeleted(ctx); err != nil {
		return err
	}
	var differs []string
	for _, d := range []struct{ name, was, is string }{
		{settings.EnvName, saved.Name, r.Lab.Name},
		{settings.EnvSubnet, saved.Subnet.String(), r.Lab.Subnet.String()},
		{settings.EnvPortBase, fmt.Sprint(saved.PortBase), fmt.Sprint(r.Lab.PortBase)},
		{settings.EnvProvider, saved.Provider, r.Lab.Provider},
	} {
		if d.was != d.is && d.was != "" {
			differs = append(differs, fmt.Sprintf("%s is %s, the lab was made with %s", d.name, d.is, d.was))
		}
	}
	if len(differs) == 0 {
		return nil
	}
	before := *r.Lab
	before.Settings = *saved
	now, err := statesOf(ctx, r.Host.Machines(&before, io.Discard))
	if err != nil {
		return fmt.Errorf("could not tell whether the lab of this clone, made with other settings (%s), is still up: %w", strings.Join(differs, "; "), err)
	}
	if len(now) == 0 {
		return nil // an earlier run was cut off before it made anything
	}
	return fmt.Errorf("the lab of this clone is up with other settings: %s; take it down first (`make down`), or leave the variable unset",
		strings.Join(differs, "; "))
}

// keysDeleted tells that a lab is up whose keys or passwords were deleted: those that would be made anew it does not know.
func (r *upRun) keysDeleted(ctx context.Context) error {
	var missing []string
	for _, dir := range []string{"pki", "secrets"} {
		if _, err := os.Stat(r.Lab.Path(dir)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, r.Lab.Relative(r.Lab.Path(dir)))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	before := *r.Lab
	before.Settings = *r.Lab.Saved
	now, err := statesOf(ctx, r.Host.Machines(&before, io.Discard))
	if err != nil || len(now) == 0 {
		return err
	}
	for _, state := range now {
		if state != power.StateAbsent {
			return fmt.Errorf("the lab %s is there, and %s, which held its keys and passwords, was deleted: %s", before.Name, console.List(missing), makeAnew)
		}
	}
	return nil
}

// check asks the agents whether there is anything to do at all.
func (r *upRun) check(ctx context.Context) (done bool, err error) {
	if err := pki.Prepare(r.Lab, time.Now(), func(string) bool { return true }); err != nil {
		return false, err
	}
	hashes, err := r.hashes()
	if err != nil {
		// Something is not built or not there; the phases to come find out what, or make it.
		return false, ctx.Err()
	}
	if r.fleet, err = fleet.Connect(r.Lab, fleet.Operate); err != nil {
		return false, err
	}
	view := lookFor(ctx, r.fleet, r.lookWithin())
	if !settled(view, hashes) || !view.Ready(r.Lab.Stage) {
		return false, ctx.Err()
	}
	if r.votes() {
		if cookie, err := client.LoadCookie(firstVoteFile(r.Lab)); err != nil || cookie == "" {
			return false, err
		}
	}
	r.view = view
	return true, ctx.Err()
}

// hashes lays out what each node is to be given, and computes its hash.
func (r *upRun) hashes() (map[string]string, error) {
	if err := nodefiles.Lay(r.Lab); err != nil {
		return nil, err
	}
	hashes := make(map[string]string, len(r.Lab.Topology.Nodes))
	for _, n := range r.Lab.Topology.Nodes {
		var err error
		if hashes[n.Name], err = r.hasher.node(r.Lab, n.Name); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// prepare makes what the nodes are made from. The parts have nothing to do with each other, so they run side by side.
func (r *upRun) prepare(ctx context.Context, states map[string]power.State) error {
	if err := r.forgetLost(ctx, states); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return r.phase("keys", func(func(string)) (string, error) {
			exists := func(node string) bool { return states[node] != power.StateAbsent && states[node] != power.StateKept }
			return "certificates and secrets below .lab", pki.Prepare(r.Lab, time.Now(), exists)
		})
	})
	if r.Lab.Provider == settings.ProviderDocker {
		group.Go(func() error {
			return r.phase("node image", func(say func(string)) (string, error) {
				return "", r.Host.NodeImage(ctx, r.Lab, say)
			})
		})
	}
	group.Go(func() error {
		return r.phase("bundle", func(say func(string)) (string, error) {
			return "redis, postgres, haproxy, consul", r.Host.Bundle(ctx, r.Lab, say)
		})
	})
	return group.Wait()
}

// forgetLost forgets the votes that were lost with the store. One whose machine alone is gone has them still.
func (r *upRun) forgetLost(ctx context.Context, states map[string]power.State) error {
	for _, n := range r.Lab.Topology.OfRole(topology.RoleStore) {
		if states[n.Name] != power.StateAbsent {
			continue
		}
		if len(usage.Users(r.Lab)) == 0 {
			return forgetVotes(r.Lab)
		}
		return r.phase("votes", func(say func(string)) (string, error) {
			open, err := r.endUse(ctx, "lab up", say, r.board.Note)
			defer open()
			if err != nil {
				return "", err
			}
			return "were lost with the store", forgetVotes(r.Lab)
		})
	}
	return nil
}

// nodes creates and starts what is missing or halted, if it is to, and provisions what is of yesterday.
func (r *upRun) nodes(ctx context.Context, start bool) error {
	return r.phase("nodes", func(say func(string)) (string, error) {
		if r.fleet != nil {
			// Its certificates may have been made anew.
			_ = r.fleet.Close()
		}
		var err error
		if r.fleet, err = fleet.Connect(r.Lab, fleet.Operate); err != nil {
			return "", err
		}
		last := &tail{keep: 15}
		machines := r.Host.Machines(r.Lab, io.MultiWriter(r.log, last, &lines{each: say}))
		explain := func(err error) error {
			if err == nil || ctx.Err() != nil {
				return err
			}
			return fmt.Errorf("%w\n%s\nthe whole log is in %s; `make up` tries again and keeps what is done",
				err, last, r.Lab.Relative(r.log.Name()))
		}
		states, err := statesOf(ctx, machines)
		if err != nil {
			return "", err
		}
		if paused := inState(r.Lab, states, power.StatePaused); start && len(paused) > 0 {
			say("resuming " + strings.Join(paused, " "))
			if err := machines.Resume(ctx, paused...); err != nil {
				return "", explain(err)
			}
			if states, err = statesOf(ctx, machines); err != nil {
				return "", err
			}
		}
		hashes, err := r.hashes()
		if err != nil {
			return "", err
		}
		// After Vagrant, which has just started and provisioned them, a slow node is heard out: its agent has as long to answer as the lab
		// has to become ready, since on a slow host six systems that start at once answer late. To provision it again would take longer.
		within, patience := callTimeout, max(r.hearWithin(), r.readyTimeout())
		if start {
			within, patience = r.lookWithin(), r.hearWithin()
		}
		running := func(node string) bool { return states[node] == power.StateRunning }
		view := r.hear(ctx, r.fleet, within, patience, running, say)
		if late := view.Silent(running); len(late) > 0 && ctx.Err() == nil {
			return "", untold(late, patience)
		}
		todo := plan(view, states, hashes)
		if !start {
			todo.up, todo.created = nil, nil
		}
		if len(todo.up) > 0 {
			if err := r.start(ctx, machines, todo.up, last, say); err != nil {
				return "", explain(err)
			}
		}
		if len(todo.provision) > 0 {
			if err := machines.Provision(ctx, todo.provision...); err != nil {
				return "", explain(err)
			}
		}
		return todo.String(), nil
	})
}

// start takes nodes up; those that were not taken up for a reason that passes, a second time.
func (r *upRun) start(ctx context.Context, machines Machines, nodes []string, output fmt.Stringer, say func(string)) error {
	err := machines.Up(ctx, nodes...)
	if err == nil || ctx.Err() != nil || !passing(output.String()) {
		return err
	}
	say("something else on this host's engine came or went meanwhile; trying again")
	return machines.Up(ctx, nodes...)
}

// passing recognizes the failure of Vagrant's docker provider when anything, be it another lab's, is removed from the
// engine between its listing all networks and containers and its asking about each.
func passing(output string) bool {
	for _, sign := range []string{"No such object", "No such network", "No such container"} {
		if strings.Contains(output, sign) {
			return true
		}
	}
	return false
}

func inState(lab *settings.Lab, states map[string]power.State, state power.State) []string {
	var names []string
	for _, n := range lab.Topology.Nodes {
		if states[n.Name] == state {
			names = append(names, n.Name)
		}
	}
	return names
}

// application waits until every node is ready at its stage, then proves the whole way with a vote.
func (r *upRun) application(ctx context.Context) error {
	stage := r.Lab.Stage
	if err := r.phase("ready", func(say func(string)) (string, error) {
		var err error
		if err = r.align(ctx, stage); err != nil {
			return "", err
		}
		r.view, err = awaitReady(ctx, r.fleet, stage, r.readyTimeout(), say)
		return readySummary(r.view, stage), err
	}); err != nil {
		return err
	}
	if !r.votes() || !r.view.Ready(stage) {
		return nil
	}
	return r.phase("first vote", func(say func(string)) (string, error) { return r.firstVote(ctx, say) })
}

// align sets the stage of nodes that have another one.
func (r *upRun) align(ctx context.Context, stage settings.Stage) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var other []string
	for _, n := range r.fleet.Snapshot(ctx).Nodes {
		if n.Snapshot != nil && settings.Stage(n.Snapshot.GetDesiredStage()) != stage {
			other = append(other, n.Node.Name)
		}
	}
	if len(other) == 0 {
		return nil
	}
	return r.fleet.SetStage(ctx, stage, other...)
}

// votes says whether there is a path to cast a vote on: a lower stage has none yet, and a workshop's topology may lack a
// part of it.
func (r *upRun) votes() bool {
	if r.Lab.Stage != settings.StageApplication {
		return false
	}
	for _, role := range []string{topology.RoleInterlock, topology.RoleFrontend, topology.RoleWorker, topology.RoleStore} {
		if len(r.Lab.Topology.OfRole(role)) == 0 {
			return false
		}
	}
	return true
}

// firstVoteFile holds the cookie of the voter who cast the lab's first vote, and so says that it was cast.
func firstVoteFile(lab *settings.Lab) string { return lab.Path("voters", "first") }

// forgetVotes forgets who voted, and what they were promised: the store that counted their votes is gone, or empty.
func forgetVotes(lab *settings.Lab) error {
	if err := errors.Join(os.RemoveAll(lab.Path("voters")), os.RemoveAll(lab.LedgerDir())); err != nil {
		return fmt.Errorf("forget the votes: %w", err)
	}
	return nil
}

// firstVoteWithin is generous: a vote is counted within a second, but a busy host has just started everything.
const firstVoteWithin = 2 * time.Minute

// firstVote casts a vote through the balancer and waits until it is counted. A lab that had its first vote is not given
// another one: it is only looked at whether both pages answer.
func (r *upRun) firstVote(ctx context.Context, say func(string)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, firstVoteWithin)
	defer cancel()
	app := client.New(r.Lab.VotingURL(), r.Lab.ResultsURL())
	cookie, err := client.LoadCookie(firstVoteFile(r.Lab))
	if err != nil {
		return "", err
	}
	if cookie != "" {
		if err := app.Answers(ctx); err != nil {
			return "", err
		}
		tally, err := app.AwaitTally(ctx, func(client.Tally) bool { return true })
		return fmt.Sprintf("was cast before; both pages answer, %d counted", tally.Total), err
	}
	before, err := app.AwaitTally(ctx, func(client.Tally) bool { return true })
	if err != nil {
		return "", err
	}
	say("casting it through the balancer")
	receipt, cookie, err := app.Cast(ctx, "a", "")
	if err != nil {
		return "", err
	}
	say("waiting for the results page to count it")
	if _, err := app.AwaitTally(ctx, func(t client.Tally) bool { return t.Total > before.Total && t.A > before.A }); err != nil {
		return "", fmt.Errorf("the first vote was acknowledged by %s but not counted: %w; `bin/lab status` shows where votes wait", receipt.ServedBy, err)
	}
	return fmt.Sprintf("taken by %s, counted in Postgres", receipt.ServedBy), client.SaveCookie(firstVoteFile(r.Lab), cookie)
}

// report says where everything is and what to do next.
func (l *Lifecycle) report(r *upRun, took time.Duration) {
	c := l.Console
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }
	say("")
	state := fmt.Sprintf("The lab %s is up: %d nodes at stage %s.", l.Lab.Name, len(l.Lab.Topology.Nodes), l.Lab.Stage)
	if !r.changed && !r.byVagrant {
		state = fmt.Sprintf("The lab %s was up already, all %d nodes ready at stage %s; nothing was changed.", l.Lab.Name, len(l.Lab.Topology.Nodes), l.Lab.Stage)
	}
	say("%s", c.Bold(state))
	for _, line := range notes(r.view, l.Lab.Stage) {
		say("%s %s", c.Warn("!"), line)
	}
	say("")
	for _, line := range Pointers(l.Lab) {
		say("  %-15s %s", line[0], line[1])
	}
	say("")
	say("Next:")
	for _, line := range next(l.Lab) {
		say("  %-24s %s", line[0], line[1])
	}
	if r.changed {
		say("")
		for _, t := range r.board.Timings() {
			say("  %-12s %9s", t.Name, console.Seconds(t.Took))
		}
		say("  %-12s %9s   (keys, node image and bundle run side by side)", "in all", console.Seconds(took))
		return
	}
	say("")
	say("Took %s.", console.Seconds(took))
}

// Pointers are the places to look at in a lab: names and addresses.
func Pointers(lab *settings.Lab) [][2]string {
	var lines [][2]string
	if len(lab.Topology.OfRole(topology.RoleInterlock)) > 0 {
		lines = append(lines, [2]string{"vote", lab.VotingURL()})
	}
	if len(lab.Topology.OfRole(topology.RoleStore)) > 0 {
		lines = append(lines, [2]string{"results", lab.ResultsURL()})
	}
	if len(lab.Topology.OfRole(topology.RoleInterlock)) > 0 {
		lines = append(lines,
			[2]string{"balancer", lab.VotingURL() + "haproxy?stats"},
			[2]string{"", "user stats, password in " + lab.Relative(lab.Path(filepath.FromSlash(pki.StatsPasswordFile)))})
	}
	return lines
}

func next(lab *settings.Lab) [][2]string {
	first := lab.Topology.Nodes[0].Name
	lines := [][2]string{{"bin/lab status", "what runs where, and how many votes are where"}}
	if lab.Stage == settings.StageApplication {
		lines = append(lines, [2]string{"bin/lab vote b", "cast a vote from the shell"})
	} else {
		lines = append(lines, [2]string{"bin/lab stage application", "let the agents build the rest"})
	}
	return append(lines,
		[2]string{"vagrant ssh " + first, "a shell on a node (" + strings.Join(lab.Topology.Names(), ", ") + ")"},
		[2]string{"HOWTO.md", "the tutorial"},
		[2]string{"make down", "destroy the lab"},
	)
}
