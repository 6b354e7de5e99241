package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// awaitReady follows the nodes until all are ready at the stage; say is told what they wait for meanwhile. When they do
// not get there in time the error is a diagnosis of each that did not. A lab on which something changes is waited for: a slow machine is not a
// broken one. within is how long nothing may change; in all it is longestWait times as long.
func awaitReady(ctx context.Context, f *fleet.Fleet, stage settings.Stage, within time.Duration, say func(string)) (fleet.View, error) {
	// Not a deadline on the context: the agents' streams would end with it, and the last view tell of that instead of what
	// the nodes waited for.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := time.Now()
	seen := ""
	over := time.NewTimer(within)
	defer over.Stop()
	updates := f.Watch(ctx)
	var view fleet.View
	for {
		select {
		case update, more := <-updates:
			if !more {
				return view, ctx.Err()
			}
			view = update.View
			if view.Ready(stage) || asReadyAsWanted(view, stage) {
				return view, nil
			}
			now := summary(view, stage)
			say(now)
			if now != seen {
				seen = now
				over.Reset(time.Until(waitsUntil(begun, time.Now(), within)))
			}
		case <-over.C:
			why := fmt.Sprintf("nothing changed for %s", within)
			if took := time.Since(begun); took >= longestWait*within {
				why = fmt.Sprintf("given up after %s", took.Round(time.Second))
			}
			return view, fmt.Errorf("%w at stage %s, %s:\n%s", errNotReady, stage, why, Diagnosis(view, stage))
		}
	}
}

// longestWait is how many times longer than on a lab that stands still one is waited for on which something changes.
const longestWait = 5

// waitsUntil is when a lab that changed just now is given up if nothing changes any more.
func waitsUntil(begun, changed time.Time, within time.Duration) time.Time {
	end, last := changed.Add(within), begun.Add(longestWait*within)
	if end.After(last) {
		return last
	}
	return end
}

// asReadyAsWanted: somebody stopped a container manually or runs one of their own in its place, and but for that every
// node is as it should be. Waiting would not change it; what depends on that container, on whatever node, is not healthy
// either, so health does not count here.
func asReadyAsWanted(view fleet.View, stage settings.Stage) bool {
	if len(Wilful(view)) == 0 {
		return false
	}
	for _, n := range view.Nodes {
		s := n.Snapshot
		if s == nil || !s.GetEngine().GetUp() || settings.Stage(s.GetDesiredStage()) != stage {
			return false
		}
		for _, c := range s.GetContainers() {
			if c.GetOwnership() != agentv1.Ownership_OWNERSHIP_FOREIGN && c.GetState() != "running" && !wilful(c) {
				return false
			}
		}
	}
	return true
}

// notes are what people should know of a lab that is as ready as it can be.
func notes(view fleet.View, stage settings.Stage) []string {
	lines := Wilful(view)
	for _, n := range view.Nodes {
		if settings.Stage(n.Snapshot.GetReachedStage()) > stage {
			return append(lines, fmt.Sprintf("what stands above stage %s was left; `bin/lab reset --stage %s` clears it", stage, stage))
		}
	}
	return lines
}

// wilful: as it is because somebody wants it so.
func wilful(c *agentv1.ContainerStatus) bool {
	return c.GetManuallyStopped() || c.GetOwnership() == agentv1.Ownership_OWNERSHIP_DIFFERENT
}

// Wilful names what is not as planned because somebody wants it so, a line each.
func Wilful(view fleet.View) []string {
	var lines []string
	for _, n := range view.Nodes {
		for _, c := range n.Snapshot.GetContainers() {
			switch {
			case c.GetManuallyStopped():
				lines = append(lines, fmt.Sprintf("%s on %s was stopped manually and left so; `bin/lab heal` starts it", c.GetName(), n.Node.Name))
			case wilful(c):
				lines = append(lines, fmt.Sprintf("%s on %s was started manually and left so; it differs: %s",
					c.GetName(), n.Node.Name, strings.Join(c.GetDifferences(), "; ")))
			}
		}
	}
	return lines
}

var errNotReady = errors.New("the lab is not ready")

// readySummary says with what the wait ended.
func readySummary(view fleet.View, stage settings.Stage) string {
	if !view.Ready(stage) {
		return fmt.Sprintf("%d nodes at stage %s, but for what was done manually", len(view.Nodes), stage)
	}
	return fmt.Sprintf("%d nodes at stage %s", len(view.Nodes), stage)
}

// summary is one line: how many nodes are ready, and what the first others wait for.
func summary(view fleet.View, stage settings.Stage) string {
	ready, waiting := 0, []string(nil)
	for _, n := range view.Nodes {
		if n.Ready(stage) {
			ready++
			continue
		}
		waiting = append(waiting, n.Node.Name+": "+brief(n, stage))
	}
	line := fmt.Sprintf("%d of %d nodes ready", ready, len(view.Nodes))
	if len(waiting) > 0 {
		line += " · " + strings.Join(waiting, " · ")
	}
	return line
}

// brief is the shortest useful word on a node that is not ready.
func brief(n fleet.NodeView, stage settings.Stage) string {
	switch {
	case n.Err != nil && n.Err.Problem == fleet.ProblemDown:
		return "not running"
	case n.Err != nil:
		return "no answer"
	case n.Snapshot == nil:
		return "connecting"
	case len(n.Snapshot.GetPending()) > 0:
		return n.Snapshot.GetPending()[0].GetStep()
	case !n.Snapshot.GetEngine().GetUp():
		return "engine"
	case settings.Stage(n.Snapshot.GetDesiredStage()) != stage:
		return "stage " + settings.Stage(n.Snapshot.GetDesiredStage()).String()
	case n.Snapshot.GetRole().GetChecked() && !n.Snapshot.GetRole().GetHealthy():
		return n.Snapshot.GetRole().GetMessage()
	default:
		return "settling"
	}
}

// Diagnosis tells of each node that is not ready what keeps it, one indented line for each reason.
func Diagnosis(view fleet.View, stage settings.Stage) string {
	var b strings.Builder
	for _, n := range view.Nodes {
		if n.Ready(stage) {
			continue
		}
		for _, reason := range reasons(n, stage) {
			fmt.Fprintf(&b, "  %s: %s\n", n.Node.Name, reason)
		}
	}
	b.WriteString("Look closer with `bin/lab status` and `bin/lab logs NODE [CONTAINER]`; `make up` tries again.")
	return b.String()
}

func reasons(n fleet.NodeView, stage settings.Stage) []string {
	switch {
	case n.Err != nil:
		return []string{n.Err.Reason}
	case n.Snapshot == nil:
		return []string{"has not answered yet"}
	}
	s := n.Snapshot
	var why []string
	if !s.GetEngine().GetUp() {
		why = append(why, "its Docker engine does not answer: "+s.GetEngine().GetError())
	}
	if got := settings.Stage(s.GetDesiredStage()); got != stage {
		why = append(why, fmt.Sprintf("is set to stage %s", got))
	}
	for _, p := range s.GetPending() {
		line := p.GetStep()
		if p.GetReason() != "" {
			line += ": " + p.GetReason()
		}
		if p.GetAttempts() > 1 {
			line += fmt.Sprintf(" (%d attempts)", p.GetAttempts())
		}
		why = append(why, line)
	}
	for _, c := range s.GetContainers() {
		switch {
		case c.GetError() != "":
			why = append(why, fmt.Sprintf("container %s: %s", c.GetName(), c.GetError()))
		case c.GetOwnership() == agentv1.Ownership_OWNERSHIP_DIFFERENT:
			why = append(why, fmt.Sprintf("container %s was started manually and differs: %s", c.GetName(), strings.Join(c.GetDifferences(), "; ")))
		case c.GetOwnership() == agentv1.Ownership_OWNERSHIP_MANAGED && c.GetState() != "running" && !c.GetManuallyStopped():
			why = append(why, fmt.Sprintf("container %s is %s (exit code %d)", c.GetName(), c.GetState(), c.GetExitCode()))
		}
	}
	role := s.GetRole()
	switch {
	case !role.GetRunning():
		why = append(why, "its role plugin does not run: "+role.GetError())
	case role.GetChecked() && !role.GetHealthy():
		why = append(why, "its role is not healthy: "+role.GetMessage())
	}
	if d := s.GetDiscovery(); d.GetError() != "" {
		why = append(why, "Consul: "+d.GetError())
	}
	if len(why) == 0 {
		why = append(why, fmt.Sprintf("has reached stage %s", settings.Stage(s.GetReachedStage())))
	}
	return why
}
