package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/swarmlab/swarmlab/agents/common/durable"
	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// holdings are what somebody has on the engine.
type holdings struct {
	containers []docker.Container
	volumes    []docker.Volume
	networks   []docker.Network
}

func (h holdings) empty() bool { return len(h.containers)+len(h.volumes)+len(h.networks) == 0 }

// names of all that there is.
func (h holdings) names() []string {
	var names []string
	for _, c := range h.containers {
		names = append(names, c.Name)
	}
	for _, v := range h.volumes {
		names = append(names, "volume "+v.Name)
	}
	for _, n := range h.networks {
		names = append(names, "network "+n.Name)
	}
	return names
}

// stray is what bears the lab's name and belongs to a clone that is no longer where it was.
type stray struct {
	owner.Mark
	holdings
}

// survey looks at everything on the engine that labs are made of: what is the lab's, under whatever name, and what strays.
func (s System) survey(ctx context.Context, lab *settings.Lab) (own holdings, strays []*stray, err error) {
	clone := lab.Owner()
	var all holdings
	if all.containers, err = s.Engine.Containers(ctx, ""); err != nil {
		return own, nil, err
	}
	if all.volumes, err = s.Engine.Volumes(ctx, ""); err != nil {
		return own, nil, err
	}
	if all.networks, err = s.Engine.Networks(ctx); err != nil {
		return own, nil, err
	}
	whose := func(labels map[string]string) *holdings {
		mark := owner.MarkOf(labels)
		switch clone.Whose(mark) {
		case owner.Ours, owner.Forsaken:
			return &own
		case owner.Stray:
			if mark.Lab != lab.Name {
				break
			}
			i := slices.IndexFunc(strays, func(s *stray) bool { return s.Folder == mark.Folder && s.Clone == mark.Clone })
			if i < 0 {
				i = len(strays)
				strays = append(strays, &stray{Mark: mark})
			}
			return &strays[i].holdings
		}
		return &holdings{}
	}
	for _, c := range all.containers {
		h := whose(c.Labels)
		h.containers = append(h.containers, c)
	}
	for _, v := range all.volumes {
		h := whose(v.Labels)
		h.volumes = append(h.volumes, v)
	}
	for _, n := range all.networks {
		if n.Labels[owner.LabelLab] != "" {
			h := whose(n.Labels)
			h.networks = append(h.networks, n)
		}
	}
	return own, strays, nil
}

// Sweep implements Host. It takes what this clone made, under whatever name, and what bears the lab's name and is nobody's any more; never what
// another clone's lab consists of, be that clone where it was or elsewhere.
func (s System) Sweep(ctx context.Context, lab *settings.Lab, say func(string)) (found bool, err error) {
	own, strays, err := s.survey(ctx, lab)
	if err != nil {
		if lab.Saved != nil && lab.Saved.Provider != settings.ProviderDocker && !errors.Is(err, docker.ErrNoAnswer) {
			return false, s.forgetMachines(lab) // no engine is needed for a lab of virtual machines
		}
		return false, fmt.Errorf("ask the Docker engine for what is left of the lab: %w", err)
	}
	if own.empty() {
		if err := sameEngine(ctx, s.Engine, lab); err != nil {
			return false, err
		}
	}
	for _, one := range strays {
		if s.ownerless(ctx, one.holdings) {
			own.containers = append(own.containers, one.containers...)
			own.volumes = append(own.volumes, one.volumes...)
			own.networks = append(own.networks, one.networks...)
		}
	}
	if err := s.remove(ctx, own, say); err != nil {
		return false, err
	}
	if err := untilGone(ctx, func(ctx context.Context) ([]string, error) {
		left, _, err := s.survey(ctx, lab)
		return left.names(), err
	}); err != nil {
		return false, err
	}
	return !own.empty(), s.forgetMachines(lab)
}

// remove removes containers, then what they used.
func (s System) remove(ctx context.Context, what holdings, say func(string)) error {
	say(fmt.Sprintf("removing %d containers", len(what.containers)))
	var ids, volumes, networks []string
	var thawing sync.WaitGroup
	for _, c := range what.containers {
		ids = append(ids, c.ID)
		thawing.Go(func() {
			// What cannot be thawed is off, or not frozen, or cannot be removed, which is told then.
			_ = power.ThawWithin(ctx, c.ID)
		})
	}
	thawing.Wait()
	if err := s.Engine.RemoveContainers(ctx, ids); err != nil {
		return err
	}
	for _, v := range what.volumes {
		volumes = append(volumes, v.Name)
	}
	say(fmt.Sprintf("removing %d volumes", len(volumes)))
	if err := s.Engine.RemoveVolumes(ctx, volumes); err != nil {
		return err
	}
	for _, n := range what.networks {
		networks = append(networks, n.ID)
	}
	return s.Engine.RemoveNetworks(ctx, networks)
}

// ownerless: the clone that made it was deleted. One that was moved would miss it, and the engine does not know the difference; but the kernel knows of
// a folder that a running node has mounted whether it is deleted. A network alone nobody misses: it is made anew.
func (s System) ownerless(ctx context.Context, h holdings) bool {
	running := false
	for _, c := range h.containers {
		if power.ContainerState(c.State) != power.StateRunning {
			continue
		}
		running = true
		if deleted, err := s.Engine.SourceDeleted(ctx, c.ID, given); err != nil || !deleted {
			return false
		}
	}
	return running || len(h.containers)+len(h.volumes) == 0
}

// given is where a node has the folder of the clone that it was given.
const given = "/opt/swarmlab"

// Strays names what bears the lab's name, and is not removed because it may still be wanted; with what to do.
func (s System) Strays(ctx context.Context, lab *settings.Lab) ([]string, error) {
	_, strays, err := s.survey(ctx, lab)
	var notes []string
	for _, one := range strays {
		notes = append(notes, fmt.Sprintf("  %s\n  left as they are: the clone that made them was at %s, and was moved or deleted. If it was moved, `make down` there removes them; if it is gone:\n"+
			"  %s",
			strings.Join(one.names(), ", "), one.Folder, owner.Removal(one.Mark)))
	}
	return notes, err
}

// engineFile says on which engine the lab was made.
func engineFile(lab *settings.Lab) string { return lab.Path("engine") }

// sameEngine tells that the lab was made on another engine than the one that is asked now; there it still is.
func sameEngine(ctx context.Context, engine docker.Engine, lab *settings.Lab) error {
	text, err := os.ReadFile(engineFile(lab))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look on which Docker engine the lab was made: %w", err)
	}
	then := strings.TrimSpace(string(text))
	now, err := engine.ID(ctx)
	if err != nil || now == "" || now == then {
		return err
	}
	return fmt.Errorf("the nodes of this lab were made on another Docker engine (%s) than the one that answers now (%s): set DOCKER_HOST, DOCKER_CONTEXT or "+
		"`docker context use` as they were then; if that engine is gone for good, remove %s and try again", then, now, lab.Relative(engineFile(lab)))
}

// noteEngine writes down on which engine the lab is made, unless that is known.
func noteEngine(ctx context.Context, engine docker.Engine, lab *settings.Lab) error {
	if _, err := os.Stat(engineFile(lab)); err == nil {
		return nil
	}
	now, err := engine.ID(ctx)
	if err != nil || now == "" {
		return err
	}
	if err := os.MkdirAll(lab.StateDir(), 0o700); err != nil {
		return fmt.Errorf("write down on which Docker engine the lab is made: %w", err)
	}
	if err := durable.Replace(engineFile(lab), []byte(now+"\n"), 0o600); err != nil {
		return fmt.Errorf("write down on which Docker engine the lab is made: %w", err)
	}
	return nil
}

func forgetEngine(lab *settings.Lab) error {
	if err := os.Remove(engineFile(lab)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget on which Docker engine the lab was made: %w", err)
	}
	return nil
}
