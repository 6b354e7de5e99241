package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// How long agents may take to answer a command that shows something, at first and when they are asked again.
const (
	askWithin  = 4 * time.Second
	hearWithin = 20 * time.Second
)

// snapshot asks all agents, and once more those that gave no answer in time: a busy node is late. It does not wait for a
// node that somebody froze.
func (a *App) snapshot(ctx context.Context, lab *settings.Lab, f *fleet.Fleet) fleet.View {
	view := ask(ctx, f, cmp.Or(a.Ask, askWithin))
	late := a.late(lab, view)
	if len(late) == 0 || ctx.Err() != nil {
		return view
	}
	hear := cmp.Or(a.Hear, hearWithin)
	fmt.Fprintf(a.err, "no answer from %s yet; waiting for up to %s more\n", strings.Join(late, ", "), hear)
	return ask(ctx, f, hear)
}

func ask(ctx context.Context, f *fleet.Fleet, within time.Duration) fleet.View {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return f.Snapshot(ctx)
}

// late are the nodes that did not answer in time, and of which it is not known why.
func (a *App) late(lab *settings.Lab, view fleet.View) []string {
	frozen := map[string]bool{}
	if o, err := a.powerFaults(lab); err == nil {
		faults, _ := o.List() // what cannot be read is told where faults are shown
		for _, fault := range faults {
			frozen[fault.Node] = fault.Kind == powerfault.Freeze
		}
	}
	return view.Silent(func(node string) bool { return !frozen[node] })
}
