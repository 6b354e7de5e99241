package settings_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

const topologyFile = `subnet: 192.168.33.0/24
nodes:
  - {name: manager,   role: manager,   octet: 11}
  - {name: interlock, role: interlock, octet: 12}
  - {name: frontend,  role: frontend,  octet: 20, count: 2}
  - {name: worker,    role: worker,    octet: 200, count: 1}
  - {name: store,     role: store,     octet: 250}
`

func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "vagrant"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vagrant", "topology.yaml"), []byte(topologyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if v, ok := strings.CutPrefix(p, name+"="); ok {
				return v
			}
		}
		return ""
	}
}

func TestOpenDefaults(t *testing.T) {
	t.Parallel()
	lab, err := settings.Open(clone(t), env())
	if err != nil {
		t.Fatal(err)
	}
	want := "LAB_NAME=swarmlab LAB_SUBNET=192.168.33.0/24 LAB_PORT_BASE=19000 LAB_FRONTENDS=2 LAB_WORKERS=1 LAB_STAGE=application PROVIDER=docker"
	if got := strings.Join(lab.Environ(), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if lab.Saved != nil || lab.StageAsked {
		t.Errorf("saved %v, stage asked %t in a fresh clone", lab.Saved, lab.StageAsked)
	}
	manager, _ := lab.Topology.Node("manager")
	if a, v, r := lab.AgentPort(manager), lab.VotingPort(), lab.ResultsPort(); a != 19011 || v != 8080 || r != 8081 {
		t.Errorf("ports %d %d %d", a, v, r)
	}
}

// Whatever command comes first after a clone was moved, from then on its copies are known for what they are.
func TestOpenRenewsTheRecordOfAClone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a")
	if err := errors.Join(os.CopyFS(dir, os.DirFS(clone(t))), os.Mkdir(filepath.Join(dir, ".lab"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Sign(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := settings.Open(dir+"-moved", env()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir+"-copy", os.DirFS(dir+"-moved")); err != nil {
		t.Fatal(err)
	}
	var is *owner.CopyError
	if _, err := settings.Open(dir+"-copy", env()); !errors.As(err, &is) || is.Original != dir+"-moved" {
		t.Errorf("got %v", err)
	}
}

func TestOpenPrecedence(t *testing.T) {
	t.Parallel()
	dir := clone(t)
	first, err := settings.Open(dir, env("LAB_NAME=blue", "LAB_PORT_BASE=21000", "LAB_SUBNET=192.168.40.0/24", "LAB_FRONTENDS=4", "LAB_STAGE=cluster"))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Save(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(first.SettingsFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("settings file: %v %v", info, err)
	}
	second, err := settings.Open(dir, env("LAB_FRONTENDS=3"))
	if err != nil {
		t.Fatal(err)
	}
	want := first.Settings
	want.Frontends = 3
	if diff := cmp.Diff(want.Environ(), second.Environ()); diff != "" {
		t.Error(diff)
	}
	if second.Saved == nil || second.Saved.Frontends != 4 || second.StageAsked {
		t.Errorf("saved %+v, stage asked %t", second.Saved, second.StageAsked)
	}
	if v, r := second.VotingPort(), second.ResultsPort(); v != 21880 || r != 21881 {
		t.Errorf("ports %d %d", v, r)
	}
	if err := second.Forget(); err != nil {
		t.Fatal(err)
	}
	if err := second.Forget(); err != nil {
		t.Errorf("forgetting twice: %v", err)
	}
	third, err := settings.Open(dir, env())
	if err != nil || third.Name != settings.DefaultName {
		t.Errorf("after forgetting: %+v %v", third, err)
	}
}

func TestOpenMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, saved, want string
		env               []string
	}{
		{name: "name", env: []string{"LAB_NAME=My Lab"}, want: "LAB_NAME=My Lab: not a lab name: a small letter first"},
		{name: "subnet", env: []string{"LAB_SUBNET=private"}, want: "LAB_SUBNET=private: not a network in CIDR notation"},
		{name: "public subnet", env: []string{"LAB_SUBNET=1.2.3.0/24"}, want: "LAB_SUBNET=1.2.3.0/24: subnet 1.2.3.0/24 is not private"},
		{name: "small subnet", env: []string{"LAB_SUBNET=192.168.9.0/26"}, want: "vagrant/topology.yaml: subnet 192.168.9.0/26 is too small: 64 addresses"},
		{name: "ports", env: []string{"LAB_PORT_BASE=65000"}, want: "LAB_PORT_BASE=65000: not a number in 1024…64000"},
		{name: "frontends", env: []string{"LAB_FRONTENDS=many"}, want: "LAB_FRONTENDS=many: not a number in 1…99"},
		{name: "workers", env: []string{"LAB_WORKERS=0"}, want: "LAB_WORKERS=0: not a number in 1…99"},
		{name: "too many workers", env: []string{"LAB_WORKERS=60"}, want: "with 60 workers from the environment"},
		{name: "stage", env: []string{"LAB_STAGE=party"}, want: `LAB_STAGE=party: unknown stage "party"; the stages are infrastructure, cluster, network, images, application`},
		{name: "provider", env: []string{"PROVIDER=bochs"}, want: "PROVIDER=bochs: unknown provider; known: docker, libvirt"},
		{name: "all at once", env: []string{"LAB_WORKERS=0", "PROVIDER=bochs"}, want: "\nPROVIDER=bochs"},
		{name: "damaged file", saved: "{", want: "settings.json is damaged"},
		{name: "file with a bad name", saved: `{"name":"A"}`, want: `settings.json: name: "A": not a lab name`},
		{name: "file with a bad port", saved: `{"port_base":1}`, want: "settings.json: port_base: 1 is out of range"},
		{name: "file with a bad stage", saved: `{"stage":"x"}`, want: `unknown stage "x"`},
		{name: "file with a bad subnet", saved: `{"subnet":"9.9.9.0/24"}`, want: "settings.json: subnet: subnet 9.9.9.0/24 is not private"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := clone(t)
			if tt.saved != "" {
				if err := os.Mkdir(filepath.Join(dir, ".lab"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, ".lab", "settings.json"), []byte(tt.saved), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := settings.Open(dir, env(tt.env...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestFindDir(t *testing.T) {
	t.Parallel()
	dir := clone(t)
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := settings.FindDir(deep); err != nil || got != dir {
		t.Errorf("got %s %v, want %s", got, err, dir)
	}
	if _, err := settings.FindDir(t.TempDir()); err == nil || !strings.Contains(err.Error(), "cd into the clone") {
		t.Errorf("got %v", err)
	}
}

// rubyLab is what vagrant/topology.rb prints when run as a program.
type rubyLab struct {
	Name     string `json:"name"`
	Subnet   string `json:"subnet"`
	PortBase int    `json:"port_base"`
	Provider string `json:"provider"`
	Nodes    []struct {
		Name    string   `json:"name"`
		Role    string   `json:"role"`
		Ordinal int      `json:"ordinal"`
		Octet   int      `json:"octet"`
		Address string   `json:"address"`
		Memory  int      `json:"memory"`
		CPUs    int      `json:"cpus"`
		Ports   [][2]int `json:"ports"`
	} `json:"nodes"`
}

// TestRubyReadsTheSame holds vagrant/topology.rb, by which the Vagrantfile makes the nodes, to this package's reading.
func TestRubyReadsTheSame(t *testing.T) {
	t.Parallel()
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("no ruby here")
	}
	repo, err := settings.FindDir(".")
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(repo, "vagrant", "topology.rb")
	committed, err := os.ReadFile(filepath.Join(repo, "vagrant", "topology.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		saved string
		env   []string
		conf  string // VirtualBox's networks.conf; empty: there is none
		bad   bool   // both must refuse
	}{
		{name: "as committed"},
		{name: "environment", env: []string{"LAB_NAME=blue", "LAB_SUBNET=10.9.0.0/16", "LAB_PORT_BASE=20000", "LAB_FRONTENDS=4", "LAB_WORKERS=3", "PROVIDER=libvirt"}},
		{name: "saved", saved: `{"name":"green","subnet":"192.168.44.0/24","port_base":21000,"frontends":3,"workers":2,"provider":"docker","stage":"cluster"}`},
		{name: "environment over saved", saved: `{"name":"green","port_base":21000,"frontends":3}`, env: []string{"LAB_NAME=red", "LAB_WORKERS=2"}},
		{name: "libvirt", env: []string{"PROVIDER=libvirt"}, conf: "* 10.0.0.0/8"},
		{name: "vmware", env: []string{"PROVIDER=vmware_desktop"}},
		{name: "parallels", env: []string{"PROVIDER=parallels"}},
		{name: "virtualbox", env: []string{"PROVIDER=virtualbox"}},
		{name: "virtualbox, all allowed", env: []string{"PROVIDER=virtualbox"}, conf: "# all\n* 0.0.0.0/0 ::/0\n"},
		{name: "virtualbox, exactly allowed", env: []string{"PROVIDER=virtualbox"}, conf: "*10.0.0.0/8 192.168.33.0/24"},
		{name: "virtualbox, a part allowed", env: []string{"PROVIDER=virtualbox"}, conf: "* 192.168.33.0/25 192.168.33.0 300.0.0.0/8 010.0.0.0/1"},
		{name: "virtualbox, nothing allowed", env: []string{"PROVIDER=virtualbox"}, conf: "0.0.0.0/0\n#* 0.0.0.0/0\n"},
		{name: "virtualbox, subnet asked for", env: []string{"PROVIDER=virtualbox", "LAB_SUBNET=192.168.40.0/24"}},
		{name: "virtualbox, saved", saved: `{"subnet":"192.168.33.0/24","provider":"virtualbox"}`},
		{name: "virtualbox after docker", saved: `{"subnet":"192.168.33.0/24","provider":"docker"}`, env: []string{"PROVIDER=virtualbox"}},
		{name: "docker after virtualbox", saved: `{"subnet":"192.168.56.0/24","provider":"virtualbox"}`, env: []string{"PROVIDER=docker"}},
		{name: "bad name", env: []string{"LAB_NAME=Blue"}, bad: true},
		{name: "bad count", env: []string{"LAB_WORKERS=0"}, bad: true},
		{name: "count runs into a neighbour", env: []string{"LAB_WORKERS=60"}, bad: true},
		{name: "small subnet", env: []string{"LAB_SUBNET=192.168.33.0/25"}, bad: true},
		{name: "public subnet", env: []string{"LAB_SUBNET=9.9.9.0/24"}, bad: true},
		{name: "damaged file", saved: "{", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := clone(t)
			if err := os.WriteFile(filepath.Join(dir, "vagrant", "topology.yaml"), committed, 0o644); err != nil {
				t.Fatal(err)
			}
			if tt.saved != "" {
				if err := os.MkdirAll(filepath.Join(dir, ".lab"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, ".lab", "settings.json"), []byte(tt.saved), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			conf := filepath.Join(dir, "networks.conf")
			if tt.conf != "" {
				if err := os.WriteFile(conf, []byte(tt.conf), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			lab, goErr := settings.OpenOn(dir, env(tt.env...), conf)
			cmd := exec.CommandContext(t.Context(), ruby, script, dir, conf)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, tt.env...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, rubyErr := cmd.Output()
			if (goErr != nil) != tt.bad || (rubyErr != nil) != tt.bad {
				t.Fatalf("Go: %v\nRuby: %v %s\nwant an error from both: %t", goErr, rubyErr, &stderr, tt.bad)
			}
			if tt.bad {
				return
			}
			var got rubyLab
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if got.Provider == "" {
				// Where nobody says which, Vagrant chooses; the lab command takes docker.
				got.Provider = settings.DefaultProvider
			}
			if diff := cmp.Diff(asRuby(lab), got); diff != "" {
				t.Errorf("Go (-) and Ruby (+) differ:\n%s", diff)
			}
		})
	}
}

func asRuby(lab *settings.Lab) rubyLab {
	r := rubyLab{Name: lab.Name, Subnet: lab.Subnet.String(), PortBase: lab.PortBase, Provider: lab.Provider}
	r.Nodes = make([]struct {
		Name    string   `json:"name"`
		Role    string   `json:"role"`
		Ordinal int      `json:"ordinal"`
		Octet   int      `json:"octet"`
		Address string   `json:"address"`
		Memory  int      `json:"memory"`
		CPUs    int      `json:"cpus"`
		Ports   [][2]int `json:"ports"`
	}, len(lab.Topology.Nodes))
	for i, n := range lab.Topology.Nodes {
		to := &r.Nodes[i]
		to.Name, to.Role, to.Ordinal, to.Octet, to.Address = n.Name, n.Role, n.Ordinal, n.Octet, n.Address.String()
		to.Memory, to.CPUs = n.MemoryMiB, n.CPUs
		to.Ports = [][2]int{{lab.AgentPort(n), 7400}}
		switch n.Role {
		case topology.RoleInterlock:
			to.Ports = append(to.Ports, [2]int{lab.VotingPort(), 80})
		case topology.RoleStore:
			to.Ports = append(to.Ports, [2]int{lab.ResultsPort(), 80})
		}
	}
	return r
}

func TestVirtualBoxSubnet(t *testing.T) {
	t.Parallel()
	dir := clone(t)
	for _, tt := range []struct {
		conf, want string
		env        []string
	}{
		{want: "192.168.56.0/24"},
		{conf: "* 192.168.0.0/16\n", want: "192.168.33.0/24"},
		{conf: "* 10.0.0.0/8\n", want: "192.168.56.0/24"},
		{env: []string{"LAB_SUBNET=192.168.33.0/24"}, want: "192.168.33.0/24"},
	} {
		conf := filepath.Join(t.TempDir(), "networks.conf")
		if tt.conf != "" {
			if err := os.WriteFile(conf, []byte(tt.conf), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		lab, err := settings.OpenOn(dir, env(append(tt.env, "PROVIDER=virtualbox")...), conf)
		if err != nil || lab.Subnet.String() != tt.want {
			t.Errorf("%q %v: %v %v, want %s", tt.conf, tt.env, lab, err, tt.want)
		}
	}
}

// FuzzHostOnlyNetworks: whatever stands in the file, the networks are valid, and a line that allows all counts.
func FuzzHostOnlyNetworks(f *testing.F) {
	f.Add("# allowed\n* 10.0.0.0/8 192.168.0.0/16\n* 2001::/64\nnonsense\n")
	f.Fuzz(func(t *testing.T, conf string) {
		networks := settings.HostOnlyNetworks(conf + "\n* 0.0.0.0/0\n")
		for _, p := range networks {
			if !p.IsValid() || p != p.Masked() {
				t.Errorf("%v", p)
			}
		}
		if last := networks[len(networks)-1]; last.String() != "0.0.0.0/0" {
			t.Errorf("the last is %v", last)
		}
	})
}

// TestFindDirThroughLinks: the clone has one path, however it is reached.
func TestFindDirThroughLinks(t *testing.T) {
	t.Parallel()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	clone, outside := filepath.Join(base, "clone"), filepath.Join(base, "outside")
	for _, dir := range []string{filepath.Join(clone, "vagrant"), filepath.Join(clone, "lab"), outside} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(clone, "vagrant", "topology.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		filepath.Join(base, "link"): clone, filepath.Join(base, "inside"): filepath.Join(clone, "lab"), filepath.Join(clone, "out"): outside,
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"clone", "clone/lab", "link", "link/lab", "inside", "clone/out", "link/out"} {
		if got, err := settings.FindDir(filepath.Join(base, dir)); err != nil || got != clone {
			t.Errorf("%s: %s, %v", dir, got, err)
		}
	}
	if got, err := settings.FindDir(outside); !errors.Is(err, settings.ErrNoClone) {
		t.Errorf("outside: %s, %v", got, err)
	}
}
