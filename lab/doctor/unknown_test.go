package doctor

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// lose makes a fact unknown, of whatever it is.
func (f *Fact[T]) lose(why error) { *f = Unknown[T](why) }

// losable are all facts that can be lost, with their names.
func losable(f *Facts) (names []string, lose []func(error)) {
	all := reflect.ValueOf(f).Elem()
	for i := range all.NumField() {
		if fact, ok := all.Field(i).Addr().Interface().(interface{ lose(why error) }); ok {
			names, lose = append(names, all.Type().Field(i).Name), append(lose, fact.lose)
		}
	}
	return names, lose
}

// TestUnknownIsNotNo loses facts of hosts on which nothing is wrong, one and two at a time, and all of them: whatever was
// not told, nothing is refused for it, and what could not be told is said.
func TestUnknownIsNotNo(t *testing.T) {
	t.Parallel()
	type host struct {
		facts func() Facts
		up    func(*Facts)
	}
	hosts := map[string]host{"docker": {sound, up}, "libvirt": {soundLibvirt, recordAll}, "virtualbox": {soundVirtualBox, recordAll}}
	for name, h := range hosts {
		for state, change := range map[string]func(*Facts){
			"cold": func(*Facts) {}, "cold, no root": func(f *Facts) { f.Builder = Unknown[string](ErrNotRoot) },
			"up": h.up, "up, short of everything": func(f *Facts) { h.up(f); tight(f) },
		} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				facts := func() Facts {
					f := h.facts()
					change(&f)
					return f
				}
				if blocking := Blocking(Evaluate(facts())); len(blocking) > 0 {
					t.Fatalf("the host is to be sound: %v", blocking)
				}
				for _, why := range []error{late, errors.New("EOF"), ErrStopped} {
					losesAll(t, facts, why)
				}
			})
		}
	}
}

// tight leaves a lab that is up just what it has.
func tight(f *Facts) {
	for i := range f.Disks.value {
		f.Disks.value[i].Free = 1 << 30
	}
	if !f.containerNodes() {
		for i := range f.Disks.value {
			f.Disks.value[i].Free = 3 << 30
		}
	}
	f.Bundle = Known([]string{"consul", "haproxy", "postgres", "redis"})
	f.Memory.value.Available = 64 << 20
	f.Inotify.value.MaxInstances = f.Inotify.value.Used.value + 1
}

func losesAll(t *testing.T, facts func() Facts, why error) {
	t.Helper()
	f := facts()
	names, lose := losable(&f)
	if len(names) < 30 {
		t.Fatalf("there are only %d facts: %v", len(names), names)
	}
	for _, one := range lose {
		one(why)
	}
	noRefusal(t, Evaluate(f), why, "everything")
	for a := range names {
		for b := a; b < len(names); b++ {
			if a != b && !errors.Is(why, ErrNoAnswer) {
				continue // pairs of one kind will do
			}
			f := facts()
			_, lose := losable(&f)
			lose[a](why)
			lose[b](why)
			noRefusal(t, Evaluate(f), why, names[a]+", "+names[b])
		}
	}
}

// noRefusal: who said no, as a stopped engine and a registry that hangs up do, may be taken at their word, but for
// nothing else.
func noRefusal(t *testing.T, findings []Finding, why error, lost string) {
	t.Helper()
	for _, f := range findings {
		if f.Blocking && (errors.Is(why, ErrNoAnswer) || f.Check != "engine" && f.Check != "provider" &&
			(f.Check != "images" || !strings.Contains(lost, "Registry"))) {
			t.Errorf("%s lost (%v): %+v", lost, why, f)
		}
	}
}

// TestOwnLabUnseen is the case that was met: the lab is up, the engine is busy, and its networks and containers could not
// be had in time.
func TestOwnLabUnseen(t *testing.T) {
	t.Parallel()
	f := sound()
	up(&f)
	f.Networks, f.Containers = Unknown[[]Network](late), Unknown[[]Container](late)
	f.Listeners.value[0].Holder = Process{} // docker-proxy, as others than root see it
	want := map[string]string{
		"subnet": "could not tell whether the interface br-0123456789ab (192.168.33.0/24) is this lab's own network or clashes with 192.168.33.0/24: " +
			"the Docker engine did not answer within 30 s",
		"ports": "could not tell whether 127.0.0.1:19011 (the agent of manager), 19012 (the agent of interlock), 19020 (the agent of frontend01) and 3 more, " +
			"in use, are this lab's own: the Docker engine did not answer within 30 s",
		"name": "could not tell whether another clone has a lab swarmlab on this host: the Docker engine did not answer within 30 s",
	}
	for _, finding := range Evaluate(f) {
		if message, ok := want[finding.Check]; ok {
			if finding.Message != message || finding.Status != Skip || !finding.Unknown || finding.Fix != "" {
				t.Errorf("got  %+v\nwant %s", finding, message)
			}
			delete(want, finding.Check)
		}
		if finding.Blocking {
			t.Errorf("it blocks: %+v", finding)
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
	if got := doubts(Evaluate(f)); !strings.HasPrefix(got, "name: could not tell") || !strings.Contains(got, "more; `lab doctor` tells all); going on") {
		t.Errorf("the doubts are told as %q", got)
	}
}

// TestOwnNodeStarting: the engine listed the containers just before one was started, whose port is there already.
func TestOwnNodeStarting(t *testing.T) {
	t.Parallel()
	f := sound()
	up(&f)
	f.Containers.value[2].State, f.Containers.value[2].Ports = "exited", nil
	finding := find1(t, Evaluate(f), "ports")
	if want := "could not tell whether 127.0.0.1:19020 (the agent of frontend01), in use, are this lab's own: a node of it is starting or stopping"; finding.Message != want ||
		!finding.Unknown || finding.Blocking {
		t.Errorf("%+v", finding)
	}
}

// TestKnownStaysNo: what is known for certain blocks, whatever else is not known.
func TestKnownStaysNo(t *testing.T) {
	t.Parallel()
	f := sound()
	f.Networks, f.Containers = Unknown[[]Network](late), Unknown[[]Container](late)
	f.Interfaces.value = append(f.Interfaces.value, Interface{"wlan0", netip.MustParsePrefix("192.168.33.17/24")})
	f.Listeners.value = []Listener{{addrPorts("127.0.0.1:8080")[0], Process{4711, "nginx", "nginx: master"}}}
	got := map[string]bool{}
	for _, finding := range Blocking(Evaluate(f)) {
		got[finding.Check] = true
	}
	if !got["subnet"] || !got["ports"] || len(got) != 2 {
		t.Errorf("what blocks is %v, want subnet and ports", got)
	}
}

func TestZeroFactIsUnknown(t *testing.T) {
	t.Parallel()
	var f Fact[[]Network]
	if _, known := f.Get(); known || !errors.Is(f.Err(), ErrNotLooked) {
		t.Errorf("known: %v, %v", known, f.Err())
	}
	lost := Fact[int]{value: 7, err: ErrNoAnswer, looked: true}
	if n, known := lost.Get(); n != 0 || known {
		t.Errorf("what is not known has the value %d", n)
	}
}

// standIn puts an engine of one lab's network and container into the place of docker. It answers after a while.
func standIn(t *testing.T, wait string) Options {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the command is a shell script")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "clone")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	script := `#!/bin/sh
` + wait + `
case "$1 $2" in
"info "*) echo '{"ServerVersion":"28.5.2","OSType":"linux","Driver":"overlay2","CgroupVersion":"2","KernelVersion":"` + release() + `"}' ;;
"network ls") echo 0123456789abcdef ;;
"network inspect") echo '{"Name":"swarmlab","Id":"0123456789abcdef","Driver":"bridge","Labels":{"swarmlab.lab":"swarmlab","swarmlab.folder":"` + root + `"},` +
		`"IPAM":{"Config":[{"Subnet":"192.168.33.0/24"}]},"Options":{}}' ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DOCKER_HOST", "unix:///nowhere.sock")
	f := sound()
	return Options{Root: root, Settings: settings.Settings{
		Name: "swarmlab", Subnet: f.Settings.Subnet, PortBase: 19000, Provider: settings.ProviderDocker,
	}, Topology: f.Topology}
}

// seenOn judges what was gathered as if the bridge of the lab's network were on this host.
func seenOn(f Facts) []Finding {
	f.Interfaces = Known([]Interface{{"br-0123456789ab", netip.MustParsePrefix("192.168.33.1/24")}})
	f.Routes = Known([]Route{{netip.MustParsePrefix("192.168.33.0/24"), "br-0123456789ab"}})
	return Evaluate(f)
}

func find1(t *testing.T, findings []Finding, check string) Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding on %s", check)
	return Finding{}
}

// TestEngineAnswersLate: an engine that takes 5 s for each answer is asked again, and then the lab's own network is known.
func TestEngineAnswersLate(t *testing.T) {
	o := standIn(t, `[ "$2" = inspect ] || sleep 5`)
	o.Patient = 5 * time.Minute
	var waiting []string
	o.Waiting = func(what string) { waiting = append(waiting, what) }
	findings := seenOn(gather(t.Context(), o))
	for _, check := range []string{"engine", "subnet"} {
		if f := find1(t, findings, check); f.Status != OK {
			t.Errorf("%+v", f)
		}
	}
	if len(waiting) != 1 || !strings.Contains(waiting[0], "the Docker engine") || !strings.Contains(waiting[0], "did not answer within 1.1 s") {
		t.Errorf("it was told to wait for %q", waiting)
	}
}

// TestEngineNeverAnswers: it is told what could not be told, and nothing is refused for it.
func TestEngineNeverAnswers(t *testing.T) {
	hung := filepath.Join(t.TempDir(), "hung")
	if err := os.WriteFile(hung, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := standIn(t, "while [ -e "+hung+" ]; do sleep 0.2; done; exit 1")
	t.Cleanup(func() { _ = os.Remove(hung) })
	o.Quick, o.Patient = 300*time.Millisecond, 2*time.Second
	findings := seenOn(gather(t.Context(), o))
	for check, says := range map[string]string{
		"engine": "could not tell whether the Docker engine is fit: the Docker engine did not answer within 2 s",
		"subnet": "is this lab's own network or clashes with 192.168.33.0/24: the Docker engine did not answer within 2 s",
		"name":   "could not tell whether another clone has a lab swarmlab on this host: the Docker engine did not answer within 2 s",
	} {
		if f := find1(t, findings, check); !strings.Contains(f.Message, says) || f.Blocking || !f.Unknown {
			t.Errorf("%+v", f)
		}
	}
	for _, f := range Blocking(findings) {
		if f.Check == "subnet" || f.Check == "name" || f.Check == "engine" || f.Check == "ports" {
			t.Errorf("it blocks: %+v", f)
		}
	}
}

// TestOwnersByIdentity: what this clone made is its own under whatever path, and what the path only seems to make its own is not.
func TestOwnersByIdentity(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	clone, err := owner.Sign(root)
	if err != nil {
		t.Fatal(err)
	}
	link := root + "-link"
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	const other = "0123456789abcdef"
	f := &Facts{Root: root, Settings: settings.Settings{Name: "blue"}}
	for name, tt := range map[string]struct {
		Owner
		mine, gone bool
	}{
		"made here, which was elsewhere": {Owner{Lab: "blue", Folder: "/no/such/clone", Clone: clone.ID}, true, false},
		"made here by an earlier .lab":   {Owner{Lab: "blue", Folder: root, Clone: other}, true, false},
		"before there were identities":   {Owner{Lab: "blue", Folder: link}, true, false},
		"before, elsewhere":              {Owner{Lab: "blue", Folder: "/"}, false, false},
		"in its place":                   {Owner{Lab: "blue", Folder: root, Clone: other, Inode: "1"}, false, true},
		"of a clone that is gone":        {Owner{Lab: "blue", Folder: "/no/such/clone", Clone: other}, false, true},
		"of another name":                {Owner{Lab: "red", Folder: root, Clone: clone.ID}, false, false},
		"no lab's":                       {Owner{}, false, false},
	} {
		if got := tt.known(root); f.mine(got) != tt.mine || got.FolderGone != tt.gone {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
