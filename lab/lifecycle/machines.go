package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// containers are nodes of the docker provider, whose state the engine tells faster than Vagrant.
type containers struct {
	*power.Vagrant
	engine docker.Engine
	lab    *settings.Lab
}

// own returns the containers and volumes of the lab, by their nodes.
func (c containers) own(ctx context.Context) (map[string]docker.Container, map[string]docker.Volume, error) {
	list, err := c.engine.Containers(ctx, c.lab.Name)
	if err != nil {
		return nil, nil, err
	}
	nodes := map[string]docker.Container{}
	for _, one := range list {
		switch c.lab.Whose(one.Labels) {
		case owner.Ours:
			nodes[one.Labels[docker.LabelNode]] = one
		case owner.Forsaken:
			return nil, nil, forsaken(one.Labels[owner.LabelLab])
		}
	}
	volumes, err := c.engine.Volumes(ctx, c.lab.Name)
	if err != nil {
		return nil, nil, err
	}
	kept := map[string]docker.Volume{}
	for _, v := range volumes {
		switch c.lab.Whose(v.Labels) {
		case owner.Ours:
			kept[v.Labels[docker.LabelNode]] = v
		case owner.Forsaken:
			return nil, nil, forsaken(v.Labels[owner.LabelLab])
		}
	}
	if len(nodes)+len(kept) == 0 {
		err = sameEngine(ctx, c.engine, c.lab)
	}
	return nodes, kept, err
}

func (c containers) States(ctx context.Context) (map[string]power.State, error) {
	nodes, kept, err := c.own(ctx)
	if err != nil {
		return nil, err
	}
	states := map[string]power.State{}
	for name := range kept {
		states[name] = power.StateKept
	}
	for name, one := range nodes {
		if n, ok := c.lab.Topology.Node(name); ok && !slices.Contains(one.HostPorts, strconv.Itoa(c.lab.AgentPort(n))) {
			return nil, fmt.Errorf("node %s was made with another octet than vagrant/topology.yaml gives it now; put the old one back, "+
				"or remove the node with all that is on it: `docker rm -fv %s`", name, one.Name)
		}
		states[name] = power.ContainerState(one.State)
		if states[name] != power.StateOff {
			continue
		}
		if err := power.Startable(c.lab, one); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// Resume: Vagrant's docker provider knows no pause.
func (c containers) Resume(ctx context.Context, names ...string) error {
	nodes, _, err := c.own(ctx)
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(names))
	for _, name := range names {
		one, there := nodes[name]
		if !there {
			return fmt.Errorf("node %s has no container", name)
		}
		ids = append(ids, one.ID)
	}
	return c.engine.Unpause(ctx, ids...)
}

// Destroy implements Machines. Vagrant may have forgotten a container, and then destroys nothing and says nothing.
func (c containers) Destroy(ctx context.Context, names ...string) error {
	if err := c.Vagrant.Destroy(ctx, names...); err != nil {
		return err
	}
	nodes, kept, err := c.own(ctx)
	if err != nil {
		return err
	}
	var ids, volumes []string
	for _, name := range names {
		if one, there := nodes[name]; there {
			ids = append(ids, one.ID)
		}
		if v, there := kept[name]; there {
			volumes = append(volumes, v.Name)
		}
	}
	if err := c.engine.RemoveContainers(ctx, ids); err != nil {
		return err
	}
	if err := c.engine.RemoveVolumes(ctx, volumes); err != nil {
		return err
	}
	return untilGone(ctx, func(ctx context.Context) ([]string, error) {
		nodes, kept, err := c.own(ctx)
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			_, there := nodes[name]
			_, stays := kept[name]
			return !there && !stays
		}), err
	})
}

// goneWithin is how long an engine may take to be rid of what it was told to remove.
const goneWithin = time.Minute

// untilGone waits until nothing is left of what was removed. left names what is.
func untilGone(ctx context.Context, left func(context.Context) ([]string, error)) error {
	begun := time.Now()
	for {
		names, err := left(ctx)
		if err != nil || len(names) == 0 {
			return err
		}
		if time.Since(begun) > goneWithin {
			return fmt.Errorf("removed, and yet there is: %s", strings.Join(names, " "))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// virtual are nodes that are virtual machines.
type virtual struct {
	*power.Vagrant
	lab *settings.Lab
}

// Resume: `vagrant up` resumes what was suspended.
func (v virtual) Resume(ctx context.Context, nodes ...string) error { return v.Up(ctx, nodes...) }

// Provision copies the folders first, which a container has mounted.
func (v virtual) Provision(ctx context.Context, nodes ...string) error {
	if err := v.Sync(ctx, nodes...); err != nil {
		return err
	}
	return v.Vagrant.Provision(ctx, nodes...)
}

// Destroy implements Machines. Vagrant destroys what it has taken note of, so that is held against the hypervisor's word before, and after.
func (v virtual) Destroy(ctx context.Context, nodes ...string) error {
	records, err := v.records(nodes)
	if err != nil || len(records) == 0 {
		return err
	}
	var names []string
	for _, r := range records {
		name, err := v.Called(ctx, r)
		if err != nil && !errors.Is(err, power.ErrNoMachine) {
			return err
		}
		if want := v.lab.Name + "-" + r.Node; name != "" && name != want {
			return fmt.Errorf("not destroyed: the machine that Vagrant has for node %s is called %s in %s, and this lab's would be called %s. "+
				"If the lab was made with another LAB_NAME, give that; else remove .vagrant/machines/%s", r.Node, name, r.Provider, want, r.Node)
		}
		names = append(names, r.Node)
	}
	if err := v.Vagrant.Destroy(ctx, names...); err != nil {
		return err
	}
	return untilGone(ctx, func(ctx context.Context) ([]string, error) { return v.left(ctx, records) })
}

// left are the nodes of those machines that are still there.
func (v virtual) left(ctx context.Context, records []power.Record) ([]string, error) {
	var left []string
	for _, r := range records {
		name, err := v.Called(ctx, r)
		if errors.Is(err, power.ErrNoMachine) {
			continue
		}
		if err != nil {
			return nil, err
		}
		noted, err := v.records([]string{r.Node})
		if err != nil {
			return nil, err
		}
		// Where nobody was to be asked, Vagrant's note is all that is known.
		if name != "" || len(noted) > 0 {
			left = append(left, r.Node)
		}
	}
	return left, nil
}

// records are the machines of nodes of which Vagrant has taken note under the lab's provider.
func (v virtual) records(nodes []string) ([]power.Record, error) {
	records, err := power.Records(v.lab)
	return slices.DeleteFunc(records, func(r power.Record) bool {
		return r.Provider != v.lab.Provider || !slices.Contains(nodes, r.Node)
	}), err
}
