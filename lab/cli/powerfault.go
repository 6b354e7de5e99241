package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// isPower reports whether a kind of fault is the host's.
func isPower(kind string) bool { return slices.Contains(powerfault.Kinds(), powerfault.Kind(kind)) }

func powerTable() string {
	var b strings.Builder
	for _, k := range powerfault.Kinds() {
		fmt.Fprintf(&b, "  %-13s %s\n", k, k.Does())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// powerFaults opens the power faults of a lab.
func (a *App) powerFaults(lab *settings.Lab) (*powerfault.PowerFaults, error) {
	return powerfault.Open(lab, func() error { return a.startReaper(lab) })
}

// replay sees to it that power faults end which a process that is gone has left. It is no reason for a command to fail.
func (a *App) replay(lab *settings.Lab) {
	if lab.Saved == nil {
		return
	}
	if _, err := a.powerFaults(lab); err != nil {
		fmt.Fprintf(a.err, "lab: %v\n", err)
	}
}

// endPowerFaults ends all power faults, as far as that goes.
func (a *App) endPowerFaults(ctx context.Context, lab *settings.Lab) {
	if lab.Saved == nil {
		return
	}
	over, err := a.healPowerFaults(ctx, lab)
	for _, h := range over {
		fmt.Fprintf(a.out, "%s on %s is over\n", h.Fault, h.Node)
	}
	if err != nil {
		fmt.Fprintf(a.err, "lab: %v\n", err)
	}
}

func (a *App) healPowerFaults(ctx context.Context, lab *settings.Lab) ([]fleet.Healed, error) {
	o, err := a.powerFaults(lab)
	if err != nil {
		return nil, err
	}
	ending, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { a.printTrouble(ending, o) })
	over, err := o.Heal(ctx)
	stop()
	telling.Wait()
	var healed []fleet.Healed
	for _, f := range over {
		healed = append(healed, fleet.Healed{Node: f.Node, Fault: string(f.Kind)})
	}
	return healed, err
}

// troubleEvery is how often is looked what keeps a fault from ending.
const troubleEvery = time.Second

// printTrouble says what keeps power faults from ending, each time that it is something else, until ctx ends: they are tried again for minutes.
func (a *App) printTrouble(ctx context.Context, faults interface {
	List() ([]powerfault.Fault, error)
},
) {
	said := map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(troubleEvery):
		}
		all, err := faults.List()
		if err != nil {
			continue // Heal says it
		}
		for _, f := range all {
			if f.Trouble != "" && said[f.ID] != f.Trouble {
				said[f.ID] = f.Trouble
				fmt.Fprintf(a.err, "%s on %s has not ended yet; trying again: %s\n", f.Kind, f.Node, plain.Line(f.Trouble))
			}
		}
	}
}

// cutPower injects a power fault, and tells of it.
func (a *App) cutPower(ctx context.Context, lab *settings.Lab, kind, node string, lease time.Duration, asJSON bool) error {
	o, err := a.powerFaults(lab)
	if err != nil {
		return err
	}
	f, err := o.Inject(ctx, powerfault.Kind(kind), node, lease, holder())
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(newShownPowerFault(f))
	}
	fmt.Fprintf(a.out, "%s on %s: %s\nit ends by itself in %s; lab heal ends it now\n", f.Kind, f.Node, f.Evidence, lease)
	return nil
}

// addPowerFaults shows power faults beside the faults that nodes know of.
func (a *App) addPowerFaults(s *status, lab *settings.Lab) {
	o, err := a.powerFaults(lab)
	if err != nil {
		return // which replay has told
	}
	faults, err := o.List()
	if err != nil {
		fmt.Fprintf(a.err, "lab: %v\n", err)
	}
	for _, f := range faults {
		for i := range s.Nodes {
			if s.Nodes[i].Name == f.Node {
				s.Nodes[i].Faults = append(s.Nodes[i].Faults, newShownPowerFault(f))
			}
		}
	}
}

func newShownPowerFault(f powerfault.Fault) shownFault {
	return shownFault{
		ID: f.ID, Fault: string(f.Kind), Holder: f.Holder, InjectedAt: f.Injected, LeftMS: f.Left(time.Now()).Milliseconds(),
		Ending: f.Phase == powerfault.Ending, Evidence: f.Evidence, Trouble: f.Trouble,
	}
}
