package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/cli"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report/reporttest"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
)

// evil is a text that would set the terminal's title, fill its clipboard, clear and recolour it, hide, and turn round.
const evil = "bad\x1b]0;title\a\x1b]52;c;cm0gLXJm\x1b\\\x1b[2J\x1b[31m\x1b[8m\u009b31m\u202e\u2066\x7f\x00\b\r\x1bcend"

// commanding reports the first character that a terminal would obey, or that turns others round.
func commanding(text string) (rune, bool) {
	for _, r := range text {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
			return r, true
		}
	}
	return 0, false
}

// evilLab is a lab whose agents, containers and events say evil things.
func evilLab(t *testing.T) *fleettest.Lab {
	t.Helper()
	lab := fleettest.New(t)
	for _, agent := range lab.Agents {
		agent.Hook(func(h *fleettest.Hooks) {
			h.Lines = map[string][]string{"": {"agent " + evil}, "pg": {"pg " + evil, "\ttab stays"}}
			h.OnHeal = func() []string { return []string{"healed" + evil} }
		})
		agent.Update(nil, func(s *agentv1.NodeSnapshot) {
			s.Ready = false
			s.Role.Healthy, s.Role.Message = false, "role "+evil
			s.Pending = append(s.Pending, &agentv1.Pending{Step: "step " + evil, Reason: "reason\nALARM " + evil})
			for _, c := range s.GetContainers() {
				c.Error, c.State = "error "+evil, "exited"+evil
				c.Differences = append(c.Differences, "difference "+evil)
			}
			s.Engine.Error = evil
		})
	}
	return lab
}

// lockedBuffer is written to by a command while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestWhatOthersWroteIsHarmless: nothing that comes from nodes, containers, events and files reaches the terminal as a command.
func TestWhatOthersWroteIsHarmless(t *testing.T) {
	t.Parallel()
	lab := evilLab(t)
	if err := journal.Write(lab.JournalDir(), evilJournal()); err != nil {
		t.Fatal(err)
	}
	drill := filepath.Join(lab.Dir, "evil.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quoted, err := json.Marshal(evil) // a string of JSON is one of YAML
	if err != nil {
		t.Fatal(err)
	}
	write(drill, strings.ReplaceAll(ownDrill, "EVIL", string(quoted)))
	write(filepath.Join(lab.Dir, "broken.yaml"), "id: "+string(quoted)+"\n")
	write(filepath.Join(lab.Dir, evilName), "id: x\n")
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"logs", "store", "pg"}, []string{"pg bad", "end\n", "\ttab stays\n"}},
		{[]string{"logs", "store"}, []string{"agent bad"}},
		{[]string{"status"}, []string{"error bad", "difference bad", "step bad", "reason ALARM bad"}},
		{[]string{"heal"}, []string{"started healedbad"}},
		{[]string{"drill", "show", "--file", drill, "--answers"}, []string{"title bad", "within 2s: bad31m end", "\nbad31m end\n"}},
		{[]string{"drill", "show", "--file", filepath.Join(lab.Dir, "broken.yaml")}, []string{"broken.yaml:1:"}},
		{[]string{"drill", "show", "--file", filepath.Join(lab.Dir, evilName)}, []string{"evil"}},
		{[]string{"drill", "show", evil}, []string{"there is no drill bad"}},
		{[]string{"report", "list"}, []string{"redis-stop"}},
		{[]string{"report", "show"}, []string{"title bad", "reason bad", "see bad"}},
		{[]string{"report", "export", "--out", "-"}, []string{"title bad"}},
		{[]string{evil}, []string{"unknown command"}},
		{[]string{"status", "--" + evil}, []string{"unknown flag"}},
	} {
		var out, errs bytes.Buffer
		cli.Main(t.Context(), cli.App{Out: &out, Err: &errs, Dir: lab.Dir}, tt.args)
		all := out.String() + errs.String()
		if r, bad := commanding(all); bad {
			t.Errorf("%q printed %U:\n%q", tt.args, r, all)
		}
		for _, word := range tt.want {
			if !strings.Contains(all, word) {
				t.Errorf("%q: no %q in\n%s", tt.args, word, all)
			}
		}
	}
	// What is on a line of its own is ours.
	var out bytes.Buffer
	cli.Main(t.Context(), cli.App{Out: &out, Err: &out, Dir: lab.Dir}, []string{"status"})
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "ALARM") {
			t.Errorf("a node wrote a line: %q", line)
		}
	}
}

// evilName is the name of a file.
const evilName = "evil\x1b]0;x\a\u202e.yaml"

const ownDrill = `id: mine
title: "title bad"
section: Redis failures
story: EVIL
predict:
  - {ask: EVIL, answer: EVIL}
inject:
  - {fault: stop, container: redis01, for: 8s}
expect:
  - {see: EVIL, when: ready, within: 2s}
debrief: EVIL
fix: EVIL
`

func evilJournal() *journal.Journal {
	j := reporttest.RedisStop()
	j.Drill.Title, j.By = "title "+evil, evil
	j.Reasons, j.Remarks = []string{"reason " + evil}, []string{evil}
	for i := range j.Checks {
		j.Checks[i].See, j.Checks[i].Saw = "see "+evil, "saw "+evil
	}
	for i := range j.Faults {
		j.Faults[i].What, j.Faults[i].Evidence = "what "+evil, evil
	}
	return j
}

// TestWatchOfWhatOthersWrote: events are lines of one form, whatever they say.
func TestWatchOfWhatOthersWrote(t *testing.T) {
	t.Parallel()
	lab := evilLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var words, objects lockedBuffer
	var both sync.WaitGroup
	both.Go(func() { cli.Main(ctx, cli.App{Out: &words, Err: &words, Dir: lab.Dir}, []string{"watch"}) })
	both.Go(func() {
		cli.Main(ctx, cli.App{Out: &objects, Err: &objects, Dir: lab.Dir}, []string{"watch", "--json"})
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(words.String(), "happened") || !strings.Contains(objects.String(), "happened") {
		lab.Agents["store"].Update(&agentv1.Event{
			At: timestamppb.Now(), Subject: "pg" + evil, Action: "die", Message: "happened\n" + evil,
		}, func(*agentv1.NodeSnapshot) {})
		select {
		case <-ctx.Done():
			t.Fatalf("no event was told:\n%s\n%s", words.String(), objects.String())
		case <-tick.C:
		}
	}
	cancel()
	both.Wait()
	for _, text := range []string{words.String(), objects.String()} {
		if r, bad := commanding(text); bad {
			t.Errorf("%U in %q", r, text)
		}
	}
	told := false
	for line := range strings.Lines(objects.String()) {
		var sight struct{ Subject, Message string }
		if err := json.Unmarshal([]byte(line), &sight); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		told = told || sight.Subject == "pg"+evil && sight.Message == "happened\n"+evil
	}
	if !told {
		t.Errorf("JSON does not tell what was written:\n%s", objects.String())
	}
	for line := range strings.Lines(words.String()) {
		if len(line) < len("15:04:05") || line[2] != ':' || line[5] != ':' {
			t.Errorf("%q is no event", line)
		}
	}
}

// TestJSONLosesNothing: it is made of what terminals print, and says what was written.
func TestJSONLosesNothing(t *testing.T) {
	t.Parallel()
	lab := evilLab(t)
	for _, environ := range [][]string{nil, {"LC_ALL=C"}} {
		var out bytes.Buffer
		cli.Main(t.Context(), cli.App{Out: &out, Err: &out, Dir: lab.Dir, Environ: environ}, []string{"status", "--json"})
		if r, bad := commanding(out.String()); bad {
			t.Errorf("%U in %q", r, &out)
		}
		var status struct {
			Nodes []struct {
				Containers []struct{ Error string }
			}
		}
		if err := json.Unmarshal(out.Bytes(), &status); err != nil {
			t.Fatalf("%v in %s", err, &out)
		}
		if got := status.Nodes[0].Containers[0].Error; got != "error "+evil {
			t.Errorf("%q", got)
		}
	}
}

// TestASCII: where the locale has no UTF-8, no command writes anything else.
func TestASCII(t *testing.T) {
	t.Parallel()
	lab := fleettest.New(t)
	fleettest.StartApp(t, lab.Lab)
	j := reporttest.RedisStop()
	if err := journal.Write(lab.JournalDir(), j); err != nil {
		t.Fatal(err)
	}
	lab.Agents["store"].Hook(func(h *fleettest.Hooks) { h.Lines = map[string][]string{"pg": {"größer 表 ✓"}} })
	lab.Agents["store"].Update(nil, func(s *agentv1.NodeSnapshot) { s.Ready, s.Role.Healthy, s.Role.Message = false, false, "später …" })
	for _, args := range [][]string{
		{"status"},
		{"status", "--json"},
		{"heal"},
		{"logs", "store", "pg"},
		{"drill", "list"},
		{"drill", "show", "redis-stop", "--answers"},
		{"drill", "--help"},
		{"drill", "run", "--help"},
		{"fault", "--help"},
		{"fault", "nosuch"},
		{"report", "list"},
		{"report", "show"},
		{"doctor", "--help"},
		{"load", "--votes", "30", "--concurrency", "2"},
		{"load", "--votes", "20", "--json"},
		{"vote", "a", "--no-wait"},
		{"verify", "--timeout", "0s"},
		{"dead-letters"},
		{"down", "--help"},
		{"--help"},
		{"doctor"},
	} {
		for _, locale := range []string{"LC_ALL=C", "LC_ALL=POSIX", "LC_CTYPE=en_US.ISO-8859-1"} {
			var out, errs bytes.Buffer
			environ := []string{"LANG=C.UTF-8", locale}
			cli.Main(t.Context(), cli.App{In: strings.NewReader(""), Out: &out, Err: &errs, Dir: lab.Dir, Environ: environ}, args)
			all := out.String() + errs.String()
			if i := strings.IndexFunc(all, func(r rune) bool { return r >= 0x80 }); i >= 0 || all == "" {
				t.Errorf("%s lab %s: at %d of\n%s", locale, strings.Join(args, " "), i, all)
			}
		}
	}
}
