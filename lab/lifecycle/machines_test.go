package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/docker"
	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// host is a host whose programs are scripts: an engine that has the containers, volumes and networks that it is given, and forgets what is removed; a
// Vagrant that destroys what it is told to, and hypervisors that know machines by their ids.
type host struct {
	t   *testing.T
	dir string
}

const engineScript = `#!/bin/sh
cd "$(dirname "$0")"
echo "docker $*" >>log
for last; do :; done
filter=${last#label=}
case $filter in *=*) filter='"'${filter%%=*}'":"'${filter#*=}'"' ;; esac
list() { for f in "$1"/*; do [ -e "$f" ] && grep -q -F "$filter" "$f" && basename "$f"; done; true; }
json() { kind=$1; shift 3; sep='['; for f; do [ -e "$kind/$f" ] || continue; printf '%s' "$sep"; cat "$kind/$f"; sep=,; done; [ "$sep" = , ] && echo ']' || echo '[]'; }
case "$1 $2" in
"ps --all") list containers ;;
"volume ls") list volumes ;;
"network ls") ls networks ;;
"container inspect") json containers "$@" ;;
"volume inspect") json volumes "$@" ;;
"network inspect") json networks "$@" ;;
"rm --force") [ -e stays ] || rm -f "containers/$4" ;;
"volume rm") rm -f "volumes/$4" ;;
"network rm") rm -f "networks/$3" ;;
"info --format") case $3 in *.ID*) cat engine 2>/dev/null ;; *) echo 2 ;; esac ;;
"exec "*) [ "$3" = cat ] && cat "mounts/$2" ;;
esac
`

const vagrantScript = `#!/bin/sh
here=$(dirname "$0")
echo "vagrant $* [$LAB_NAME, $LAB_FRONTENDS frontends, $LAB_WORKERS workers]" >>"$here/log"
if [ "$1" = destroy ] && [ ! -e "$here/forgetful" ]; then
	for node; do rm -rf ".vagrant/machines/$node/$PROVIDER/id"; [ -e "$here/stays" ] || rm -f "$here/machines/$node"; done
fi
true
`

// virshScript and boxScript know machines by the files in machines, which are called like their nodes and hold an id and a name.
const virshScript = `#!/bin/sh
here=$(dirname "$0")
for id; do :; done
grep -h "^$id " "$here"/machines/* 2>/dev/null | cut -d ' ' -f 2 | grep . && exit 0
echo "error: failed to get domain '$id'" >&2
exit 1
`

const boxScript = `#!/bin/sh
here=$(dirname "$0")
name=$(grep -h "^$2 " "$here"/machines/* 2>/dev/null | cut -d ' ' -f 2)
if [ -n "$name" ]; then printf 'groups="/x"\nname="%s"\n' "$name"; exit 0; fi
echo "VBoxManage: error: Could not find a registered machine with UUID {$2}" >&2
exit 1
`

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t, t.TempDir()}
	for name, text := range map[string]string{"docker": engineScript, "vagrant": vagrantScript, "virsh": virshScript, "VBoxManage": boxScript} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"containers", "volumes", "networks", "mounts", "machines"} {
		if err := os.Mkdir(filepath.Join(h.dir, kind), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", h.dir+":"+os.Getenv("PATH"))
	t.Setenv("VAGRANT_HOME", h.dir)
	t.Setenv("LIBVIRT_DEFAULT_URI", "")
	return h
}

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// labels of what a clone made.
func labels(c owner.Clone, name, node string) map[string]string {
	l := map[string]string{owner.LabelLab: name, owner.LabelFolder: c.Dir, owner.LabelClone: c.ID}
	if node != "" {
		l[docker.LabelNode] = node
	}
	return l
}

// container gives the engine the container, the volume and the mount of a node.
func (h *host) container(id string, lab *settings.Lab, node, state string, marks map[string]string) {
	h.t.Helper()
	port := ""
	if n, ok := lab.Topology.Node(node); ok {
		port = fmt.Sprint(lab.AgentPort(n))
	}
	h.object("containers", id, map[string]any{
		"Id": id, "Name": "/" + lab.Name + "-" + node, "State": map[string]string{"Status": state}, "Config": map[string]any{"Labels": marks},
		"HostConfig": map[string]any{"PortBindings": map[string]any{"7400/tcp": []map[string]string{{"HostPort": port}}}},
	})
	h.volume(id+"-data", marks)
	h.write("mounts/"+id, "1 2 8:1 "+marks[owner.LabelFolder]+"/.lab/nodes/"+node+" "+given+" ro - ext4 /dev/sda rw\n")
}

func (h *host) volume(name string, marks map[string]string) {
	h.object("volumes", name, map[string]any{"Name": name, "Labels": marks})
}

func (h *host) network(id string, marks map[string]string) {
	h.object("networks", id, map[string]any{"Id": id, "Name": id, "Labels": marks})
}

func (h *host) object(kind, name string, what any) {
	h.t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(kind+"/"+name, string(text))
}

// has lists what the engine has.
func (h *host) has() []string {
	h.t.Helper()
	var all []string
	for _, kind := range []string{"containers", "volumes", "networks"} {
		entries, err := os.ReadDir(filepath.Join(h.dir, kind))
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, e.Name())
		}
	}
	return all
}

// did returns the calls whose words begin so.
func (h *host) did(prefix string) []string {
	log, _ := os.ReadFile(filepath.Join(h.dir, "log")) // none, nothing was done
	return slices.DeleteFunc(strings.Split(string(log), "\n"), func(line string) bool { return !strings.HasPrefix(line, prefix) })
}

// signedClone is a clone with an identity.
func signedClone(t *testing.T) *settings.Lab {
	t.Helper()
	lab := fleettest.Clone(t)
	if _, err := owner.Sign(lab.Dir); err != nil {
		t.Fatal(err)
	}
	return lab
}

// contextThatEnds ends soon: what is waited for does not come.
func contextThatEnds(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), 3*time.Second)
}

func discard() *console.Console { return console.New(io.Discard, nil) }

// at is the same clone, reached by another path.
func at(t *testing.T, lab *settings.Lab, dir string) *settings.Lab {
	t.Helper()
	other := *lab
	other.Dir = dir
	return &other
}

// TestStatesByIdentity: the nodes are found however the clone is reached, and another clone's are not, whatever they are called.
func TestStatesByIdentity(t *testing.T) {
	h := newHost(t)
	lab, other := signedClone(t), signedClone(t)
	h.container("c1", lab, "store", "running", labels(lab.Owner(), lab.Name, "store"))
	h.container("c2", lab, "worker01", "paused", labels(lab.Owner(), lab.Name, "worker01"))
	h.container("c3", other, "manager", "running", labels(other.Owner(), lab.Name, "manager"))
	h.volume("kept", labels(lab.Owner(), lab.Name, "frontend01"))
	link := lab.Dir + "-link"
	if err := os.Symlink(lab.Dir, link); err != nil {
		t.Fatal(err)
	}
	want := map[string]power.State{"store": power.StateRunning, "worker01": power.StatePaused, "frontend01": power.StateKept}
	for _, dir := range []string{lab.Dir, link} {
		machines := System{}.Machines(at(t, lab, dir), io.Discard)
		got, err := machines.States(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := machines.Resume(t.Context(), "worker01"); err != nil {
			t.Error(err)
		}
		if err := machines.Resume(t.Context(), "manager"); err == nil {
			t.Error("another clone's node was resumed")
		}
	}
	if diff := cmp.Diff([]string{"docker unpause c2", "docker unpause c2"}, h.did("docker unpause")); diff != "" {
		t.Error(diff)
	}
	moved := lab.Dir + "-moved"
	if err := os.Rename(lab.Dir, moved); err != nil {
		t.Fatal(err)
	}
	machines := System{}.Machines(at(t, lab, moved), io.Discard)
	if got, err := machines.States(t.Context()); err != nil || !maps.Equal(got, want) {
		t.Errorf("moved: %v, %v", got, err)
	}
	h.container("c1", lab, "store", "exited", labels(owner.Clone{Dir: lab.Dir, ID: owner.Of(moved).ID}, lab.Name, "store"))
	if _, err := machines.States(t.Context()); err == nil || !strings.Contains(err.Error(), "starts only from "+lab.Dir) {
		t.Errorf("a node that is off, of a clone that was moved: %v", err)
	}
}

// TestSweep: what is removed is this clone's, and what was made by one that is deleted.
func TestSweep(t *testing.T) {
	h := newHost(t)
	lab, other := signedClone(t), signedClone(t)
	gone := owner.Clone{Dir: filepath.Join(t.TempDir(), "gone"), ID: "00000000000000aa"}
	moved := owner.Clone{Dir: filepath.Join(t.TempDir(), "moved"), ID: "00000000000000bb"}
	off := owner.Clone{Dir: filepath.Join(t.TempDir(), "off"), ID: "00000000000000cc"}
	h.container("mine", lab, "store", "running", labels(lab.Owner(), "under-another-name", "store"))
	h.network("mine-net", labels(lab.Owner(), lab.Name, ""))
	h.container("theirs", other, "store", "running", labels(other.Owner(), lab.Name, "store"))
	h.container("gone", lab, "store", "running", labels(gone, lab.Name, "store"))
	h.write("mounts/gone", "1 2 8:1 /gone/.lab/nodes/store//deleted "+given+" ro - ext4 /dev/sda rw\n")
	h.container("moved", lab, "manager", "running", labels(moved, lab.Name, "manager"))
	h.network("moved-net", labels(moved, lab.Name, ""))
	h.container("off", lab, "worker01", "exited", labels(off, lab.Name, "worker01"))
	h.network("empty-net", labels(owner.Clone{Dir: "/no/such/clone"}, lab.Name, ""))
	h.network("bridge", nil)
	if found, err := (System{}).Sweep(t.Context(), lab, func(string) {}); err != nil || !found {
		t.Fatal(found, err)
	}
	want := []string{"moved", "off", "theirs", "moved-data", "off-data", "theirs-data", "bridge", "moved-net"}
	if diff := cmp.Diff(want, h.has()); diff != "" {
		t.Error(diff)
	}
	notes, err := System{}.Strays(t.Context(), lab)
	if err != nil || len(notes) != 2 {
		t.Fatalf("%q, %v", notes, err)
	}
	all := strings.Join(notes, "\n")
	for _, word := range []string{moved.Dir, off.Dir, "volume moved-data", "network moved-net", "label=swarmlab.clone=" + moved.ID} {
		if !strings.Contains(all, word) {
			t.Errorf("no %q in\n%s", word, all)
		}
	}
}

// TestSweepIsHeldToItsWord: what the engine has still after it was removed is no lab that is gone.
func TestSweepIsHeldToItsWord(t *testing.T) {
	h := newHost(t)
	lab := signedClone(t)
	h.container("mine", lab, "store", "running", labels(lab.Owner(), lab.Name, "store"))
	h.write("stays", "")
	left := System{}
	own, _, err := left.survey(t.Context(), lab)
	if err != nil || len(own.names()) != 2 {
		t.Fatalf("%v, %v", own.names(), err)
	}
	if err := left.remove(t.Context(), own, func(string) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextThatEnds(t)
	defer cancel()
	if _, err := left.Sweep(ctx, lab, func(string) {}); err == nil {
		t.Error("a container that stayed is said to be gone")
	}
	if err := os.Remove(filepath.Join(h.dir, "stays")); err != nil {
		t.Fatal(err)
	}
	if _, err := left.Sweep(t.Context(), lab, func(string) {}); err != nil {
		t.Error(err)
	}
}

// TestAnotherEngine: a lab that is on another engine than the one that is asked is neither gone nor to be made anew.
func TestAnotherEngine(t *testing.T) {
	h := newHost(t)
	lab := signedClone(t)
	h.write("engine", "ONE\n")
	if err := noteEngine(t.Context(), docker.Engine{}, lab); err != nil {
		t.Fatal(err)
	}
	machines := System{}.Machines(lab, io.Discard)
	if _, err := machines.States(t.Context()); err != nil {
		t.Errorf("the same: %v", err)
	}
	h.write("engine", "TWO\n")
	_, err := machines.States(t.Context())
	_, sweep := (System{}).Sweep(t.Context(), lab, func(string) {})
	for _, err := range []error{err, sweep} {
		if err == nil || !strings.Contains(err.Error(), "on another Docker engine (ONE) than the one that answers now (TWO): set DOCKER_HOST") {
			t.Errorf("got %v", err)
		}
	}
}

// TestForsaken: a lab whose .lab was deleted is told of, not made a second time.
func TestForsaken(t *testing.T) {
	h := newHost(t)
	lab := signedClone(t)
	lab.Saved = nil
	system := System{}
	if err := system.Forsaken(t.Context(), lab); err != nil {
		t.Errorf("without a lab: %v", err)
	}
	h.container("c1", lab, "store", "running", labels(lab.Owner(), lab.Name, "store"))
	if err := system.Forsaken(t.Context(), lab); err != nil {
		t.Errorf("with its keys: %v", err)
	}
	// Of .lab only the clone's identity was lost.
	h.container("c2", lab, "worker01", "running", labels(owner.Clone{Dir: lab.Dir, ID: "00000000000000aa"}, lab.Name, "worker01"))
	states, err := system.Machines(lab, io.Discard).States(t.Context())
	if err != nil || states["worker01"] != power.StateRunning || system.Forsaken(t.Context(), lab) != nil {
		t.Errorf("with its keys, and without its identity: %v, %v", states, err)
	}
	if err := os.Remove(filepath.Join(h.dir, "containers", "c2")); err != nil {
		t.Fatal(err)
	}
	h.volume("c2-data", map[string]string{})
	h.container("c1", lab, "store", "running", labels(lab.Owner(), "blue", "store"))
	if err := os.RemoveAll(lab.StateDir()); err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		if again {
			if _, err := owner.Sign(lab.Dir); err != nil { // a new .lab
				t.Fatal(err)
			}
		}
		if err := system.Forsaken(t.Context(), lab); err == nil || !strings.Contains(err.Error(), "the lab blue of this clone is there, but .lab, ") {
			t.Errorf("new .lab %v: %v", again, err)
		}
	}
	same := labels(lab.Owner(), lab.Name, "store")
	same[owner.LabelClone] = "00000000000000aa"
	h.container("c1", lab, "store", "running", same)
	if _, err := system.Machines(lab, io.Discard).States(t.Context()); err == nil || !strings.Contains(err.Error(), "`make down` removes them") {
		t.Errorf("states: %v", err)
	}
	// Nor with the passwords on what is left of it.
	if err := os.Remove(filepath.Join(h.dir, "containers", "c1")); err != nil {
		t.Fatal(err)
	}
	h.volume("c1-data", same)
	if err := system.Forsaken(t.Context(), lab); err == nil {
		t.Error("a volume was not seen")
	}
	if _, err := system.Machines(lab, io.Discard).States(t.Context()); err == nil {
		t.Error("a volume is taken for a new lab's")
	}
	if _, err := system.Sweep(t.Context(), lab, func(string) {}); err != nil || !slices.Equal(h.has(), []string{"c2-data"}) {
		t.Errorf("down left %v: %v", h.has(), err)
	}
	// Virtual machines, which Vagrant still knows.
	h.record(lab, "store", "libvirt", "id1", "")
	if err := system.Forsaken(t.Context(), lab); err == nil {
		t.Error("virtual machines were not seen")
	}
}

// TestLostSettings: a lab whose settings alone were deleted is not made another one, and whoever asks is told with what it was made.
func TestLostSettings(t *testing.T) {
	network := func(h *host, lab *settings.Lab, name, subnet string) {
		h.object("networks", "net", map[string]any{
			"Id": "net", "Name": name, "Labels": labels(lab.Owner(), name, ""), "IPAM": map[string]any{"Config": []map[string]string{{"Subnet": subnet}}},
		})
	}
	for name, tt := range map[string]struct {
		make func(h *host, lab *settings.Lab)
		// want is the command that finds the lab again; empty when there is nothing to find. up: `lab up` does.
		want string
		up   bool
	}{
		"none":            {func(*host, *settings.Lab) {}, "", true},
		"only a network":  {func(h *host, lab *settings.Lab) { network(h, lab, "blue", "192.168.66.0/24") }, "", true},
		"another clone's": {func(h *host, lab *settings.Lab) { h.volume("v", labels(signedClone(h.t).Owner(), "blue", "store")) }, "", true},
		"with the same": {func(h *host, lab *settings.Lab) {
			h.container("c1", lab, "manager", "running", labels(lab.Owner(), lab.Name, "manager"))
			h.container("c2", lab, "worker01", "running", labels(lab.Owner(), lab.Name, "worker01"))
			network(h, lab, lab.Name, lab.Subnet.String())
		}, "make up", true},
		"under another name": {func(h *host, lab *settings.Lab) {
			h.container("c1", lab, "worker01", "running", labels(lab.Owner(), "blue", "worker01"))
			network(h, lab, lab.Name, "192.168.66.0/24")
		}, "LAB_NAME=blue make up", false},
		"a volume under another name": {func(h *host, lab *settings.Lab) {
			h.volume("v", labels(lab.Owner(), "blue", "store"))
		}, "LAB_NAME=blue make up", false},
		"with others throughout": {func(h *host, lab *settings.Lab) {
			other := *lab
			other.PortBase = 26000
			h.container("c1", &other, "manager", "running", labels(lab.Owner(), "blue", "manager"))
			h.container("c2", &other, "store", "running", labels(lab.Owner(), "blue", "store"))
			for _, node := range []string{"frontend01", "frontend02", "frontend03", "worker01", "worker02"} {
				h.volume(node, labels(lab.Owner(), "blue", node))
			}
			network(h, lab, "blue", "192.168.66.0/24")
		}, "LAB_NAME=blue LAB_SUBNET=192.168.66.0/24 LAB_PORT_BASE=26000 LAB_FRONTENDS=3 LAB_WORKERS=2 make up", false},
		"with more nodes": {func(h *host, lab *settings.Lab) {
			for _, node := range []string{"worker01", "worker02"} {
				h.container(node, lab, node, "running", labels(lab.Owner(), lab.Name, node))
			}
		}, "LAB_WORKERS=2 make up", false},
		"of virtual machines": {func(h *host, lab *settings.Lab) { h.record(lab, "store", "libvirt", "id1", "") }, "PROVIDER=libvirt make up", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			lab := signedClone(t)
			lab.Saved = nil
			tt.make(h, lab)
			err := System{}.Left(t.Context(), lab)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "`"+tt.want+"`")) {
				t.Errorf("asked: %v", err)
			}
			if err := (System{}).Forsaken(t.Context(), lab); (err == nil) != tt.up || err != nil && !strings.Contains(err.Error(), "`"+tt.want+"`") {
				t.Errorf("up: %v", err)
			}
			lab.Saved = &lab.Settings
			if err := (System{}).Left(t.Context(), lab); err != nil {
				t.Errorf("with its settings: %v", err)
			}
		})
	}
}

// record lets Vagrant have taken note of a machine, and the hypervisor know it under that name, if any.
func (h *host) record(lab *settings.Lab, node, provider, id, name string) {
	h.t.Helper()
	path := filepath.Join(lab.Dir, ".vagrant", "machines", node, provider, "id")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(id), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if name != "" {
		h.write("machines/"+node, id+" "+name+"\n")
	}
}

// TestDestroyIsHeldAgainstTheHypervisor: only machines that are the lab's are destroyed, by name, and they must be gone then.
func TestDestroyIsHeldAgainstTheHypervisor(t *testing.T) {
	for _, provider := range []string{"libvirt", "virtualbox"} {
		t.Run(provider, func(t *testing.T) {
			h := newHost(t)
			lab := signedClone(t)
			lab.Provider = provider
			machines := System{}.Machines(lab, io.Discard)
			if err := machines.Destroy(t.Context(), "store", "manager"); err != nil || len(h.did("vagrant")) > 0 {
				t.Errorf("of what Vagrant knows nothing: %v, %v", h.did("vagrant"), err)
			}
			h.record(lab, "store", provider, "id1", lab.Name+"-store")
			h.record(lab, "manager", provider, "id2", "somebodys-manager")
			if err := machines.Destroy(t.Context(), "store", "manager"); err == nil || !strings.Contains(err.Error(), "not destroyed: the machine that Vagrant has for node manager is called somebodys-manager") {
				t.Errorf("of another lab's: %v", err)
			}
			if calls := h.did("vagrant"); len(calls) > 0 {
				t.Errorf("did %v", calls)
			}
			h.record(lab, "manager", provider, "id3", "")
			if err := os.Remove(filepath.Join(h.dir, "machines", "manager")); err != nil {
				t.Fatal(err)
			}
			h.write("stays", "")
			ctx, cancel := contextThatEnds(t)
			defer cancel()
			if err := machines.Destroy(ctx, "store", "manager", "worker01"); err == nil {
				t.Error("a machine that stayed is said to be destroyed")
			}
			if diff := cmp.Diff([]string{"vagrant destroy --force manager store --no-color [swarmlab, 2 frontends, 1 workers]"}, h.did("vagrant")); diff != "" {
				t.Error(diff)
			}
			if err := os.Remove(filepath.Join(h.dir, "stays")); err != nil {
				t.Fatal(err)
			}
			h.record(lab, "store", provider, "id1", lab.Name+"-store")
			if err := machines.Destroy(t.Context(), "store"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDownFindsMachinesOfAnotherProvider: settings that were deleted do not hide them, and what is of another project is not touched.
func TestDownFindsMachinesOfAnotherProvider(t *testing.T) {
	h := newHost(t)
	lab := signedClone(t)
	h.record(lab, "store", "virtualbox", "id1", lab.Name+"-store")
	h.record(lab, "manager", "libvirt", "id2", lab.Name+"-manager")
	h.record(lab, "worker01", "docker", "id3", "")
	// What the environment says by now is not what the lab was made with.
	h.record(lab, "frontend04", "libvirt", "id4", lab.Name+"-frontend04")
	h.record(lab, "worker03", "libvirt", "id5", lab.Name+"-worker03")
	saved := lab.Settings
	lab.Saved = &saved
	lab.Name, lab.Frontends, lab.Workers = "blue", 1, 1
	t.Setenv("VAGRANT_CWD", t.TempDir())
	l := &Lifecycle{Lab: lab, Host: System{}, Console: discard()}
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"vagrant destroy --force frontend04 manager worker03 --no-color [swarmlab, 4 frontends, 3 workers]",
		"vagrant destroy --force store --no-color [swarmlab, 2 frontends, 1 workers]",
	}
	if diff := cmp.Diff(want, h.did("vagrant destroy")); diff != "" {
		t.Error(diff)
	}
	if records, err := power.Records(lab); err != nil || len(records) > 0 {
		t.Errorf("still known: %v, %v", records, err)
	}
}

// TestDestroyOfContainers: a container that Vagrant has forgotten is destroyed all the same, and another clone's is not.
func TestDestroyOfContainers(t *testing.T) {
	h := newHost(t)
	lab, other := signedClone(t), signedClone(t)
	h.write("forgetful", "")
	h.container("c1", lab, "frontend02", "running", labels(lab.Owner(), lab.Name, "frontend02"))
	h.container("c2", lab, "store", "running", labels(lab.Owner(), lab.Name, "store"))
	h.container("c3", other, "frontend02", "running", labels(other.Owner(), lab.Name, "frontend02"))
	if err := (System{}).Machines(lab, io.Discard).Destroy(t.Context(), "frontend02"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c2", "c3", "c2-data", "c3-data"}, h.has()); diff != "" {
		t.Error(diff)
	}
}

// TestVotesOutliveTheStoresContainer: only with what is on it are its votes lost, and with them the ledgers.
func TestVotesOutliveTheStoresContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	book := filepath.Join(w.open().LedgerDir(), "0123456789ab.ledger")
	ledger := func() error {
		_, err := os.Stat(book)
		return err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(book), 0o700), os.WriteFile(book, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.stop("store")
	w.states["store"] = power.StateKept
	w.said()
	out := w.mustUp()
	if err := ledger(); err != nil {
		t.Errorf("its volume is there, and the ledger is not: %v", err)
	}
	if diff := cmp.Diff([]string{"up store"}, w.said()); diff != "" || !strings.Contains(out, "created store") {
		t.Errorf("%s\n%s", diff, out)
	}
	w.stop("store")
	delete(w.states, "store")
	w.mustUp()
	if err := ledger(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new store has counted none of it, and the ledger is there: %v", err)
	}
}

// TestKeysDeleted: a lab whose passwords were deleted is not given others behind its back.
func TestKeysDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustUp("LAB_STAGE=images")
	if err := os.RemoveAll(w.open().Path("secrets")); err != nil {
		t.Fatal(err)
	}
	w.said()
	if _, err := w.up(); err == nil || !strings.Contains(err.Error(), "the lab swarmlab is there, and .lab/secrets, which held") {
		t.Errorf("got %v", err)
	}
	if calls := w.said(); len(calls) > 0 {
		t.Errorf("did %v", calls)
	}
	for name := range w.agents {
		w.stop(name)
	}
	clear(w.states)
	w.mustUp("LAB_STAGE=images")
}

// TestIndexOfAMovedClone: Vagrant's index has the path that the clone had when the machine was made.
func TestIndexOfAMovedClone(t *testing.T) {
	h := newHost(t)
	lab := signedClone(t)
	h.record(lab, "store", "docker", "c1", "")
	const id = "c0ffee"
	index := filepath.Join(h.dir, "data", "machine-index")
	if err := errors.Join(
		os.WriteFile(filepath.Join(lab.Dir, ".vagrant", "machines", "store", "docker", "index_uuid"), []byte(id), 0o600),
		os.MkdirAll(index, 0o755),
		os.WriteFile(filepath.Join(index, "index"), []byte(`{"version":1,"machines":{"`+id+`":{"local_data_path":"/before/.vagrant"},"2":{"local_data_path":"/b"}}}`), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	if err := (System{}).forgetMachines(lab); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(index, "index"))
	if want := `{"machines":{"2":{"local_data_path":"/b"}},"version":1}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}
