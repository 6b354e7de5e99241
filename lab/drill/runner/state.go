package runner

import (
	"fmt"
	"maps"
	"slices"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/votes/load"
)

// span is the time over which rates are taken.
const span = 2 * time.Second

// state is all that was seen of the lab last. It is a value: whoever holds one, holds a moment.
type state struct {
	stage settings.Stage
	view  fleet.View
	// heard are the nodes of which anything was heard, an error included.
	heard map[string]bool
	// servers by frontend; nil when the balancer does not answer.
	servers map[string]bool
	// voting and results are HTTP statuses, 0 for no answer.
	voting, results int
	// queues by frontend: the votes that wait; one that does not tell is missing.
	queues map[string]int64
	// left is how many votes have left each queue, as far as it told last.
	left map[string]int64
	rate float64
	// recent reports of the load, the oldest first, over span or a little more.
	recent []load.Progress
	// accepted is when a vote was accepted last, or the load began.
	accepted time.Time
	// counted are how many votes have left all queues, over the same span; the last is as old as their silence.
	counted []counted
	// pids are the containers' processes in the steady state; died are those of which it was told since that they ended.
	pids map[string]int64
	died map[string]bool
}

// counted is how many votes have left the queues by a moment.
type counted struct {
	at    time.Time
	votes int64
}

// container finds a container of the lab.
func (p *state) container(name string) *agentv1.ContainerStatus {
	for _, n := range p.view.Nodes {
		for _, c := range n.Snapshot.GetContainers() {
			if c.GetName() == name {
				return c
			}
		}
	}
	return nil
}

// env is what conditions see of the state, elapsed after the moment from which their times count.
func (p *state) env(homes map[string]string, now time.Time, elapsed time.Duration) drill.Env {
	s := drill.Env{
		Elapsed: elapsed.Seconds(), Ready: p.view.Ready(p.stage), Voting: p.voting, Results: p.results, Rate: p.rate,
		P99: -1, Queued: -1, Counted: p.counting(),
	}
	for _, n := range p.view.Nodes {
		s.Faults += len(n.Snapshot.GetFaults())
	}
	for _, waiting := range p.queues {
		s.Queued = max(s.Queued, 0) + float64(waiting)
	}
	if n := len(p.recent); n > 0 {
		s.Accepted, s.Failed = p.rates()
		if p.recent[n-1].Rate > 0 {
			s.P99 = milliseconds(p.recent[n-1].P99)
		}
		s.Silent = now.Sub(p.accepted).Seconds()
	}
	node := func(name string) (fleet.NodeView, error) {
		n, ok := p.view.Node(name)
		if !ok {
			return n, drill.NoSuchError{What: "node " + name}
		}
		return n, nil
	}
	frontend := func(name string) (fleet.NodeView, error) {
		n, err := node(name)
		if err == nil && n.Node.Role != topology.RoleFrontend {
			err = fmt.Errorf("%s is no frontend", name)
		}
		return n, err
	}
	s.Queue = func(name string) (float64, error) {
		if _, err := frontend(name); err != nil {
			return 0, err
		}
		if waiting, ok := p.queues[name]; ok {
			return float64(waiting), nil
		}
		return -1, nil
	}
	s.Container = func(name string) (string, error) { return p.state(homes, name) }
	s.Restarted = func(name string) (bool, error) {
		state, err := p.state(homes, name)
		c := p.container(name)
		return err == nil && state == "running" && c.GetPid() != 0 && c.GetPid() != p.pids[name], err
	}
	s.Died = func(name string) (bool, error) {
		_, err := p.state(homes, name)
		return p.died[name], err
	}
	s.Connected = func(name string) (bool, error) {
		_, err := p.state(homes, name)
		c := p.container(name)
		return err == nil && c.GetNetworks()[contract.Network] != "", err
	}
	s.Node = func(name string) (string, error) {
		n, err := node(name)
		switch {
		case err != nil:
			return "", err
		case n.Snapshot == nil:
			return away, nil
		case n.Ready(p.stage):
			return "ready", nil
		}
		return "degraded", nil
	}
	s.Engine = func(name string) (string, error) {
		n, err := node(name)
		switch {
		case err != nil:
			return "", err
		case n.Snapshot == nil:
			return away, nil
		case n.Snapshot.GetEngine().GetUp():
			return "up", nil
		}
		return "down", nil
	}
	s.Healthy = func(name string) (bool, error) {
		n, err := node(name)
		role := n.Snapshot.GetRole()
		return role.GetChecked() && role.GetHealthy(), err
	}
	s.Server = func(name string) (string, error) {
		if _, err := frontend(name); err != nil {
			return "", err
		}
		up, known := p.servers[name]
		switch {
		case p.servers == nil:
			return "unknown", nil
		case !known:
			return "absent", nil
		case up:
			return "up", nil
		}
		return "down", nil
	}
	s.Registered = func(name string) (float64, error) {
		n, err := node(name)
		if d := n.Snapshot.GetDiscovery(); err == nil && d.GetReachable() {
			return float64(len(d.GetRegistered())), nil
		}
		return -1, err
	}
	return s
}

const (
	away = "away"
)

// holdState is Docker's word for a container. homes are the nodes of all containers that the lab had in the steady state.
func (p *state) state(homes map[string]string, name string) (string, error) {
	home, ok := homes[name]
	if !ok {
		return "", drill.NoSuchError{What: "container " + name}
	}
	n, _ := p.view.Node(home)
	if n.Snapshot == nil || !n.Snapshot.GetEngine().GetUp() {
		return away, nil
	}
	i := slices.IndexFunc(n.Snapshot.GetContainers(), func(c *agentv1.ContainerStatus) bool { return c.GetName() == name })
	if i < 0 || n.Snapshot.GetContainers()[i].GetState() == "" {
		return "missing", nil
	}
	return n.Snapshot.GetContainers()[i].GetState(), nil
}

// homes are the nodes of all containers.
func (p *state) homes() map[string]string {
	homes := map[string]string{}
	for _, n := range p.view.Nodes {
		for _, c := range n.Snapshot.GetContainers() {
			homes[c.GetName()] = n.Node.Name
		}
	}
	return homes
}

// rates are the votes accepted and the tries failed per second, over the last span.
func (p *state) rates() (accepted, failed float64) {
	first, last := p.recent[0], p.recent[len(p.recent)-1]
	took := (last.Elapsed - first.Elapsed).Seconds()
	if took <= 0 {
		return last.Rate, 0
	}
	return float64(last.Acknowledged-first.Acknowledged) / took, float64(last.Failed-first.Failed) / took
}

// counting is the votes counted per second, over the last span; -1 when nobody tells.
func (p *state) counting() float64 {
	if len(p.counted) < 2 {
		return -1
	}
	first, last := p.counted[0], p.counted[len(p.counted)-1]
	return float64(last.votes-first.votes) / last.at.Sub(first.at).Seconds()
}

// reported takes in a report of the load.
func (p *state) reported(report load.Progress, now time.Time) {
	if n := len(p.recent); n == 0 || report.Acknowledged > p.recent[n-1].Acknowledged {
		p.accepted = now
	}
	p.recent = append(slices.Clone(p.recent), report)
	for len(p.recent) > 2 && report.Elapsed-p.recent[1].Elapsed >= span {
		p.recent = p.recent[1:]
	}
}

// drained takes in what the queues tell: what waits, and what has left them.
func (p *state) drained(waiting, left map[string]int64, now time.Time) {
	p.queues = waiting
	known := maps.Clone(p.left)
	if known == nil {
		known = map[string]int64{}
	}
	maps.Copy(known, left)
	p.left = known
	if len(left) == 0 {
		return
	}
	total := int64(0)
	for _, n := range known {
		total += n
	}
	p.counted = append(slices.Clone(p.counted), counted{now, total})
	for len(p.counted) > 2 && now.Sub(p.counted[1].at) >= span {
		p.counted = p.counted[1:]
	}
}

// remember takes note of the processes that run now.
func (p *state) remember() {
	p.pids, p.died = map[string]int64{}, nil
	for _, n := range p.view.Nodes {
		for _, c := range n.Snapshot.GetContainers() {
			p.pids[c.GetName()] = c.GetPid()
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
