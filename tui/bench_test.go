//go:build bench

package tui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/census"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/outage"
	"github.com/swarmlab/swarmlab/lab/voting"
	"github.com/swarmlab/swarmlab/lab/watch"
	"github.com/swarmlab/swarmlab/tui/live"
	"github.com/swarmlab/swarmlab/tui/world"
)

// hundred is a lab of a hundred nodes.
const hundred = `subnet: 192.168.33.0/24
nodes:
  - {name: manager,   role: manager,   octet: 11,  memory: 512, cpus: 1}
  - {name: interlock, role: interlock, octet: 12,  memory: 384, cpus: 1}
  - {name: frontend,  role: frontend,  octet: 20,  memory: 512, cpus: 1, count: 50}
  - {name: worker,    role: worker,    octet: 100, memory: 512, cpus: 1, count: 47}
  - {name: store,     role: store,     octet: 250, memory: 768, cpus: 1}
`

// perNode is how many containers each node has.
const perNode = 10

// quiet answers for the parts of the app that are not there.
type quiet struct{}

func (quiet) Servers(context.Context) (map[string]bool, error) { return map[string]bool{}, nil }
func (quiet) Queues(context.Context) []census.Queue            { return nil }
func (quiet) Statuses(context.Context) (page, results int)     { return 200, 200 }

// screen notes when what appeared in what was drawn.
type screen struct {
	mu    sync.Mutex
	wants string
	seen  chan time.Time
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wants != "" && bytes.Contains(p, []byte(s.wants)) {
		s.wants = ""
		s.seen <- time.Now()
	}
	return len(p), nil
}

// expect has the next drawing of a text noted.
func (s *screen) expect(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wants = text
}

// bench is the UI on a lab of simulated agents that speak the real protocol.
type bench struct {
	*testing.T
	lab     *fleettest.Lab
	screen  *screen
	program *tea.Program
	number  int
}

func start(t *testing.T) *bench {
	lab := fleettest.NewOf(t, hundred)
	for name, a := range lab.Agents {
		a.Update(nil, func(s *agentv1.NodeSnapshot) {
			for i := len(s.Containers); i < perNode; i++ {
				s.Containers = append(s.Containers, &agentv1.ContainerStatus{Name: fmt.Sprintf("%s-%d", name, i), State: "running", Pid: int64(i)})
			}
		})
	}
	f, err := fleet.Connect(lab.Lab, fleet.Operate)
	if err != nil {
		t.Fatal(err)
	}
	outages, err := outage.Open(lab.Lab, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &live.Live{Lab: lab.Lab, Fleet: f, Outages: outages, App: voting.New(lab.VotingURL(), lab.ResultsURL())}
	s := &screen{seen: make(chan time.Time, 1)}
	in, keys := io.Pipe()
	began := time.Now()
	s.expect("100 of 100 nodes whole")
	p, err := program(ctx, Terminal{In: in, Out: s, Environ: []string{utf8, "TERM=xterm-256color"}}, l, world.New(lab.Lab),
		l.Feed(ctx, watch.Sights{Nodes: f, Servers: quiet{}, Queues: quiet{}, Pages: quiet{}}))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := p.Run()
		ended <- err
	}()
	p.Send(tea.WindowSizeMsg{Width: 120, Height: 40})
	t.Cleanup(func() {
		p.Quit()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
		_ = keys.Close()
		_ = f.Close()
	})
	b := &bench{T: t, lab: lab, screen: s, program: p}
	t.Logf("100 nodes with %d containers on the screen %s after the start", 100*perNode, b.await("100 of 100").Sub(began).Round(time.Millisecond))
	return b
}

func (b *bench) await(what string) time.Time {
	b.Helper()
	select {
	case at := <-b.screen.seen:
		return at
	case <-time.After(20 * time.Second):
		b.Fatalf("%s is not drawn", what)
		return time.Time{}
	}
}

// happen lets something happen on a node, and returns its word.
func (b *bench) happen() string {
	b.number++
	names := b.lab.Topology.Names()
	word := fmt.Sprintf("mark%06d", b.number)
	b.lab.Agents[names[b.number%len(names)]].Update(&agentv1.Event{
		At: timestamppb.Now(), Node: names[b.number%len(names)], Subject: "container", Action: "start", Message: word,
	}, func(*agentv1.NodeSnapshot) {})
	return word
}

// storm lets things happen so many times a second, until the function that it returns is called.
func (b *bench) storm(rate int) (stop func()) {
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				b.happen()
			}
		}
	}()
	return func() { close(ended); <-over }
}

func quantile(all []time.Duration, q float64) time.Duration {
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)].Round(100 * time.Microsecond)
}

// cpu is the time that this process spent, simulated agents included.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestResponsive measures; it judges nothing.
func TestResponsive(t *testing.T) {
	b := start(t)
	press := func(key, shows string) time.Duration {
		b.screen.expect(shows)
		began := time.Now()
		b.program.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)})
		return b.await(shows).Sub(began)
	}
	const span = 10 * time.Second
	for _, rate := range []int{10, 200} {
		stop := b.storm(rate)
		spent, began := cpu(t), time.Now()
		time.Sleep(span)
		share := float64(cpu(t)-spent) / float64(time.Since(began))
		var frames []time.Duration
		for range 100 {
			frames = append(frames, press("4", "HAPPENED"), press("3", "judges by the ledgers"))
		}
		stop()
		t.Logf("%3d events/s: %.1f %% of a core with all 100 agents; key to frame p50 %s, p99 %s (aim 50ms)", rate, 100*share,
			quantile(frames, 0.5), quantile(frames, 0.99))
	}
	press("4", "HAPPENED")
	var events []time.Duration
	for range 100 {
		word := fmt.Sprintf("mark%06d", b.number+1)
		b.screen.expect(word)
		began := time.Now()
		if got := b.happen(); !strings.Contains(got, word) {
			t.Fatal(got)
		}
		events = append(events, b.await(word).Sub(began))
	}
	t.Logf("event to screen: p50 %s (aim 300ms), p99 %s", quantile(events, 0.5), quantile(events, 0.99))
}
