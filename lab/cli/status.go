package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
)

func (a *App) status() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, clocks, containers, stage and votes",
		Long: `Shows each node with its containers and what it waits for, how many votes were captured by the frontends, wait in their
queues and were counted, and where to look. The exit status is 1 when a node is not ready. Dead letters are what can never be
counted; ` + "`lab dead-letters`" + ` lists them. A node that does not answer at once is asked again, for 20 s; then its state is "no answer",
which does not mean that anything is wrong with it.

ALARM: a Redis came back empty or with older data, so that acknowledged votes may be gone. That stays until lab reset; the
table incidents of the database votes says when it was and how many votes were captured before and after.

CLOCK is the node's clock minus the manager's: + is ahead.`,
		Example: "  lab status\n  lab status --json | jq .votes",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, f, done, err := a.fleet(fleet.Observe)
			if err != nil {
				return err
			}
			defer done()
			s := newStatus(lab, a.snapshot(cmd.Context(), lab, f))
			a.addPowerFaults(&s, lab)
			if asJSON {
				if err := a.printJSON(s); err != nil {
					return err
				}
			} else {
				s.print(a.out, lab)
			}
			if !s.Ready {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// status is what `lab status --json` prints.
type status struct {
	Lab   string         `json:"lab"`
	Stage settings.Stage `json:"stage"`
	// StagesDiffer: not all nodes are set to Stage.
	StagesDiffer bool         `json:"stages_differ,omitempty"`
	Ready        bool         `json:"ready"`
	Nodes        []statusNode `json:"nodes"`
	Votes        statusVotes  `json:"votes"`
	// Alarms say that acknowledged votes may be gone. They stay until a reset.
	Alarms []string   `json:"alarms"`
	URLs   statusURLs `json:"urls"`
}

type statusNode struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Address string `json:"address"`
	Port    int    `json:"agent_port"`
	// State is "ready", "not ready", "unreachable" or, where it could not be told how the node is, "no answer".
	State string `json:"state"`
	// Error says why the node is unreachable, or what did not answer.
	Error        string             `json:"error,omitempty"`
	DesiredStage settings.Stage     `json:"desired_stage,omitempty"`
	ReachedStage settings.Stage     `json:"reached_stage,omitempty"`
	Agent        string             `json:"agent_version,omitempty"`
	Engine       string             `json:"engine,omitempty"`
	Swarm        string             `json:"swarm,omitempty"`
	Healthy      bool               `json:"role_healthy"`
	RoleMessage  string             `json:"role_message,omitempty"`
	Measures     map[string]float64 `json:"measures,omitempty"`
	Clock        *statusClock       `json:"clock"`
	Containers   []statusContainer  `json:"containers"`
	Pending      []statusPending    `json:"pending"`
	// Faults that are not over.
	Faults []shownFault `json:"faults"`
}

type statusContainer struct {
	Name            string     `json:"name"`
	Image           string     `json:"image,omitempty"`
	State           string     `json:"state"`
	Ownership       string     `json:"ownership"`
	Since           *time.Time `json:"since,omitempty"`
	ManuallyStopped bool       `json:"manually_stopped,omitempty"`
	ExitCode        int32      `json:"exit_code,omitempty"`
	Restarts        int64      `json:"restarts,omitempty"`
	Differences     []string   `json:"differences,omitempty"`
	Networks        []string   `json:"networks,omitempty"`
	Error           string     `json:"error,omitempty"`
}

// statusClock is a node's clock against the manager's. What is measured is null before the manager first answered the node.
type statusClock struct {
	// Reference: it is the manager's own.
	Reference bool `json:"reference,omitempty"`
	// OffsetMS is the node's clock minus the manager's; the true offset is at most BoundMS from it.
	OffsetMS *float64 `json:"offset_ms"`
	BoundMS  *float64 `json:"bound_ms"`
	// MeasuredAt is by the node's clock.
	MeasuredAt *time.Time `json:"measured_at"`
	// Stale: the manager has not answered for a while. Off: the clock is wrong for certain, by more than matters.
	Stale bool `json:"stale"`
	Off   bool `json:"off"`
	// Source is what keeps the clock: "host", "chrony", "none", or "unspecified" when that is not known yet.
	Source         string `json:"source"`
	SynchronizedTo string `json:"synchronized_to,omitempty"`
	Error          string `json:"error,omitempty"`

	offset, age time.Duration
}

type statusPending struct {
	Step     string `json:"step"`
	Reason   string `json:"reason,omitempty"`
	Attempts int32  `json:"attempts,omitempty"`
}

// statusVotes: null when a node that counts them does not answer.
type statusVotes struct {
	Captured     *float64 `json:"captured"`
	Queued       *float64 `json:"queued"`
	Counted      *float64 `json:"counted"`
	DeadLettered *float64 `json:"dead_lettered"`
}

type statusURLs struct {
	Vote          string `json:"vote"`
	Results       string `json:"results"`
	BalancerStats string `json:"balancer_stats"`
	StatsUser     string `json:"balancer_stats_user"`
	StatsPassword string `json:"balancer_stats_password_file"`
}

func newStatus(lab *settings.Lab, view fleet.View) status {
	s := status{Lab: lab.Name, Ready: true}
	s.Stage, s.StagesDiffer = view.Stage()
	for _, n := range view.Nodes {
		node := newStatusNode(lab, n)
		s.Ready = s.Ready && node.State == stateReady
		s.Nodes = append(s.Nodes, node)
	}
	known := func(value float64, known bool) *float64 {
		if !known {
			return nil
		}
		return &value
	}
	v := view.Votes()
	s.Votes = statusVotes{
		Captured: known(v.Captured, v.CapturedKnown), Queued: known(v.Queued, v.QueuedKnown),
		Counted: known(v.Counted, v.CountedKnown), DeadLettered: known(v.DeadLettered, v.DeadLetteredKnown),
	}
	s.Alarms = []string{}
	incidents := view.Incidents()
	for _, queue := range slices.Sorted(maps.Keys(incidents)) {
		times := "once"
		if n := incidents[queue]; n > 1 {
			times = fmt.Sprintf("%d times", n)
		}
		s.Alarms = append(s.Alarms, fmt.Sprintf("%s came back without data that it had acknowledged, %s: votes may be lost", queue, times))
	}
	s.URLs = statusURLs{
		Vote:          lab.VotingURL(),
		Results:       lab.ResultsURL(),
		BalancerStats: lab.VotingURL() + "haproxy?stats",
		StatsUser:     contract.StatsUser,
		StatsPassword: filepath.Join(".lab", filepath.FromSlash(pki.StatsPasswordFile)),
	}
	return s
}

// States of a node.
const (
	stateReady       = "ready"
	stateNotReady    = "not ready"
	stateUnreachable = "unreachable"
	// untold begins what an agent says of an engine that did not answer it.
	untold = "could not tell"
	// stateSilent: no answer in time. The node may be well, and only busy.
	stateSilent = "no answer"
)

func newStatusNode(lab *settings.Lab, n fleet.NodeView) statusNode {
	node := statusNode{
		Name: n.Node.Name, Role: n.Node.Role, Address: n.Node.Address.String(), Port: lab.AgentPort(n.Node),
		State: stateUnreachable, Containers: []statusContainer{}, Pending: []statusPending{}, Faults: []shownFault{},
	}
	if n.Err != nil {
		node.Error = n.Err.Reason
		if n.Err.Problem == fleet.ProblemHanging {
			node.State, node.Error = stateSilent, "could not tell how it is: "+n.Err.Reason
		}
	}
	snap := n.Snapshot
	if snap == nil {
		return node
	}
	node.State = stateNotReady
	if snap.GetReady() {
		node.State = stateReady
	}
	node.DesiredStage, node.ReachedStage = settings.Stage(snap.GetDesiredStage()), settings.Stage(snap.GetReachedStage())
	node.Agent, node.Swarm = snap.GetAgent().GetVersion(), snap.GetSwarm().GetLocalState()
	node.Engine = snap.GetEngine().GetVersion()
	if !snap.GetEngine().GetUp() {
		node.Engine = "down: " + snap.GetEngine().GetError()
		if strings.HasPrefix(snap.GetEngine().GetError(), untold) {
			node.Engine = snap.GetEngine().GetError()
		}
	}
	node.Healthy, node.RoleMessage = snap.GetRole().GetHealthy(), snap.GetRole().GetMessage()
	if !snap.GetRole().GetRunning() {
		node.RoleMessage = snap.GetRole().GetError()
	}
	node.Measures = snap.GetRole().GetMeasures()
	node.Clock = newStatusClock(snap)
	for _, c := range snap.GetContainers() {
		node.Containers = append(node.Containers, newStatusContainer(c))
	}
	for _, f := range snap.GetFaults() {
		node.Faults = append(node.Faults, newShownFault(f))
	}
	for _, p := range snap.GetPending() {
		node.Pending = append(node.Pending, statusPending{Step: p.GetStep(), Reason: p.GetReason(), Attempts: p.GetAttempts()})
	}
	return node
}

// newStatusClock is nil for an agent that knows nothing of clocks.
func newStatusClock(snap *agentv1.NodeSnapshot) *statusClock {
	c := snap.GetClock()
	if c == nil {
		return nil
	}
	s := &statusClock{
		Reference: c.GetReference(), Stale: c.GetStale(), Off: c.GetOff(),
		Source:         strings.ToLower(strings.TrimPrefix(c.GetSource().String(), "CLOCK_SOURCE_")),
		SynchronizedTo: c.GetSynchronizedTo(), Error: c.GetError(),
	}
	if c.GetOffset() == nil {
		return s
	}
	s.offset = c.GetOffset().AsDuration()
	offset, bound := float64(s.offset.Microseconds())/1e3, float64(c.GetBound().AsDuration().Microseconds())/1e3
	at := c.GetMeasuredAt().AsTime()
	s.OffsetMS, s.BoundMS, s.MeasuredAt = &offset, &bound, &at
	s.age = snap.GetTakenAt().AsTime().Sub(at)
	return s
}

func newStatusContainer(c *agentv1.ContainerStatus) statusContainer {
	s := statusContainer{
		Name: c.GetName(), Image: c.GetImage(), State: c.GetState(), ManuallyStopped: c.GetManuallyStopped(),
		Ownership: strings.ToLower(strings.TrimPrefix(c.GetOwnership().String(), "OWNERSHIP_")),
		ExitCode:  c.GetExitCode(), Restarts: c.GetRestarts(), Differences: c.GetDifferences(), Error: c.GetError(),
		Networks: slices.Sorted(maps.Keys(c.GetNetworks())),
	}
	if c.GetOwnership() == agentv1.Ownership_OWNERSHIP_MISSING {
		s.State = "missing"
	}
	if c.GetSince() != nil {
		since := c.GetSince().AsTime()
		s.Since = &since
	}
	return s
}

// print fits into 80 columns as long as nothing is wrong; what is wrong is said in full below the table.
func (s status) print(c *console.Console, lab *settings.Lab) {
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }
	ready := 0
	for _, n := range s.Nodes {
		if n.State == stateReady {
			ready++
		}
	}
	stage := s.Stage.String()
	if s.StagesDiffer {
		stage += " (not on all nodes)"
	}
	if stage == "" {
		stage = "unknown"
	}
	say("%s · stage %s · %d of %d nodes ready", c.Bold("lab "+s.Lab), stage, ready, len(s.Nodes))
	say("")
	say("%s", c.Dim(fmt.Sprintf("%-11s %-15s %-11s %-9s %-12s %s", "NODE", "ADDRESS", "STATE", "CLOCK", "CONTAINER", "STATUS")))
	for _, n := range s.Nodes {
		state := fmt.Sprintf("%-11s", n.State)
		switch n.State {
		case stateReady:
			state = c.Good(state)
		case stateNotReady, stateSilent:
			state = c.Warn(state)
		default:
			state = c.Bad(state)
		}
		head := fmt.Sprintf("%-11s %-15s %s %s", n.Name, n.Address, state, n.Clock.describe(c.Style))
		if len(n.Containers) == 0 {
			none := "none"
			if n.State == stateUnreachable || n.State == stateSilent {
				none = "?"
			}
			say("%s", strings.TrimRight(head+" "+c.Dim(none), " "))
		}
		for i, one := range n.Containers {
			if i > 0 {
				head = fmt.Sprintf("%-11s %-15s %-11s %-9s", "", "", "", "")
			}
			say("%s %-12s %s", head, plain.Line(one.Name), one.describe(c.Style))
		}
	}
	s.printTroubles(c)
	if len(s.Alarms) > 0 {
		say("")
	}
	for _, alarm := range s.Alarms {
		say("%s %s", c.Bad("ALARM"), plain.Line(alarm))
	}
	say("")
	say("votes       captured %s · queued %s · counted %s · dead letters %s",
		count(s.Votes.Captured), count(s.Votes.Queued), count(s.Votes.Counted), count(s.Votes.DeadLettered))
	for _, p := range lifecycle.Pointers(lab) {
		say("%-11s %s", p[0], p[1])
	}
}

func (s status) printTroubles(c *console.Console) {
	first := true
	trouble := func(node, text string) {
		if first {
			fmt.Fprintln(c)
			first = false
		}
		fmt.Fprintf(c, "%s %s: %s\n", c.Warn("!"), node, plain.Line(text))
	}
	for _, n := range s.Nodes {
		if n.Error != "" {
			trouble(n.Name, n.Error)
		}
		switch {
		case strings.HasPrefix(n.Engine, "down"):
			trouble(n.Name, "its engine is "+n.Engine)
		case strings.HasPrefix(n.Engine, untold):
			trouble(n.Name, "its engine: "+n.Engine)
		}
		if text := n.Clock.trouble(); text != "" {
			trouble(n.Name, text)
		}
		for _, f := range n.Faults {
			trouble(n.Name, "fault "+f.String())
		}
		for _, p := range n.Pending {
			text := p.Step
			if p.Reason != "" {
				text += ": " + p.Reason
			}
			if p.Attempts > 1 {
				text += fmt.Sprintf(" (%d attempts)", p.Attempts)
			}
			trouble(n.Name, text)
		}
		for _, one := range n.Containers {
			if one.Error != "" {
				trouble(n.Name, one.Name+": "+one.Error)
			}
			for _, d := range one.Differences {
				trouble(n.Name, one.Name+" was started manually and differs: "+d)
			}
		}
		if n.State != stateUnreachable && n.State != stateSilent && !n.Healthy && n.RoleMessage != "" {
			trouble(n.Name, n.RoleMessage)
		}
	}
}

// describe says how a container is, in at most 16 columns, in the words of `docker ps`.
func (s statusContainer) describe(style console.Style) string {
	state := plain.Line(s.State)
	text := state
	if s.State == "running" {
		text = "up"
		if s.Since != nil {
			text += " " + ago(time.Since(*s.Since))
		}
	}
	switch {
	case s.ManuallyStopped:
		return style.Warn("stopped manually")
	case s.State == "exited" || s.State == "restarting":
		return style.Bad(fmt.Sprintf("%s (%d)", state, s.ExitCode))
	case s.State != "running":
		return style.Bad(state)
	case s.Ownership == "adopted" || s.Ownership == "foreign":
		return style.Good(text) + ", " + s.Ownership
	case s.Ownership == "different":
		return style.Warn(text + ", differs")
	default:
		return style.Good(text)
	}
}

// describe says how far off a clock is, in 9 columns.
func (s *statusClock) describe(style console.Style) string {
	pad := func(text string) string { return fmt.Sprintf("%-9s", text) }
	switch {
	case s == nil || s.OffsetMS == nil:
		return style.Dim(pad("–"))
	case s.Reference:
		return pad("reference")
	case s.Stale:
		return style.Warn(pad("stale " + ago(s.age)))
	case s.Off:
		return style.Warn(pad(signed(s.offset)))
	default:
		return pad(signed(s.offset))
	}
}

// trouble says in full what is wrong with a clock; empty when nothing is.
func (s *statusClock) trouble() string {
	if s == nil || !s.Off {
		return ""
	}
	direction := "ahead of"
	if s.offset < 0 {
		direction = "behind"
	}
	text := fmt.Sprintf("its clock is %s %s the manager's", magnitude(s.offset), direction)
	switch {
	case s.Error != "":
		text += "; " + s.Error
	case s.Source == "chrony" && s.SynchronizedTo == "":
		text += "; chrony has not synchronised it yet"
	case s.Source == "chrony":
		text += "; chrony takes it for synchronised to " + s.SynchronizedTo
	case s.Source == "none":
		text += "; nothing keeps it"
	}
	return text
}

func signed(offset time.Duration) string {
	switch text := magnitude(offset); {
	case text == magnitude(0):
		return text
	case offset < 0:
		return "−" + text
	default:
		return "+" + text
	}
}

// magnitude is a duration without its sign, in at most 8 columns.
func magnitude(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Second-50*time.Microsecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < 100*time.Second-50*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return ago(d)
	}
}

func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func count(n *float64) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprintf("%.0f", *n)
}
