//go:build bench

package tui

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
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

var span = flag.Duration("span", 10*time.Second, "length of one measurement; keys and events go by it")

// patience bounds every wait for something to be drawn. It costs only where something is broken.
const patience = 5 * time.Minute

// perNode is how many containers each node has.
const perNode = 10

// quiet answers for the parts of the app that are not there.
type quiet struct{}

func (quiet) Servers(context.Context) (map[string]bool, error) { return map[string]bool{}, nil }
func (quiet) Queues(context.Context) []datastore.Queue         { return nil }
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
	began   time.Time
	number  int
}

func start(t *testing.T, topology string, containers int) *bench {
	lab := fleettest.NewOf(t, topology)
	for name, a := range lab.Agents {
		a.Update(nil, func(s *agentv1.NodeSnapshot) {
			for i := len(s.Containers); i < containers; i++ {
				s.Containers = append(s.Containers, &agentv1.ContainerStatus{Name: fmt.Sprintf("%s-%d", name, i), State: "running", Pid: int64(i)})
			}
		})
	}
	b := show(t, lab.Lab)
	b.lab = lab
	nodes := len(lab.Topology.Nodes)
	t.Logf("%d nodes on the screen %s after the start (aim 300ms)", nodes, b.await("the map").Sub(b.began).Round(time.Millisecond))
	return b
}

// show shows the UI on a lab that is there.
func show(t *testing.T, lab *settings.Lab) *bench {
	f, err := fleet.Connect(lab, fleet.Operate)
	if err != nil {
		t.Fatal(err)
	}
	faults, err := powerfault.Open(lab, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &live.Backend{Lab: lab, Fleet: f, PowerFaults: faults, App: client.New(lab.VotingURL(), lab.ResultsURL())}
	s := &screen{seen: make(chan time.Time, 1)}
	in, keys := io.Pipe()
	began := time.Now()
	s.expect(fmt.Sprintf("%[1]d of %[1]d nodes ready", len(lab.Topology.Nodes)))
	renderer := lipgloss.NewRenderer(s, termenv.WithProfile(termenv.ANSI256))
	renderer.SetHasDarkBackground(true)
	p, err := program(ctx, Terminal{In: in, Out: s, Environ: []string{utf8, "TERM=xterm-256color"}}, renderer, l, world.New(lab),
		l.Feed(ctx, watch.Source{Nodes: f, Servers: quiet{}, Queues: quiet{}, Pages: quiet{}}))
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
	return &bench{T: t, screen: s, program: p, began: began}
}

func (b *bench) await(what string) time.Time {
	b.Helper()
	select {
	case at := <-b.screen.seen:
		return at
	case <-time.After(patience):
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

// alone names the folder of a lab on which TestAlone shows the UI.
const alone = "SWARMLAB_BENCH_UI"

// TestAlone is the UI in a process of its own, which measure starts: what it costs is not the agents' then. By itself it does nothing.
func TestAlone(t *testing.T) {
	dir := os.Getenv(alone)
	if dir == "" {
		t.Skip("it is TestResponsive's")
	}
	lab, err := settings.Open(dir, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	b := show(t, lab)
	b.await("the map")
	fmt.Println("shown")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
}

// share is how much of a core the UI alone takes, measured over a span.
func (b *bench) share(span time.Duration) float64 {
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run", "^TestAlone$")
	cmd.Env = append(os.Environ(), alone+"="+b.lab.Dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "shown" {
	}
	before := b.spent(cmd.Process.Pid)
	time.Sleep(span)
	share := float64(b.spent(cmd.Process.Pid)-before) / float64(span)
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return share
}

// spent is the processor's time that a process has had (proc(5), stat).
func (b *bench) spent(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// ticksPerSecond is USER_HZ, the same on all of Linux' architectures that Go knows.
const ticksPerSecond = 100

// TestResponsive measures; it judges nothing.
func TestResponsive(t *testing.T) {
	times := int(max(1, 10*span.Seconds())) // of each key and event
	six := start(t, fleettest.Topology, 0)
	stop := six.storm(10)
	t.Logf("10 events/s on 6 nodes: the UI takes %.1f %% of a core (aim 5 %%)", 100*six.share(*span))
	stop()
	b := start(t, hundred, perNode)
	press := func(key, shows string) time.Duration {
		b.screen.expect(shows)
		began := time.Now()
		b.program.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)})
		return b.await(shows).Sub(began)
	}
	for _, rate := range []int{10, 200} {
		stop := b.storm(rate)
		share := b.share(*span)
		var frames []time.Duration
		for range times {
			frames = append(frames, press("4", "HAPPENED"), press("3", "judges by the ledgers"))
		}
		stop()
		t.Logf("%3d events/s: on 100 nodes with 1000 containers: the UI takes %.1f %% of a core; key to frame p50 %s, p99 %s (aim 50ms)", rate, 100*share,
			quantile(frames, 0.5), quantile(frames, 0.99))
	}
	press("4", "HAPPENED")
	var events []time.Duration
	for range times {
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
