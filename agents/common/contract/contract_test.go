package contract_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/agents/common/contract"
)

// root is the clone.
const root = "../../.."

// What other languages say of the contract, says the same: Ruby's port of the agents, what people type after the tutorial, the images of the app.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, want string }{
		{"vagrant/topology.rb", fmt.Sprintf("AGENT_PORT = %d", contract.AgentPort)},
		{"HOWTO.md", fmt.Sprintf("docker network create --driver overlay --attachable %s", contract.Network)},
	} {
		text, err := os.ReadFile(filepath.Join(root, c.file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), c.want) {
			t.Errorf("%s does not say %q", c.file, c.want)
		}
	}
	for _, app := range []string{contract.VoteApp, contract.ResultsApp, contract.WorkerApp} {
		if _, err := os.Stat(filepath.Join(root, "lab", "votingapp", "cmd", app, "Dockerfile")); err != nil {
			t.Errorf("no image is made of %s: %v", app, err)
		}
	}
}

// stray finds what ought to be a name of the contract, by the value that it has.
var stray = regexp.MustCompile(`"(mynet|votes:[a-z]+|votes_queued|votes_captured|votes_counted|votes_dead_lettered|queue_incidents:)"`)

// Nothing of the contract stands in the product a second time.
func TestEachNameOnce(t *testing.T) {
	t.Parallel()
	for _, wing := range []string{"agents", "lab", "tui"} {
		err := filepath.WalkDir(filepath.Join(root, wing), func(path string, _ os.DirEntry, err error) error {
			slashed := filepath.ToSlash(path)
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") ||
				strings.Contains(slashed, "/common/contract/") || strings.Contains(slashed, "/lab/test/") || strings.Contains(slashed, "test/") {
				return err
			}
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				if m := stray.FindString(line); m != "" && !strings.HasPrefix(strings.TrimSpace(line), "//") {
					t.Errorf("%s: %s stands in package contract", slashed, m)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
