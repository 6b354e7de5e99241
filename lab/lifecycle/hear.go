package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/power"
)

// hear looks at the fleet and, if agents of these nodes gave no answer in time, once more, with patience: a busy node is
// late, and that it did not answer does not mean that anything is wrong with it. within is how long the first look may take, patience the second;
// say is told for whom it waits.
func (l *Lifecycle) hear(ctx context.Context, f *fleet.Fleet, within, patience time.Duration, asked func(node string) bool, say func(string)) fleet.View {
	view := lookFor(ctx, f, within)
	late := view.Silent(asked)
	if len(late) == 0 || ctx.Err() != nil {
		return view
	}
	say(fmt.Sprintf("%s did not answer within %s; waiting for up to %s more", strings.Join(late, " "), within, patience))
	return lookFor(ctx, f, patience)
}

// untold is the error of a command that would have to know how these nodes are, and waited for so long.
func untold(nodes []string, waited time.Duration) error {
	return fmt.Errorf("could not tell whether %s needs anything: no answer from its agent within %s, so nothing was changed; "+
		"it hangs, or is overloaded. Try again when this host has less to do; if it goes on, `vagrant provision %s` installs it anew",
		strings.Join(nodes, " "), waited, strings.Join(nodes, " "))
}

// hearWithin is how long an agent may take that is asked again.
func (l *Lifecycle) hearWithin() time.Duration { return cmp.Or(l.Hear, time.Minute) }

// lookWithin is how long an agent may take that is asked first.
func (l *Lifecycle) lookWithin() time.Duration { return cmp.Or(l.Look, lookTimeout) }

// statesOf asks for the state of all machines of which it has to be known.
func statesOf(ctx context.Context, machines Machines) (map[string]power.State, error) {
	all, err := machines.States(ctx)
	if err != nil {
		return nil, err
	}
	for node, state := range all {
		if state == power.StateUnknown {
			return nil, fmt.Errorf("could not tell whether the machine of %s runs: its provider does not say, so nothing was changed; "+
				"`vagrant status %s` says more, then try again", node, node)
		}
	}
	return all, nil
}
