package lifecycle

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// scaleIn removes the nodes that the lab has and shall no longer have, without losing a vote: their agents empty them
// first, which takes the remaining workers, so frontends go before workers. It happens under the old topology, because
// Vagrant cannot destroy what it no longer defines.
func (r *upRun) scaleIn(ctx context.Context) error {
	if r.Lab.Saved == nil {
		return nil
	}
	before, err := r.Lab.WithCounts(r.Lab.Saved.Frontends, r.Lab.Saved.Workers)
	if err != nil {
		return fmt.Errorf("the settings that the lab was made with: %w", err)
	}
	var surplus []topology.Node
	for _, n := range before.Topology.Nodes {
		if _, kept := r.Lab.Topology.Node(n.Name); !kept {
			surplus = append(surplus, n)
		}
	}
	if len(surplus) == 0 {
		return nil
	}
	names := nodeNames(surplus)
	return r.phase("scale in", func(say func(string)) (string, error) {
		machines := r.Host.Machines(before, io.MultiWriter(r.log, &lines{each: say}))
		states, err := statesOf(ctx, machines)
		if err != nil {
			return "", err
		}
		var there []topology.Node
		for _, n := range surplus {
			if states[n.Name] != power.StateAbsent {
				there = append(there, n)
			}
		}
		f, err := fleet.Connect(before, fleet.Operate)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // connections that are no longer needed
		if err := r.retire(ctx, before, f, machines, states, there, say); err != nil {
			return "", err
		}
		if err := forgetQueues(ctx, before, f, surplus); err != nil {
			// It costs no more than a false alarm, should a frontend of that name come again.
			fmt.Fprintf(r.log, "the store goes on knowing the queues that are removed: %v\n", err)
		}
		if len(there) > 0 {
			say("removing " + strings.Join(nodeNames(there), " "))
			if err := machines.Destroy(ctx, nodeNames(there)...); err != nil {
				return "", fmt.Errorf("%w; see %s", err, r.Lab.Relative(r.log.Name()))
			}
		}
		for _, name := range names {
			say("removing " + name + " from the swarm")
			if err := forget(ctx, f, name); err != nil {
				return "", err
			}
			if err := pki.RemoveNode(r.Lab, name); err != nil {
				return "", err
			}
		}
		return "drained and removed " + strings.Join(names, " "), nil
	})
}

// retire lets the agents of the nodes empty them. A node that is off is started first: its queue may hold votes.
func (r *upRun) retire(ctx context.Context, before *settings.Lab, f *fleet.Fleet, machines Machines,
	states map[string]power.State, nodes []topology.Node, say func(string),
) error {
	var off []string
	for _, n := range nodes {
		if states[n.Name] != power.StateRunning {
			off = append(off, n.Name)
		}
	}
	if len(off) > 0 {
		say("starting " + strings.Join(off, " ") + " to drain what is queued there")
		if paused := inState(before, states, power.StatePaused); len(paused) > 0 {
			if err := machines.Resume(ctx, paused...); err != nil {
				return err
			}
		}
		if err := machines.Up(ctx, off...); err != nil {
			return fmt.Errorf("start %s to drain it: %w; see %s", strings.Join(off, " "), err, r.Lab.Relative(r.log.Name()))
		}
	}
	// Frontends first: the workers that go as well still help to drain them.
	for _, frontends := range []bool{true, false} {
		group, ctx := errgroup.WithContext(ctx)
		for _, n := range nodes {
			if (n.Role == topology.RoleFrontend) != frontends {
				continue
			}
			group.Go(func() error { return r.retireNode(ctx, f, n.Name, say) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (r *upRun) retireNode(ctx context.Context, f *fleet.Fleet, name string, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, r.drainWithin())
	defer cancel()
	last := ""
	err := f.Retire(ctx, name, func(text string, queued float64) {
		last = fmt.Sprintf("%s: %s", name, text)
		if queued > 0 {
			last += fmt.Sprintf(" (%.0f votes queued)", queued)
		}
		say(last)
	})
	if err != nil {
		if last != "" {
			last = "; it had come to: " + last
		}
		return fmt.Errorf("cannot empty a node, so it is not removed: %w%s. Acknowledged votes may lie there: mend it and run `make up` again", err, last)
	}
	return nil
}

// forgetQueues lets the store forget what was last seen of the queues of frontends that go: a new frontend of the same name has not lost
// anything.
func forgetQueues(ctx context.Context, lab *settings.Lab, f *fleet.Fleet, gone []topology.Node) error {
	var queues []string
	for _, n := range gone {
		if n.Role == topology.RoleFrontend {
			queues = append(queues, fmt.Sprintf("redis%02d", n.Ordinal))
		}
	}
	stores := lab.Topology.OfRole(topology.RoleStore)
	if len(queues) == 0 || len(stores) == 0 {
		return nil
	}
	password, err := os.ReadFile(lab.Path(filepath.FromSlash(pki.PostgresPasswordFile)))
	if err != nil {
		return fmt.Errorf("read the password of Postgres: %w", err)
	}
	config, err := pgx.ParseConfig("host=127.0.0.1 user=postgres dbname=votes sslmode=disable")
	if err != nil {
		return err
	}
	config.Password = strings.TrimSpace(string(password))
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return f.Dial(ctx, stores[0].Name, contract.PostgresContainer, contract.PostgresPort)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to pg on %s: %w", stores[0].Name, err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // done with it
	if _, err := conn.Exec(ctx, "DELETE FROM queues WHERE queue = ANY($1)", queues); err != nil {
		return fmt.Errorf("forget the queues %s: %w", strings.Join(queues, " "), err)
	}
	return nil
}

// forget strikes a node off; the manager notices only after a while that it is gone, and refuses until then.
func forget(ctx context.Context, f *fleet.Fleet, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := f.Forget(ctx, name)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove %s from the swarm: %w", name, err)
		case <-time.After(time.Second):
		}
	}
}

func nodeNames(nodes []topology.Node) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}
