package nodefiles

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

const topologyFile = `subnet: 192.168.33.0/24
roles: [cache]
nodes:
  - {name: manager,   role: manager,   octet: 11}
  - {name: interlock, role: interlock, octet: 12}
  - {name: frontend,  role: frontend,  octet: 20, count: 2}
  - {name: worker,    role: worker,    octet: 200}
  - {name: cache,     role: cache,     octet: 220}
  - {name: store,     role: store,     octet: 250}
`

// clone has everything built and bundled.
func clone(t *testing.T) *settings.Lab {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "vagrant", "topology.yaml"), topologyFile)
	lab, err := settings.Open(dir, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "vagrant", "provision", "provision.sh"), "script")
	write(t, filepath.Join(dir, "vagrant", "provision", "root", "etc", "x"), "x")
	for _, n := range lab.Topology.Nodes {
		for _, f := range built(n.Role) {
			write(t, source(lab, f), f)
		}
		write(t, filepath.Join(lab.NodeDir(n.Name), "agent.yaml"), n.Name)
		write(t, filepath.Join(lab.NodeDir(n.Name), "pki", "node.key"), n.Name)
	}
	for _, image := range of("").images {
		write(t, source(lab, "bundle/"+image+".tar"), image)
		write(t, source(lab, "bundle/"+image+".json"), "record")
	}
	return lab
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, 0o644)
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

// files lists a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestLay(t *testing.T) {
	t.Parallel()
	lab := clone(t)
	// What an earlier run left: another role's, a half-made one, a folder that is no longer there.
	store := lab.NodeDir("store")
	for _, old := range []string{"bin/role-worker", "bundle/postgres.tar.new", "app/old/old", "provision/root/etc/old/file", ".unfinished-1"} {
		write(t, filepath.Join(store, old), "old")
	}
	for range 2 {
		if err := Lay(lab); err != nil {
			t.Fatal(err)
		}
	}
	const own, script = "agent.yaml ", " pki/node.key provision/provision.sh provision/root/etc/x"
	for node, want := range map[string]string{
		"manager":    "bin/labagent bin/role-manager bundle/consul.tar",
		"interlock":  "bin/labagent bin/role-interlock bundle/haproxy.tar",
		"frontend02": "app/web-vote-app/Dockerfile app/web-vote-app/web-vote-app bin/labagent bin/role-frontend bundle/redis.tar",
		"worker":     "app/vote-worker/Dockerfile app/vote-worker/vote-worker bin/labagent bin/role-worker",
		"store":      "app/results-app/Dockerfile app/results-app/results-app bin/labagent bin/role-store bundle/postgres.tar",
		"cache": "app/results-app/Dockerfile app/results-app/results-app app/vote-worker/Dockerfile app/vote-worker/vote-worker " +
			"app/web-vote-app/Dockerfile app/web-vote-app/web-vote-app bin/labagent bin/role-cache " +
			"bundle/consul.tar bundle/haproxy.tar bundle/postgres.tar bundle/redis.tar",
	} {
		if diff := cmp.Diff(strings.Fields(own+want+script), strings.Fields(files(t, lab.NodeDir(node)))); diff != "" {
			t.Errorf("%s:\n%s", node, diff)
		}
	}
	if _, err := os.Stat(filepath.Join(store, "provision", "root", "etc", "old")); err == nil {
		t.Error("an empty folder was left")
	}
	if info, err := os.Stat(store); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info, err)
	}
	one, err := os.Stat(filepath.Join(store, "bin", "labagent"))
	if err != nil {
		t.Fatal(err)
	}
	if other, err := os.Stat(filepath.Join(lab.NodeDir("cache"), "bin", "labagent")); err != nil || !os.SameFile(one, other) {
		t.Errorf("two nodes have two copies (%v)", err)
	}

	// Built anew, as a new file.
	agent := source(lab, "bin/labagent")
	if err := os.Remove(agent); err != nil {
		t.Fatal(err)
	}
	write(t, agent, "new")
	if err := Lay(lab); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(store, "bin", "labagent")); err != nil || string(got) != "new" {
		t.Errorf("got %q %v", got, err)
	}
}

// What a learner may read on the node does not depend on the umask with which the clone and the build were made, nor on the one of
// this command.
func TestModes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	for _, mode := range []os.FileMode{0, 0o007, 0o022, 0o027, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", mode), func(t *testing.T) {
			t.Parallel()
			lab := clone(t)
			program, script := source(lab, "bin/labagent"), filepath.Join(lab.Dir, "vagrant", "provision", "provision.sh")
			for _, f := range []string{
				source(lab, "app/results-app/Dockerfile"), source(lab, "bundle/postgres.tar"), filepath.Join(lab.Dir, "vagrant", "provision", "root", "etc", "x"),
			} {
				chmod(t, f, 0o666&^mode)
			}
			chmod(t, program, 0o777&^mode)
			chmod(t, script, 0o777&^mode)
			// As an earlier run with that umask left it.
			store := lab.NodeDir("store")
			old := filepath.Join(store, "app", "results-app")
			write(t, filepath.Join(old, "Dockerfile"), "old")
			chmod(t, filepath.Join(old, "Dockerfile"), 0o666&^mode)
			chmod(t, old, 0o777&^mode)
			if err := Lay(lab); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]os.FileMode{
				"bin": 0o755, "app/results-app": 0o755, "provision/root/etc": 0o755, "bundle": 0o755,
				"bin/labagent": 0o755, "provision/provision.sh": 0o755,
				"app/results-app/Dockerfile": 0o644, "bundle/postgres.tar": 0o644, "provision/root/etc/x": 0o644,
			} {
				info, err := os.Stat(filepath.Join(store, name))
				if err != nil {
					t.Fatal(err)
				}
				if info.Mode().Perm() != want {
					t.Errorf("%s has mode %03o, want %03o", name, info.Mode().Perm(), want)
				}
			}
			// The clone's own files keep theirs.
			if info, err := os.Stat(script); err != nil || info.Mode().Perm() != 0o777&^mode {
				t.Errorf("the clone's script: %v %v", info.Mode(), err)
			}
			before, err := os.Stat(filepath.Join(store, "bin", "labagent"))
			if err != nil {
				t.Fatal(err)
			}
			if err := Lay(lab); err != nil {
				t.Fatal(err)
			}
			if after, err := os.Stat(filepath.Join(store, "bin", "labagent")); err != nil || !os.SameFile(before, after) {
				t.Errorf("what is up to date was laid again (%v)", err)
			}
		})
	}
}

func TestUnbuilt(t *testing.T) {
	t.Parallel()
	lab := clone(t)
	if got := Unbuilt(lab); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	for _, f := range []string{"bin/role-store", "app/results-app/Dockerfile"} {
		if err := os.Remove(source(lab, f)); err != nil {
			t.Fatal(err)
		}
	}
	platform := lab.Platform()
	want := []string{".lab/app/" + platform + "/results-app/Dockerfile", ".lab/bin/" + platform + "/role-store"}
	if diff := cmp.Diff(want, Unbuilt(lab)); diff != "" {
		t.Error(diff)
	}
	if err := Lay(lab); err == nil || !strings.Contains(err.Error(), "lay out what node ") {
		t.Errorf("got %v", err)
	}
}

// Where links cannot be made, files are copied, and a copy that is up to date is left alone.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	write(t, from, "content")
	long := time.Now().Add(-time.Hour)
	if err := os.Chmod(from, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if err := os.Chtimes(from, long, long); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := duplicate(from, to, info); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(to)
	if err != nil || before.Mode() != info.Mode() || !alike(info, before) {
		t.Errorf("%v %v", before, err)
	}
	if err := place(from, to); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(to); err != nil || !os.SameFile(before, after) {
		t.Errorf("the copy was made again (%v)", err)
	}
}

// TestRolesRunWhatTheyAreGiven holds the table to what the roles' plans name.
func TestRolesRunWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	repo, err := settings.FindDir(".")
	if err != nil {
		t.Fatal(err)
	}
	stock, apps := regexp.MustCompile(`planutil\.Stock\("(?:[^"]*/)?([a-z]+):`), regexp.MustCompile(`planutil\.Built\(contract\.(\w+)\)`)
	built := map[string]string{"VoteApp": contract.VoteApp, "ResultsApp": contract.ResultsApp, "WorkerApp": contract.WorkerApp}
	for role, given := range roles() {
		sources, err := filepath.Glob(filepath.Join(repo, "agents", "roles", role, "*.go"))
		if err != nil || len(sources) == 0 {
			t.Fatalf("role %s has no source (%v)", role, err)
		}
		var plan needs
		for _, path := range sources {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range stock.FindAllStringSubmatch(string(text), -1) {
				plan.images = append(plan.images, m[1])
			}
			for _, m := range apps.FindAllStringSubmatch(string(text), -1) {
				plan.apps = append(plan.apps, built[m[1]])
			}
		}
		if !slices.Equal(plan.images, given.images) || !slices.Equal(plan.apps, given.apps) {
			t.Errorf("%s plans %+v and is given %+v", role, plan, given)
		}
	}
	if len(roles()) != len(topology.BuiltinRoles()) {
		t.Errorf("%d roles are given something, there are %d", len(roles()), len(topology.BuiltinRoles()))
	}
}
