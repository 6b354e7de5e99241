// Package roletest helps to test a role: whether its plans keep the rules that the agent relies on, whether they are what they were
// ([Golden]), and against real containers ([Start]).
//
// A role's test begins with
//
//	plan := roletest.Plan(t, myrole.New(), roletest.Facts("frontend", 2))
package roletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role"
)

// Facts are those of a node in a lab of the tutorial's size: a manager, an interlock, two frontends, a worker, a store. The node is the
// one with the given role and number; roles that the tutorial does not know get a node of their own.
func Facts(roleName string, ordinal uint32) *role.Facts { return FactsOf(roleName, ordinal, 2, 1) }

// FactsOf are those in a lab with so many frontends and workers.
func FactsOf(roleName string, ordinal uint32, frontends, workers int) *role.Facts {
	facts := &role.Facts{Lab: &rolev1.Lab{Name: "swarmlab", Subnet: "192.168.33.0/24"}}
	add := func(name, roleName string, ordinal, octet int) {
		facts.Nodes = append(facts.Nodes, &rolev1.Node{
			Name: name, Role: roleName, Ordinal: uint32(ordinal), Address: fmt.Sprintf("192.168.33.%d", octet),
		})
	}
	add("manager", "manager", 1, 11)
	add("interlock", "interlock", 1, 12)
	for i := range frontends {
		add(fmt.Sprintf("frontend%02d", i+1), "frontend", i+1, 20+i)
	}
	for i := range workers {
		add(fmt.Sprintf("worker%02d", i+1), "worker", i+1, 200+i)
	}
	add("store", "store", 1, 250)
	is := func(n *rolev1.Node) bool { return n.GetRole() == roleName && n.GetOrdinal() == ordinal }
	if !slices.ContainsFunc(facts.Nodes, is) {
		add(fmt.Sprintf("%s%02d", roleName, ordinal), roleName, int(ordinal), 100)
	}
	facts.Node = facts.Nodes[slices.IndexFunc(facts.Nodes, is)]
	return facts
}

// Plan asks the role for a plan and fails the test if the plan, or the role, breaks a rule: see [Problems].
func Plan(t testing.TB, r role.Role, facts *role.Facts) *role.Plan {
	t.Helper()
	d, err := r.Describe(t.Context())
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	if d.GetName() == "" || d.GetVersion() == "" || d.GetSummary() == "" || strings.Contains(d.GetSummary(), "\n") {
		t.Errorf("the description lacks a name, a version or a summary of one line: %v", d)
	}
	plan, err := r.Plan(t.Context(), facts)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	for _, p := range Problems(t, r, facts) {
		t.Error(p)
	}
	return plan
}

// Problems lists what is wrong with a role's plan for these facts, or with how it makes it:
//   - everything that [role.Validate] finds;
//   - another plan when it is asked again, or when it has been asked about another node in between;
//   - facts that it changed;
//   - text that is not UTF-8, so that the plan cannot be sent;
//   - values that look like secrets, in an environment or a command, where docker inspect shows them.
func Problems(t testing.TB, r role.Role, facts *role.Facts) []string {
	t.Helper()
	var problems []string
	before := proto.Clone(facts)
	first, err := r.Plan(t.Context(), facts)
	if err != nil {
		return []string{fmt.Sprintf("plan: %v", err)}
	}
	if err := role.Validate(first); err != nil {
		problems = append(problems, err.Error())
	}
	if !proto.Equal(before, facts) {
		problems = append(problems, "the role changed the facts it was given")
	}
	if _, err := proto.Marshal(first); err != nil {
		problems = append(problems, fmt.Sprintf("the plan cannot be sent: %v", err))
	}
	other := proto.CloneOf(facts)
	other.Node = &rolev1.Node{Name: "other", Role: facts.GetNode().GetRole(), Ordinal: facts.GetNode().GetOrdinal() + 1, Address: "192.168.33.99"}
	_, _ = r.Plan(t.Context(), other)
	for range 5 {
		again, err := r.Plan(t.Context(), proto.CloneOf(facts))
		if diff := cmp.Diff(first, again, protocmp.Transform()); err != nil || diff != "" {
			problems = append(problems, fmt.Sprintf("the same facts gave another plan (error %v):\n%s", err, diff))
			break
		}
	}
	for _, c := range first.GetContainers() {
		for name, value := range c.GetEnv() {
			if looksSecret(name) && value != "" && !strings.HasSuffix(name, "_FILE") {
				problems = append(problems, fmt.Sprintf("container %q: environment variable %s looks like a secret: mount it as a file", c.GetName(), name))
			}
		}
		for i, arg := range c.GetCommand() {
			name, value, together := strings.Cut(arg, "=")
			if !together && i+1 < len(c.GetCommand()) {
				value = c.GetCommand()[i+1]
			}
			if strings.HasPrefix(arg, "-") && looksSecret(name) && value != "" && !strings.HasPrefix(value, "/") {
				problems = append(problems, fmt.Sprintf("container %q: argument %s looks like a secret: mount it as a file", c.GetName(), name))
			}
		}
	}
	return problems
}

func looksSecret(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
	return slices.ContainsFunc([]string{"password", "passwd", "secret", "token", "apikey", "requirepass", "masterauth"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}

// Golden compares a plan with the file testdata/NAME.json, which UPDATE_GOLDEN=1 writes.
func Golden(t testing.TB, name string, plan *role.Plan) {
	t.Helper()
	compact, err := protojson.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	// protojson varies its white space on purpose; encoding/json does not, and would escape < and >.
	var tree any
	if err := json.Unmarshal(compact, &tree); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(tree); err != nil {
		t.Fatal(err)
	}
	GoldenText(t, name+".json", out.String())
}

// GoldenText compares a text with the file testdata/NAME, which UPDATE_GOLDEN=1 writes.
func GoldenText(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (UPDATE_GOLDEN=1 writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got; UPDATE_GOLDEN=1 accepts it):\n%s", path, diff)
	}
}

// File returns the content of the file that a container of the plan gets at target, before the agent puts the secrets in.
func File(t testing.TB, plan *role.Plan, container, target string) string {
	t.Helper()
	for _, c := range plan.GetContainers() {
		for _, m := range c.GetMounts() {
			if c.GetName() == container && m.GetTarget() == target && m.GetFile() != nil {
				return m.GetFile().GetContent()
			}
		}
	}
	t.Fatalf("container %s gets no file at %s", container, target)
	return ""
}
