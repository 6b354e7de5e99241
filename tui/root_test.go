package tui

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"github.com/muesli/termenv"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/journal"
	"github.com/swarmlab/swarmlab/lab/verdict"
	"github.com/swarmlab/swarmlab/lab/verify"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/world"
	"github.com/swarmlab/swarmlab/tui/world/worldtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// backend notes what it is asked for.
type backend struct {
	calls []string
	err   error
}

func (b *backend) Break(_ context.Context, kind, node, container string, peers []string, lease time.Duration) error {
	b.calls = append(b.calls, strings.TrimSpace(fmt.Sprintln("break", kind, node, container, peers, lease)))
	return b.err
}

func (b *backend) Heal(context.Context) error {
	b.calls = append(b.calls, "heal")
	return b.err
}

func (b *backend) Logs(_ context.Context, node, container string, line func(string)) error {
	b.calls = append(b.calls, "logs "+node+" "+container)
	line("first \x1b[31mline\x1b[0m")
	return errors.New("the stream broke")
}

func (b *backend) Drill(_ context.Context, d *drill.Drill, tell func(runner.Update)) (*journal.Journal, error) {
	b.calls = append(b.calls, "drill "+d.ID)
	tell(runner.Update{Phase: "fault", Accepted: 100, Queued: 3, Line: "kill redis01"})
	return &journal.Journal{Result: journal.Passed}, b.err
}

func (b *backend) Judge(context.Context) (verify.Verdict, error) {
	b.calls = append(b.calls, "judge")
	v := verify.Verdict{}
	v.Result, v.Found, v.Sent.Acknowledged = verdict.Fail, map[verdict.Kind]int64{verdict.Lost: 3}, 500
	return v, b.err
}

func (b *backend) Vote(rate float64) error {
	b.calls = append(b.calls, fmt.Sprint("vote ", rate))
	return b.err
}

const testDrill = `
id: redis-kill
title: A frontend's Redis crashes
section: Redis failures
story: redis01 is killed.
predict: [{ask: What is lost?, answer: Nothing.}]
inject: [{fault: kill, container: redis01}]
watch: 3s
expect: [{see: it runs, when: restarted("redis01"), within: 2s}]
debrief: It was on disk.
fix: Nothing needs fixing.
`

const tutorialText = "# Swarm at scale\n\nSix nodes, by hand.\n\n```\n$ vagrant ssh manager\n```\n"

// open shows a moment on a screen.
func open(t testing.TB, b Backend, w world.World, width, height int, environ ...string) root {
	t.Helper()
	d, err := drill.Parse("test.yaml", []byte(testDrill))
	if err != nil {
		t.Fatal(err)
	}
	renderer := lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii))
	clock := func() time.Time { return worldtest.Now }
	r := newRoot(theme.New(renderer, environ), keymap.New(), b, []*drill.Drill{d}, tutorialText, w, make(chan world.World), clock)
	m, _ := r.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m, _ = m.Update(page.Seen{World: w, At: worldtest.Now})
	return m.(root)
}

func press(r root, keys ...string) (root, []tea.Msg) {
	var said []tea.Msg
	for _, k := range keys {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		switch k {
		case "enter":
			msg = tea.KeyMsg{Type: tea.KeyEnter}
		case "esc":
			msg = tea.KeyMsg{Type: tea.KeyEsc}
		case "tab":
			msg = tea.KeyMsg{Type: tea.KeyTab}
		case "down":
			msg = tea.KeyMsg{Type: tea.KeyDown}
		case "right":
			msg = tea.KeyMsg{Type: tea.KeyRight}
		}
		m, cmd := r.Update(msg)
		r = m.(root)
		var more []tea.Msg
		r, more = settle(r, cmd)
		said = append(said, more...)
	}
	return r, said
}

// settle runs what a message led to, until there is nothing more.
func settle(r root, cmd tea.Cmd) (root, []tea.Msg) {
	var said []tea.Msg
	for cmd != nil {
		msg := cmd()
		cmd = nil
		switch msg := msg.(type) {
		case nil:
		case tea.BatchMsg:
			for _, c := range msg {
				var more []tea.Msg
				r, more = settle(r, c)
				said = append(said, more...)
			}
		default:
			said = append(said, msg)
			var m tea.Model
			m, cmd = r.Update(msg)
			r = m.(root)
		}
	}
	return r, said
}

const utf8 = "LANG=C.UTF-8"

// Times are drawn as the terminal's people read them: here in UTC.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// Every page, at three sizes, in each state of the lab.
func TestViews(t *testing.T) {
	for _, state := range worldtest.Names() {
		for _, size := range []struct{ w, h int }{{80, 24}, {120, 40}, {200, 60}} {
			for i := range 6 {
				r := open(t, &backend{}, worldtest.Of(state), size.w, size.h, utf8)
				r, _ = press(r, fmt.Sprint(i+1))
				name := fmt.Sprintf("%s-%s-%dx%d", strings.ToLower(r.pages[i].Title()), state, size.w, size.h)
				t.Run(name, func(t *testing.T) {
					view := r.View()
					whole(t, view, size.w, size.h)
					golden(t, name, view)
				})
			}
		}
	}
}

// whole fails unless a view fills the screen exactly.
func whole(t testing.TB, view string, width, height int) {
	t.Helper()
	lines := strings.Split(view, "\n")
	if len(lines) != height {
		t.Errorf("%d lines on a screen of %d", len(lines), height)
	}
	for _, l := range lines {
		if w := ansi.StringWidth(l); w != width {
			t.Errorf("a line of %d cells on a screen of %d: %q", w, width, l)
		}
	}
}

func golden(t *testing.T, name, view string) {
	t.Helper()
	lines := strings.Split(view, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	view = strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(view), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), view); diff != "" {
		t.Errorf("%s (go test ./tui -update writes it anew):\n%s", name, diff)
	}
}

// What is broken is asked for first, by its name; any answer but yes does nothing.
func TestBreaking(t *testing.T) {
	for name, tt := range map[string]struct {
		keys     []string
		question string
		call     string
	}{
		"kill a container":    {[]string{"right", "right", "down", "x"}, "kill redis01, for 30s?", "break kill frontend01 redis01 [] 30s"},
		"stop a container":    {[]string{"right", "right", "down", "s"}, "stop redis01, for 30s?", "break stop frontend01 redis01 [] 30s"},
		"stop an engine":      {[]string{"right", "right", "s"}, "engine-stop frontend01, for 30s?", "break engine-stop frontend01  [] 30s"},
		"take a node's power": {[]string{"right", "o"}, "power-off interlock, for 30s?", "break power-off interlock  [] 30s"},
		"cut a node off": {
			[]string{"right", "right", "c"},
			"Cut frontend01 off from all other nodes, for 30s?",
			"break partition frontend01  [manager interlock frontend02 worker01 store] 30s",
		},
		"cut a node off from marked ones": {
			[]string{"right", "right", " ", "right", " ", "c"},
			"Cut worker01 off from frontend01, for 30s?",
			"break partition worker01  [frontend01] 30s",
		},
		"cut a node off, nothing marked any more": {
			[]string{"right", "right", " ", " ", "c"},
			"Cut frontend01 off from all other nodes, for 30s?",
			"break partition frontend01  [manager interlock frontend02 worker01 store] 30s",
		},
		"heal": {[]string{"H"}, "End all faults now?", "heal"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{}
			r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), tt.keys...)
			if !strings.Contains(r.View(), tt.question+" y/N") || len(b.calls) > 0 {
				t.Fatalf("not asked, or done: %v\n%s", b.calls, r.View())
			}
			no, _ := press(r, "n")
			if len(b.calls) > 0 || strings.Contains(no.View(), "y/N") {
				t.Errorf("no is no answer: %v", b.calls)
			}
			press(r, "y")
			if len(b.calls) != 1 || b.calls[0] != tt.call {
				t.Errorf("got %q, want %q", b.calls, tt.call)
			}
			b.err = errors.New("it is refused")
			if r, _ := press(r, "y"); !strings.Contains(r.View(), "it is refused") {
				t.Errorf("a refusal is not told:\n%s", r.View())
			}
		})
	}
}

func TestADrill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		b := &backend{}
		r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), "2")
		if view := r.View(); !strings.Contains(view, "What is lost?") || strings.Contains(view, "Nothing.") {
			t.Errorf("the answer is not sealed:\n%s", view)
		}
		r, _ = press(r, "enter", "a", " ", "l", "o", "t", "enter", "y")
		view := r.View()
		for _, want := range []string{"PASSED", "kill redis01", "It was on disk.", "Nothing.", "you said: a lot"} {
			if !strings.Contains(view, want) {
				t.Errorf("there is no %q:\n%s", want, view)
			}
		}
		if len(b.calls) != 1 || b.calls[0] != "drill redis-kill" {
			t.Error(b.calls)
		}
		if r, _ = press(r, "esc"); !strings.Contains(r.View(), "What is lost?") {
			t.Errorf("no way back:\n%s", r.View())
		}
	})
}

func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		r, _ := press(open(t, &backend{}, worldtest.Of("fault"), 100, 30, utf8), "4", "/", "d", "i", "e", "q")
		if view := r.View(); strings.Contains(view, "unreachable") || !strings.Contains(view, "/dieq") {
			t.Errorf("keys of a filter are its text:\n%s", view)
		}
		r, _ = press(r, "esc")
		if view := r.View(); !strings.Contains(view, "unreachable") {
			t.Errorf("esc ends the filter:\n%s", view)
		}
	})
}

// What is selected tells of itself, and leads to its events.
func TestDetails(t *testing.T) {
	w := worldtest.Of("fault")
	s := w.View.Nodes[2].Snapshot
	s.Role = &agentv1.RoleStatus{Running: true, Checked: true, Message: "redis01 does not answer"}
	s.Pending = []*agentv1.Pending{{Step: "start redis01", Reason: "a fault holds it"}}
	s.Clock = &agentv1.ClockStatus{Offset: durationpb.New(-1500 * time.Microsecond)}
	s.Containers[0].Image, s.Containers[0].Restarts = "redis:7", 3
	r, _ := press(open(t, &backend{}, w, 120, 40, utf8), "right", "right")
	for _, want := range []string{
		"frontend 192.168.33.13", "check: redis01 does not answer", "to do: start redis01: a fault holds it", "clock: -1.5 ms", "frontend01 redis01 die",
	} {
		if view := r.View(); !strings.Contains(view, want) {
			t.Errorf("there is no %q:\n%s", want, view)
		}
	}
	if view := r.View(); strings.Contains(view, "worker01 start") {
		t.Errorf("events of others:\n%s", view)
	}
	r, _ = press(r, "down")
	for _, want := range []string{"redis01 on frontend01", "exited for 7s, started again 3 times", "redis:7"} {
		if view := r.View(); !strings.Contains(view, want) {
			t.Errorf("there is no %q:\n%s", want, view)
		}
	}
	r, _ = press(r, "e")
	if view := r.View(); !strings.Contains(view, "/frontend01") || !strings.Contains(view, "die: exit code 0") || strings.Contains(view, "number 0") {
		t.Errorf("these are not its events:\n%s", view)
	}
	r, _ = press(open(t, &backend{}, w, 120, 40, utf8), "right", "right", "right", "right", "right")
	if view := r.View(); !strings.Contains(view, "silent for 42s: nothing listens") {
		t.Errorf("a dead node does not say since when:\n%s", view)
	}
}

// Of more nodes than fit, those are shown that are selected.
func TestManyNodes(t *testing.T) {
	w := worldtest.Of("healthy")
	for i := 2; i <= 60; i++ {
		n := w.View.Nodes[4]
		n.Node.Name = fmt.Sprintf("worker%02d", i)
		w.View.Nodes = append(w.View.Nodes, n)
	}
	r, _ := press(open(t, &backend{}, w, 100, 30, utf8), "right", "right", "right")
	if view := r.View(); !strings.Contains(view, "worker02") || strings.Contains(view, "worker60") || !strings.Contains(view, "lines more") {
		t.Errorf("the first ones are not shown:\n%s", view)
	}
	for range 200 {
		r, _ = press(r, "down")
	}
	view := r.View()
	whole(t, view, 100, 30)
	if !strings.Contains(view, "worker60") || strings.Contains(view, "worker02") || !strings.Contains(view, "lines above") {
		t.Errorf("the last ones are not shown:\n%s", view)
	}
	// A click is what is seen, not what would be there if nothing were left out.
	for y, l := range strings.Split(view, "\n") {
		if i := strings.Index(l, "worker58"); i >= 0 {
			m, _ := r.Update(tea.MouseMsg{Action: tea.MouseActionPress, Button: tea.MouseButtonLeft, X: ansi.StringWidth(l[:i]), Y: y})
			if r, _ := press(m.(root), "o"); !strings.Contains(r.View(), "power-off worker58, for") {
				t.Errorf("something else was clicked:\n%s", r.View())
			}
			return
		}
	}
	t.Errorf("worker58 is not shown:\n%s", view)
}

// However narrow, how to get help and out is told.
func TestFoot(t *testing.T) {
	for _, width := range []int{40, 60, 80, 200} {
		r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), width, 24, utf8), "right", "right")
		lines := strings.Split(r.View(), "\n")
		if foot := lines[len(lines)-1]; !strings.Contains(foot, "? help  q quit") {
			t.Errorf("%d cells: %q", width, foot)
		}
	}
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		b := &backend{}
		r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), "right", "right", "down", "L")
		view := r.View()
		if !strings.Contains(view, "redis01 on frontend01") || !strings.Contains(view, "first line") || !strings.Contains(view, "the stream broke") {
			t.Errorf("%v\n%s", b.calls, view)
		}
		if r, _ = press(r, "/", "x", "y", "z"); strings.Contains(r.View(), "first line") || !strings.Contains(r.View(), "/xyz") {
			t.Errorf("it is not filtered:\n%s", r.View())
		}
		if r, _ = press(r, "esc"); !strings.Contains(r.View(), "first line") {
			t.Errorf("esc ends the filter:\n%s", r.View())
		}
	})
}

func TestVotesAreCast(t *testing.T) {
	b := &backend{}
	r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), "+", "+", "-", "-")
	if got := strings.Join(b.calls, ", "); got != "vote 50, vote 100, vote 50, vote 0" {
		t.Error(got)
	}
	if !strings.Contains(r.View(), "no more votes") {
		t.Error(r.View())
	}
}

func TestVerdict(t *testing.T) {
	b := &backend{}
	r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), "3", "v")
	if view := r.View(); !strings.Contains(view, "FAIL 500 acknowledged, 3 lost") || !strings.Contains(view, "total 7900") {
		t.Errorf("%v\n%s", b.calls, view)
	}
	b.err = errors.New("there is no ledger")
	if r, _ = press(r, "v"); !strings.Contains(r.View(), "there is no ledger") {
		t.Error(r.View())
	}
}

func TestJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8), ":", "t", "u", "enter")
		if !strings.Contains(r.View(), "Six nodes, by hand.") {
			t.Error(r.View())
		}
		if r, _ = press(r, ":", "x", "enter"); !strings.Contains(r.View(), "there is no page x") {
			t.Error(r.View())
		}
		if r, _ = press(r, ":", "l", "esc"); !strings.Contains(r.View(), "Six nodes") {
			t.Error(r.View())
		}
	})
}

// Keys that come in one piece are keys all the same; what is pasted is none.
func TestQuickHands(t *testing.T) {
	r := open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8)
	m, _ := r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("34?")})
	if !strings.Contains(m.View(), "Any key goes back.") || !strings.Contains(m.View(), "filter") {
		t.Error(m.View())
	}
	m, _ = r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("qqq"), Paste: true})
	if m.View() != r.View() {
		t.Error(m.View())
	}
}

// A screen that is only to show takes no key that changes anything.
func TestReadOnly(t *testing.T) {
	b := &backend{}
	r := open(t, b, worldtest.Of("healthy"), 100, 30, utf8)
	keys := keymap.New().Without()
	r = newRoot(r.theme, keys, b, nil, "", worldtest.Of("healthy"), make(chan world.World), func() time.Time { return worldtest.Now })
	m, _ := r.Update(tea.WindowSizeMsg{Width: 100, Height: 30})
	r, _ = press(m.(root), "right", "right", "down", "x", "y", "s", "y", "p", "y", "o", "y", "c", "y", "H", "y", "+", "-", "2", "enter", "enter", "y")
	if len(b.calls) > 0 {
		t.Error(b.calls)
	}
	if strings.Contains(r.View(), "run") {
		t.Errorf("a key that does nothing is offered:\n%s", r.View())
	}
}

// Without Unicode everything is ASCII.
func TestASCII(t *testing.T) {
	for i := range 6 {
		r, _ := press(open(t, &backend{}, worldtest.Of("fault"), 80, 24, "LANG=C"), fmt.Sprint(i+1))
		for _, c := range r.View() {
			if c > 0x7e {
				if !strings.ContainsRune("↑↓←→", c) {
					t.Errorf("page %d shows %q", i+1, c)
				}
			}
		}
	}
}

// No sequence of keys and sizes panics, or writes beside the screen.
func FuzzKeys(f *testing.F) {
	f.Add("xysy\tL2/abc\x1b3+4g5?q", uint8(80), uint8(24), uint8(0))
	f.Add("jjlllxHy", uint8(41), uint8(10), uint8(2))
	f.Add("2\r", uint8(200), uint8(60), uint8(3))
	f.Fuzz(func(t *testing.T, keys string, width, height, state uint8) {
		if len(keys) > 200 {
			return
		}
		names := worldtest.Names()
		r := open(t, &backend{}, worldtest.Of(names[int(state)%len(names)]), int(width), int(height), utf8)
		for i, k := range keys {
			msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{k}}
			switch k {
			case '\r':
				msg = tea.KeyMsg{Type: tea.KeyEnter}
			case '\t':
				msg = tea.KeyMsg{Type: tea.KeyTab}
			case '\x1b':
				msg = tea.KeyMsg{Type: tea.KeyEsc}
			}
			m, _ := r.Update(msg)
			if i%3 == 0 {
				m, _ = m.Update(tea.WindowSizeMsg{Width: int(width) + i%50, Height: int(height) + i%20})
			}
			r = m.(root)
			if r.width > 0 && r.tall > 0 {
				whole(t, r.View(), r.width, r.tall)
			}
		}
	})
}

// The wheel goes through lists as the arrows do, and never answers a question.
func TestWheel(t *testing.T) {
	b := &backend{}
	w := worldtest.Of("healthy")
	for i := range 60 {
		w.Events = append(w.Events, world.Event{At: worldtest.Now, Node: "store", Subject: "pg", Action: fmt.Sprintf("number%02d", i)})
	}
	r, _ := press(open(t, b, w, 80, 24, utf8), "4")
	turn := func(button tea.MouseButton) {
		m, _ := r.Update(tea.MouseMsg{Action: tea.MouseActionPress, Button: button, X: 5, Y: 5})
		r = m.(root)
	}
	for range 3 {
		turn(tea.MouseButtonWheelUp)
	}
	if view := r.View(); !strings.Contains(view, "3 newer below") {
		t.Error(view)
	}
	turn(tea.MouseButtonWheelDown)
	if view := r.View(); !strings.Contains(view, "2 newer below") {
		t.Error(view)
	}
	r, _ = press(r, "1", "H")
	turn(tea.MouseButtonWheelDown)
	if view := r.View(); !strings.Contains(view, "End all faults now? y/N") || len(b.calls) > 0 {
		t.Errorf("%v\n%s", b.calls, view)
	}
}

// A drill that is clicked is the one that is told.
func TestClickedDrill(t *testing.T) {
	all, err := drill.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8)
	r = newRoot(r.theme, r.keys, &backend{}, all, "", worldtest.Of("healthy"), make(chan world.World), func() time.Time { return worldtest.Now })
	m, _ := r.Update(tea.WindowSizeMsg{Width: 100, Height: 30})
	r, _ = press(m.(root), "2")
	third := all[2]
	for y, l := range strings.Split(r.View(), "\n") {
		if strings.HasPrefix(l, "  "+third.ID+" ") {
			m, _ := r.Update(tea.MouseMsg{Action: tea.MouseActionPress, Button: tea.MouseButtonLeft, X: 4, Y: y})
			if !strings.Contains(m.View(), third.Title) || strings.Contains(r.View(), third.Title) {
				t.Errorf("%s is not told:\n%s", third.ID, m.View())
			}
			return
		}
	}
	t.Errorf("there is no %s:\n%s", third.ID, r.View())
}

// What is clicked is selected.
func TestMouse(t *testing.T) {
	b := &backend{}
	r := open(t, b, worldtest.Of("healthy"), 80, 24, utf8)
	lines := strings.Split(r.View(), "\n")
	for y, l := range lines {
		if i := strings.Index(l, "results-app"); i >= 0 {
			m, _ := r.Update(tea.MouseMsg{Action: tea.MouseActionPress, Button: tea.MouseButtonLeft, X: ansi.StringWidth(l[:i]), Y: y})
			r = m.(root)
		}
	}
	if r, _ = press(r, "x"); !strings.Contains(r.View(), "kill results-app, for 30s?") {
		t.Errorf("it is not selected:\n%s", r.View())
	}
	m, _ := r.Update(tea.MouseMsg{Action: tea.MouseActionPress, Button: tea.MouseButtonLeft, X: strings.Index(lines[0], "Votes"), Y: 0})
	if view := m.View(); !strings.Contains(view, "queue of frontend01") {
		t.Errorf("the tab is not turned to:\n%s", view)
	}
}
