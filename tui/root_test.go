package tui

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
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
	// goes is closed when a drill is to end; nil: each ends at once. chatter is how often it tells how it goes.
	goes    chan struct{}
	chatter int
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
	for range b.chatter {
		tell(runner.Update{Phase: "fault"})
	}
	if b.goes != nil {
		<-b.goes
	}
	return &journal.Journal{Result: journal.Passed, Remarks: []string{"Times were not judged."}}, b.err
}

func (b *backend) Judge(context.Context) (verify.Verdict, error) {
	b.calls = append(b.calls, "judge")
	v := verify.Verdict{}
	v.Result, v.Found, v.Sent.Acknowledged = checker.Fail, map[checker.Kind]int64{checker.Lost: 3}, 500
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
func open(t testing.TB, b Backend, w world.Model, width, height int, environ ...string) root {
	t.Helper()
	renderer := lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii))
	clock := func() time.Time { return worldtest.Now }
	r := newRoot(theme.New(renderer, environ), keymap.New(), b, drillsOf(t), tutorialText, w, make(chan world.Model), clock)
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
		case "up":
			msg = tea.KeyMsg{Type: tea.KeyUp}
		case "right":
			msg = tea.KeyMsg{Type: tea.KeyRight}
		case "ctrl+c":
			msg = tea.KeyMsg{Type: tea.KeyCtrlC}
		case "pgdn":
			msg = tea.KeyMsg{Type: tea.KeyPgDown}
		case "home":
			msg = tea.KeyMsg{Type: tea.KeyHome}
		case "end":
			msg = tea.KeyMsg{Type: tea.KeyEnd}
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
	lines := strings.Split(ansi.Strip(view), "\n")
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
		for _, want := range []string{"PASSED", "kill redis01", "Times were not judged.", "It was on disk.", "Nothing.", "you said: a lot"} {
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

// drilling has a drill under way, of which nothing is heard.
func drilling(t *testing.T, b *backend) root {
	t.Helper()
	r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), "2", "enter", "enter")
	begin := r.ask.Do
	r.ask = nil
	m, _ := r.Update(begin())
	return m.(root)
}

// Who quits while a drill runs is asked, however he does it: it is aborted then. To quit again is an answer.
func TestQuittingWhileADrillRuns(t *testing.T) {
	quits := func(said []tea.Msg) bool {
		return slices.ContainsFunc(said, func(m tea.Msg) bool { _, quit := m.(tea.QuitMsg); return quit })
	}
	for name, keys := range map[string][]string{
		"q": {"q"}, "on another page": {"1", "q"}, "ctrl-c": {"ctrl+c"}, "by name": {":", "q", "enter"}, "ctrl-c in a page's name": {":", "ctrl+c"},
		"ctrl-c in a filter": {"4", "/", "ctrl+c"}, "ctrl-c in help": {"?", "ctrl+c"}, "ctrl-c in another question": {"1", "H", "ctrl+c"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
				b := &backend{goes: make(chan struct{})}
				defer close(b.goes)
				r, said := press(drilling(t, b), keys...)
				if quits(said) || !strings.Contains(r.View(), "Quit, and abort the drill redis-kill? What is broken is healed first. y/N") {
					t.Fatalf("it is not asked:\n%s", r.View())
				}
				stays, said := press(r, "n")
				if quits(said) || strings.Contains(stays.View(), "y/N") {
					t.Errorf("no is no answer:\n%s", stays.View())
				}
				for _, yes := range []string{"y", "ctrl+c"} {
					if _, said := press(r, yes); !quits(said) {
						t.Errorf("%s does not quit", yes)
					}
				}
			})
		})
	}
	if _, said := press(open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8), "2", "enter", "enter", "y", "q"); !quits(said) {
		t.Error("it is asked though the drill is over")
	}
}

// A drill goes on to its end when nobody hears any more what it tells, as when the UI has ended.
func TestADrillDoesNotWaitToBeHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{goes: make(chan struct{}), chatter: 1000}
		drilling(t, b)
		synctest.Wait()
		select {
		case b.goes <- struct{}{}:
		default:
			t.Error("it waits")
			close(b.goes)
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

// Why there are no more lines is told in full, and what was read stays in reach.
func TestLogsOnANarrowScreen(t *testing.T) {
	w := worldtest.Of("healthy")
	r, _ := press(open(t, &backend{}, w, 40, 12, utf8), "5")
	if text := strings.Join(strings.Fields(r.View()), " "); !strings.Contains(text, "on the page Lab, and press L.") {
		t.Error(r.View())
	}
	r, _ = press(r, "1", "right", "right", "down", "L")
	whole(t, r.View(), 40, 12)
	for _, want := range []string{"redis01 on frontend01", "the stream broke", "first line"} {
		if !strings.Contains(r.View(), want) {
			t.Errorf("there is no %q:\n%s", want, r.View())
		}
	}
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

// A list in which nothing is says so, and why.
func TestNothingIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		for name, tt := range map[string]struct {
			keys []string
			want string
		}{
			"drills":      {[]string{"2", "/", "x", "y", "z"}, "No matching drills."},
			"events":      {[]string{"4", "/", "x", "y", "z"}, "No event contains this."},
			"logs":        {[]string{"right", "right", "down", "L", "/", "x", "y", "z"}, "No line contains this."},
			"logs, later": {[]string{"right", "right", "down", "L", "/", "x", "y", "z", "enter"}, "No line contains this."},
		} {
			if r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 40, 24, utf8), tt.keys...); !strings.Contains(r.View(), tt.want) {
				t.Errorf("%s: there is no %q:\n%s", name, tt.want, r.View())
			}
		}
	})
	m, _ := open(t, &backend{}, worldtest.Of("healthy"), 40, 24, utf8).Update(page.ShowLogs{Node: "store", Container: "pg"})
	if !strings.Contains(m.View(), "Nothing was printed yet.") {
		t.Error(m.View())
	}
}

// What comes in one piece was not pressed: it is no command on any page, nor an answer to a question, but text where text is typed.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		bursts := []tea.KeyMsg{
			{Type: tea.KeyRunes, Runes: []rune("34?")},
			{Type: tea.KeyRunes, Runes: []rune("qqq"), Paste: true},
			{Type: tea.KeyRunes, Runes: []rune("q"), Paste: true},
			{Type: tea.KeyRunes, Runes: []rune("]11;rgb:1e1e/1e1e/1e1e")},
			{Type: tea.KeyRunes, Runes: []rune("yy")},
		}
		for name, keys := range map[string][]string{
			"the map": {"right"}, "drills": {"2"}, "votes": {"3"}, "events": {"4"}, "logs": {"5"}, "tutorial": {"6"}, "a question": {"H"}, "help": {"?"},
		} {
			b := &backend{}
			r, _ := press(open(t, b, worldtest.Of("healthy"), 100, 30, utf8), keys...)
			for _, burst := range bursts {
				m, cmd := r.Update(burst)
				if cmd != nil || m.View() != r.View() || len(b.calls) > 0 {
					t.Errorf("%s: %q is taken: %v\n%s", name, burst.Runes, b.calls, m.View())
				}
			}
		}
		for name, keys := range map[string][]string{"a page's name": {":"}, "a filter": {"4", "/"}, "a prediction": {"2", "enter"}} {
			r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8), keys...)
			if m, _ := r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("some"), Paste: true}); !strings.Contains(m.View(), "some") {
				t.Errorf("%s does not take text:\n%s", name, m.View())
			}
		}
	})
}

// A terminal that does not know its size is taken for a usual one; one of the two may be known.
func TestNoSizeIsUsual(t *testing.T) {
	r := open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8)
	for size, want := range map[tea.WindowSizeMsg][2]int{{}: {80, 24}, {Height: 40}: {80, 40}, {Width: 120}: {120, 24}} {
		m, _ := r.Update(size)
		whole(t, m.View(), want[0], want[1])
		if !strings.Contains(m.View(), "6 of 6 nodes ready") {
			t.Errorf("%v:\n%s", size, m.View())
		}
	}
}

// Without colours, what is selected and which page is shown can still be told, and where the cursor is in a text.
func TestWithoutColours(t *testing.T) {
	for name, environ := range map[string][]string{
		"none wanted": {"TERM=xterm-256color", "NO_COLOR=1"}, "none wanted, in the old way": {"TERM=xterm-256color", "CLICOLOR=0"}, "none there": {"TERM=vt100"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
				renderer := lipgloss.NewRenderer(io.Discard, termenv.WithTTY(true), termenv.WithEnvironment(console.Environment(environ)))
				r := newRoot(theme.New(renderer, append(environ, utf8)), keymap.New(), &backend{}, drillsOf(t), tutorialText, worldtest.Of("fault"), make(chan world.Model),
					func() time.Time { return worldtest.Now })
				m, _ := r.Update(tea.WindowSizeMsg{Width: 100, Height: 30})
				r, _ = press(m.(root), "right")
				for _, want := range []string{"\x1b[1;7m 1 Lab \x1b[0m", "\x1b[7minterlock\x1b[0m"} {
					if !strings.Contains(r.View(), want) {
						t.Errorf("there is no %q:\n%q", want, r.View())
					}
				}
				drills, _ := press(r, "2")
				if !strings.Contains(drills.View(), "\x1b[7mredis-kill") {
					t.Errorf("no drill is selected:\n%q", drills.View())
				}
				jump, _ := r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(":")})
				if !strings.Contains(jump.View(), ":\x1b[7m ") {
					t.Errorf("there is no cursor:\n%q", jump.View())
				}
				for _, view := range []string{r.View(), drills.View()} {
					if colour := regexp.MustCompile(`\x1b\[[0-9;]*(3[0-9]|4[0-9]|9[0-7])[0-9;]*m`).FindString(view); colour != "" {
						t.Errorf("there is a colour: %q", colour)
					}
				}
			})
		})
	}
}

func drillsOf(t testing.TB) []*drill.Drill {
	t.Helper()
	d, err := drill.Parse("test.yaml", []byte(testDrill))
	if err != nil {
		t.Fatal(err)
	}
	return []*drill.Drill{d}
}

// The last line tells the keys of the mode that one is in.
func TestFootOfTheMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		for name, tt := range map[string]struct {
			keys []string
			want string
		}{
			"a page":         {nil, "? help  q quit"},
			"a page's name":  {[]string{":"}, "enter open the page  esc cancel  ctrl+c quit"},
			"a filter":       {[]string{"4", "/"}, "enter keep the filter  esc clear the filter  ctrl+c quit"},
			"a drill filter": {[]string{"2", "/"}, "enter keep the filter  esc clear the filter  ctrl+c quit"},
			"a prediction":   {[]string{"2", "enter"}, "enter next  esc cancel  pgup page up  pgdn page down  ctrl+c quit"},
			"a question":     {[]string{"H"}, "y yes  any other key no  ctrl+c quit"},
			"help":           {[]string{"?"}, "any other key close  ctrl+c quit"},
			"details":        {[]string{"right", "enter"}, "esc map"},
		} {
			r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8), tt.keys...)
			lines := strings.Split(r.View(), "\n")
			foot := lines[len(lines)-1]
			if !strings.Contains(foot, tt.want) || strings.Contains(tt.want, "ctrl+c") && strings.Contains(foot, "q quit") {
				t.Errorf("%s: %q", name, foot)
			}
		}
		// q is text, or an answer, or goes back; where it quits it is told.
		for _, keys := range [][]string{{":", "q"}, {"4", "/", "q"}, {"2", "enter", "q"}, {"H", "q"}, {"?", "q"}} {
			if _, said := press(open(t, &backend{}, worldtest.Of("healthy"), 100, 30, utf8), keys...); slices.ContainsFunc(said, func(m tea.Msg) bool { _, quit := m.(tea.QuitMsg); return quit }) {
				t.Errorf("%v quits", keys)
			}
		}
	})
}

// Help tells every key once, and what each of those does that break something, also when nothing is selected.
func TestHelp(t *testing.T) {
	for _, keys := range [][]string{{}, {"right"}, {"right", "down"}} {
		r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 200, 60, utf8), append(keys, "?")...)
		view := r.View()
		for _, want := range []string{"x   ", "kill: SIGKILL", "s   ", "stop: ", "stays down", "p   ", "freeze: ", "pauses", "o   ", "power off: ", "without a shutdown", "c   ", "cut off: ", "drops"} {
			if !strings.Contains(view, want) {
				t.Errorf("%v: there is no %q:\n%s", keys, want, view)
			}
		}
	}
	for i := range 6 {
		r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 200, 60, utf8), fmt.Sprint(i+1), "?")
		seen := map[string]bool{}
		for l := range strings.Lines(r.View()) {
			if !strings.HasPrefix(l, "  ") || len(l) < 20 {
				continue
			}
			for _, name := range strings.Fields(l[:2+helpColumn]) {
				if seen[name] {
					t.Errorf("page %d lists %s twice:\n%s", i+1, name, r.View())
				}
				seen[name] = true
			}
		}
		for _, name := range []string{"q", "?", "tab", "ctrl+c", "1-6", ":"} {
			if !seen[name] {
				t.Errorf("page %d does not list %s:\n%s", i+1, name, r.View())
			}
		}
	}
}

// long is a drill whose story and debrief are longer than any screen.
func long(t testing.TB) *drill.Drill {
	t.Helper()
	d := drillsOf(t)[0]
	for i := range 60 {
		d.Story += fmt.Sprintf("\n\nstory number %d", i)
		d.Debrief += fmt.Sprintf("\n\ndebrief number %d", i)
	}
	d.Predict = append(d.Predict, drill.Question{Ask: "The last question?", Answer: "The last answer."})
	return d
}

// Everything that is longer than its space can be read to its end, on any screen, by the same keys.
func TestScroll(t *testing.T) {
	w := worldtest.Of("fault")
	s := w.View.Nodes[2].Snapshot
	for i := range 60 {
		w.Events = append(w.Events, world.Event{At: worldtest.Now, Node: "frontend01", Subject: "redis01", Action: fmt.Sprintf("event-%02d", i)})
		s.Pending = append(s.Pending, &agentv1.Pending{Step: fmt.Sprintf("step %d", i), Reason: "it is the first"})
		for j := range w.Samples {
			w.Samples[j].Queued[fmt.Sprintf("frontend%02d", i+1)] = 5
		}
	}
	for _, size := range []struct{ w, h int }{{80, 24}, {40, 10}, {120, 40}} {
		for name, tt := range map[string]struct {
			keys        []string
			first, last string
		}{
			"help":            {[]string{"?"}, "kill: SIGKILL", "Press any other key"},
			"help of drills":  {[]string{"2", "?"}, "Drills", "Press any other key"},
			"details":         {[]string{"right", "right", "enter"}, "frontend01 frontend", "event-59"},
			"charts":          {[]string{"3"}, "captured", "queue of frontend60"},
			"the tutorial":    {[]string{"6"}, "Swarm at scale", "the last line"},
			"events":          {[]string{"4", "g"}, "number 0", "event-59"},
			"a drill's end":   {[]string{"2", "enter", "enter", "enter", "y", "g"}, "kill redis01", "debrief number 59"},
			"a drill's story": {[]string{"2"}, "", "- kill"},
		} {
			t.Run(fmt.Sprintf("%s %dx%d", name, size.w, size.h), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
					start := func() root {
						r := open(t, &backend{}, w, size.w, size.h, utf8)
						r = newRoot(r.theme, r.keys, &backend{}, []*drill.Drill{long(t)}, tutorialText+strings.Repeat("\nmore\n", 60)+"\nthe last line\n", w, make(chan world.Model),
							func() time.Time { return worldtest.Now })
						m, _ := r.Update(tea.WindowSizeMsg{Width: size.w, Height: size.h})
						r, _ = press(m.(root), tt.keys...)
						return r
					}
					r := start()
					if !strings.Contains(r.View(), tt.first) {
						t.Fatalf("there is no %q:\n%s", tt.first, r.View())
					}
					down, up := []string{"pgdn"}, "g"
					ends := []string{"G", "end"}
					if name == "a drill's story" { // the list has the other keys
						down, ends = []string{"right"}, nil
					}
					for _, key := range append(ends, down...) {
						to := start()
						times := 1
						if !slices.Contains(ends, key) {
							times = 60
						}
						for range times {
							to, _ = press(to, key)
						}
						whole(t, to.View(), size.w, size.h)
						if !strings.Contains(to.View(), tt.last) {
							t.Errorf("%s does not lead to %q:\n%s", key, tt.last, to.View())
						}
						if ends != nil {
							if back, _ := press(to, up); !strings.Contains(back.View(), tt.first) {
								t.Errorf("%s does not lead back:\n%s", up, back.View())
							}
						}
					}
				})
			})
		}
	}
}

// Of a text that is longer than its field the part is in sight in which somebody types, on any screen, and after the screen has changed its size.
func TestLongTextInAField(t *testing.T) {
	var text string
	for i := range 45 {
		text += fmt.Sprintf("%d-", 101+i)
	}
	for name, tt := range map[string]struct {
		keys []string
		// room is how much of the text can be seen, at least.
		room int
	}{
		"a prediction": {[]string{"2", "enter"}, 7}, "a page's name": {[]string{":"}, 10}, "a filter of drills": {[]string{"2", "/"}, 20}, "a filter of events": {[]string{"4", "/"}, 20},
	} {
		for _, size := range []struct{ w, h int }{{40, 24}, {80, 24}, {200, 60}} {
			t.Run(fmt.Sprintf("%s %dx%d", name, size.w, size.h), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
					r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), 120, 24, utf8), tt.keys...)
					sees := func(what, text string) {
						t.Helper()
						whole(t, r.View(), r.width, r.tall)
						if !strings.Contains(r.View(), text) {
							t.Errorf("%s: there is no %q:\n%s", what, text, r.View())
						}
					}
					typed := ""
					for _, c := range text {
						before := r.View()
						r, _ = press(r, string(c))
						if r.View() == before {
							break // it takes no more
						}
						typed += string(c)
					}
					m, _ := r.Update(tea.WindowSizeMsg{Width: size.w, Height: size.h})
					r = m.(root)
					sees("at the end", typed[len(typed)-tt.room:])
					r, _ = press(r, "home")
					sees("at the beginning", typed[:tt.room])
					r, _ = press(r, "end")
					sees("at the end again", typed[len(typed)-tt.room:])
				})
			})
		}
	}
}

// Where somebody types is in sight, however long the story is.
func TestQuestionInSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the cursor of a text field blinks by the clock
		r := open(t, &backend{}, worldtest.Of("healthy"), 80, 24, utf8)
		r = newRoot(r.theme, r.keys, &backend{}, []*drill.Drill{long(t)}, "", worldtest.Of("healthy"), make(chan world.Model), func() time.Time { return worldtest.Now })
		m, _ := r.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
		r, _ = press(m.(root), "2", "enter", "a")
		if view := r.View(); !strings.Contains(view, "What is lost?") || !strings.Contains(view, "> a") {
			t.Errorf("the first question:\n%s", view)
		}
		if r, _ = press(r, "enter", "b"); !strings.Contains(r.View(), "The last question?") || !strings.Contains(r.View(), "> b") {
			t.Errorf("the last question:\n%s", r.View())
		}
	})
}

// A question, and what became of something, are told in full however narrow the screen is.
func TestNotice(t *testing.T) {
	b := &backend{err: errors.New("the agent of frontend01 refuses: there is a fault already, which ends by itself, and this one would be held against it")}
	for _, size := range []struct{ w, h int }{{40, 10}, {80, 24}} {
		r, _ := press(open(t, b, worldtest.Of("healthy"), size.w, size.h, utf8), "right", "right", " ", "right", " ", "right", " ", "down", "up", "c")
		view := r.View()
		whole(t, view, size.w, size.h)
		if text := strings.Join(strings.Fields(view), " "); !strings.Contains(text, "Cut store off from frontend01, worker01, for 30s? y/N") {
			t.Errorf("%d cells:\n%s", size.w, view)
		}
		r, _ = press(r, "y")
		whole(t, r.View(), size.w, size.h)
		if text := strings.Join(strings.Fields(r.View()), " "); !strings.Contains(text, b.err.Error()) {
			t.Errorf("%d cells:\n%s", size.w, r.View())
		}
	}
}

// However narrow, the name of the page is told.
func TestTabs(t *testing.T) {
	for _, width := range []int{40, 60, 80} {
		for i, name := range []string{"Lab", "Drills", "Votes", "Events", "Logs", "Tutorial"} {
			r, _ := press(open(t, &backend{}, worldtest.Of("healthy"), width, 24, utf8), fmt.Sprint(i+1))
			if head, _, _ := strings.Cut(r.View(), "\n"); !strings.Contains(head, fmt.Sprintf(" %d %s ", i+1, name)) || !strings.Contains(head, " 6 ") {
				t.Errorf("%d cells: %q", width, head)
			}
		}
	}
}

// A line that is wider than the screen is read to its end.
func TestSideways(t *testing.T) {
	w := worldtest.Of("healthy")
	w.Events = append(w.Events, world.Event{At: worldtest.Now, Node: "store", Subject: "pg", Action: "die", Message: strings.Repeat("long ", 40) + "the end"})
	r, _ := press(open(t, &backend{}, w, 80, 24, utf8), "4")
	if strings.Contains(r.View(), "the end") {
		t.Fatal(r.View())
	}
	for range 20 {
		r, _ = press(r, "right")
	}
	if !strings.Contains(r.View(), "the end") {
		t.Error(r.View())
	}
}

// A screen that is only to show takes no key that changes anything.
func TestReadOnly(t *testing.T) {
	b := &backend{}
	r := open(t, b, worldtest.Of("healthy"), 100, 30, utf8)
	keys := keymap.New().Without()
	r = newRoot(r.theme, keys, b, nil, "", worldtest.Of("healthy"), make(chan world.Model), func() time.Time { return worldtest.Now })
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
		r, _ := press(open(t, &backend{}, worldtest.Of("fault"), 80, 24, "LANG=C"), fmt.Sprint(i+1), "?")
		for _, c := range r.View() {
			if c > 0x7e {
				t.Errorf("help of page %d shows %q", i+1, c)
			}
		}
		r, _ = press(r, "q")
		for _, c := range r.View() {
			if c > 0x7e {
				t.Errorf("page %d shows %q", i+1, c)
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
	r = newRoot(r.theme, r.keys, &backend{}, all, "", worldtest.Of("healthy"), make(chan world.Model), func() time.Time { return worldtest.Now })
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
