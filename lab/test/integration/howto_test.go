//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// command is what HOWTO.md tells its reader to type: on a node, or on the host (node "").
type command struct {
	line int
	node string
	text string
}

var prompt = regexp.MustCompile(`^\s*(?:vagrant@([a-z0-9]+):~)?\$ +(.*)$`)

// commands reads the console blocks of a text. A line that ends with a backslash goes on in the next.
func commands(text string) []command {
	var (
		list    []command
		console bool
		open    bool
	)
	for i, line := range strings.Split(text, "\n") {
		fence := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(fence, "```"):
			console, open = fence == "```console", false
		case !console:
		case open:
			last := &list[len(list)-1]
			last.text += " " + strings.TrimSpace(line)
			open = strings.HasSuffix(last.text, `\`)
			last.text = strings.TrimSuffix(last.text, `\`)
		default:
			if m := prompt.FindStringSubmatch(line); m != nil {
				open = strings.HasSuffix(m[2], `\`)
				list = append(list, command{line: i + 1, node: m[1], text: strings.TrimSuffix(m[2], `\`)})
			}
		}
	}
	return list
}

// interactive commands wait for a person.
var interactive = regexp.MustCompile(`^vagrant ssh |docker exec -it |^bin/lab watch$`)

// The tutorial, typed as it stands in HOWTO.md on bare nodes, ends in the voting application; and the agents, to whom the nodes are
// handed over, adopt every container that was started manually.
func TestHowto(t *testing.T) {
	l := open(t)
	text, err := os.ReadFile(filepath.Join(l.Dir, "HOWTO.md"))
	if err != nil {
		t.Fatal(err)
	}
	byHand, _, found := strings.Cut(string(text), "\n## Hand over to the agents")
	if !found {
		t.Fatal("HOWTO.md has no section 'Hand over to the agents'")
	}
	l.labCommand(t, nil, "reset", "--yes", "--stage", "infrastructure")
	token := ""
	prefix := strings.TrimSuffix(l.address(t, "manager"), "11")
	for _, c := range commands(byHand) {
		if interactive.MatchString(c.text) {
			continue
		}
		typed := strings.ReplaceAll(c.text, "SWMTKN-1-…", token)
		typed = strings.ReplaceAll(typed, "192.168.33.", prefix)
		t.Logf("HOWTO.md:%d: %s$ %s", c.line, c.node, c.text)
		var out string
		if c.node == "" {
			cmd := strings.Fields(typed)
			out = l.labCommand(t, nil, cmd[1:]...)
		} else if out, err = l.typeOn(t, c.node, typed); err != nil {
			t.Fatalf("HOWTO.md:%d: on %s: %s: %v", c.line, c.node, typed, err)
		}
		if strings.Contains(typed, "join-token -q worker") {
			token = strings.TrimSpace(out)
		}
	}
	l.waitReady(t)
	for _, p := range l.places() {
		if !p.overlay {
			continue // consul and interlock are the agents' own work
		}
		c, err := l.container(t.Context(), p.node, p.container)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.GetOwnership() != agentv1.Ownership_OWNERSHIP_ADOPTED {
			t.Errorf("%s on %s is %v, not adopted: %v", p.container, p.node, c.GetOwnership(), c.GetDifferences())
		}
	}
	l.mustServe(t, "after the tutorial")

	// A reset leaves a whole lab without votes, with containers of the agents' own making.
	start := time.Now()
	l.labCommand(t, nil, "reset", "--yes")
	t.Logf("reset took %.1f s", time.Since(start).Seconds())
	l.waitReady(t)
	l.expectTally(t, tally{})
	l.mustServe(t, "after a reset")
}

// typeOn runs a line in the shell of a node's user vagrant.
func (l *lab) typeOn(t *testing.T, node, line string) (string, error) {
	t.Helper()
	return l.onNode(t.Context(), node, "runuser", "-l", "vagrant", "-c", line)
}

func TestCommandsOfHowto(t *testing.T) {
	text := "a\n```console\n$ bin/lab up\nout\nvagrant@store:~$   sudo a \\\n     b \\\n  c\nout $ no\n```\n```sh\n$ not\n```\n"
	got := fmt.Sprint(commands(text))
	if want := fmt.Sprint([]command{{3, "", "bin/lab up"}, {5, "store", "sudo a  b  c"}}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
