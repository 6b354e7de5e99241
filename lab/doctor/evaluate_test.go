package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

const root = "/home/ada/swarmlab"

// sound are the facts of a host on which everything is well, cold.
func sound() Facts {
	prefix := netip.MustParsePrefix("192.168.33.0/24")
	var nodes []topology.Node
	for _, n := range []struct {
		name  string
		octet int
	}{{"manager", 11}, {"interlock", 12}, {"frontend01", 20}, {"frontend02", 21}, {"worker01", 200}, {"store", 250}} {
		address := netip.AddrFrom4([4]byte{192, 168, 33, byte(n.octet)})
		nodes = append(nodes, topology.Node{Name: n.name, Octet: n.octet, Address: address, MemoryMiB: 512, CPUs: 1})
	}
	return Facts{
		Root: root,
		Settings: settings.Settings{
			Name: "swarmlab", Subnet: prefix, PortBase: 19000, Frontends: 2, Workers: 1, Provider: "docker", Stage: settings.StageApplication,
		},
		Topology: topology.Topology{Subnet: prefix, Nodes: nodes},
		Host:     Host{OS: "linux", Arch: "amd64", UID: 1000, Release: "6.1.0-27-amd64", Systemd: true, Debian: true},
		Engine: Known(Engine{
			ServerVersion: "28.5.2", OperatingSystem: "Debian GNU/Linux 13 (trixie)", KernelVersion: "6.1.0-27-amd64", Driver: "overlay2",
			DriverStatus:  [][2]string{{"Backing Filesystem", "extfs"}, {"Supports d_type", "true"}},
			CgroupVersion: "2", CgroupDriver: "systemd", MemTotal: 8 << 30, DockerRootDir: "/var/lib/docker",
		}),
		Containers: Known[[]Container](nil), Volumes: Known[[]Volume](nil), Images: Known[[]string](nil), Listeners: Known[[]Listener](nil),
		Plugins: Known[[]string](nil), Records: Known[[]Record](nil), Bundle: Known[[]string](nil), State: Known[[]StateFile](nil),
		Endpoint: Known("unix:///var/run/docker.sock"),
		Networks: Known([]Network{{Name: "bridge", Driver: "bridge", Bridge: "docker0", Subnets: prefixes("172.17.0.0/16")}}),
		Memory:   Known(Memory{Total: 8 << 30, Available: 4 << 30, Where: "this host"}),
		Disks: Known([]Disk{
			{Purpose: ForClone, Path: root, Free: 50 << 30, Device: 1},
			{Purpose: ForTemp, Path: "/tmp", Free: 50 << 30, Device: 1},
			{Purpose: ForEngine, Path: "/var/lib/docker", Free: 50 << 30, Device: 1},
		}),
		Inotify: Known(Inotify{MaxInstances: 128, MaxWatches: 65536, Used: Known(20)}),
		Kernel: Known(map[Feature]FeatureState{
			"overlay": FeatureThere, "vxlan": FeatureLoadable, "bridge": FeatureThere, "veth": FeatureThere, "netfilter": FeatureThere,
		}),
		Interfaces: Known([]Interface{
			{"eth0", netip.MustParsePrefix("192.0.2.7/24")}, {"docker0", netip.MustParsePrefix("172.17.0.1/16")},
		}),
		Routes:    Known([]Route{{netip.MustParsePrefix("172.17.0.0/16"), "docker0"}}),
		Vagrant:   Known("2.3.4"),
		Go:        Known("1.26.1"),
		GoNeeded:  Known("1.26.0"),
		NodeImage: Known("swarmlab/node:0123456789ab"),
		Builder:   Unknown[string](ErrMissing),
		Registry:  Known("registry.test"),
		Processor: Unknown[Processor](ErrNotLooked), KVM: Unknown[KVM](ErrNotLooked), Libvirt: Unknown[Libvirt](ErrNotLooked),
		Emulator: Unknown[string](ErrNotLooked), Dnsmasq: Unknown[string](ErrNotLooked), VirtualBox: Unknown[VirtualBox](ErrNotLooked),
		Hypervisor: Unknown[string](ErrNotLooked), MachineNetworks: Unknown[[]MachineNetwork](ErrNotLooked),
		Machines: Unknown[[]Machine](ErrNotLooked),
	}
}

func prefixes(all ...string) []netip.Prefix {
	var found []netip.Prefix
	for _, s := range all {
		found = append(found, netip.MustParsePrefix(s))
	}
	return found
}

func addrPorts(all ...string) []netip.AddrPort {
	var found []netip.AddrPort
	for _, s := range all {
		found = append(found, netip.MustParseAddrPort(s))
	}
	return found
}

var (
	mine  = Owner{Lab: "swarmlab", Folder: root}
	other = Owner{Lab: "blue", Folder: "/home/bob/lab"}
)

// up puts the lab's own six nodes onto the engine.
func up(f *Facts) {
	f.Networks.value = append(f.Networks.value, Network{
		Owner: mine, Name: "swarmlab", Driver: "bridge", Bridge: "br-0123456789ab", Subnets: []netip.Prefix{f.Settings.Subnet},
	})
	f.Interfaces.value = append(f.Interfaces.value, Interface{"br-0123456789ab", netip.MustParsePrefix("192.168.33.1/24")})
	f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("192.168.33.0/24"), "br-0123456789ab"})
	for _, n := range f.Topology.Nodes {
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(f.Settings.AgentPort(n)))
		f.Containers.value = append(f.Containers.value, Container{
			Owner: mine, Name: "swarmlab-" + n.Name, State: "running", Ports: []netip.AddrPort{at},
		})
		f.Volumes.value = append(f.Volumes.value, Volume{Owner: mine, Name: "swarmlab-" + n.Name})
		f.Listeners.value = append(f.Listeners.value, Listener{Addr: at, Holder: Process{PID: 7, Name: "docker-proxy"}})
	}
	f.Inotify.value.Used.value = 20 + 36
	f.Images.value = []string{f.NodeImage.value, "redis:8.0", "postgres:17", "haproxy:3.0", "hashicorp/consul:1.22.0"}
}

func TestJudgeSound(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Facts){"cold": func(*Facts) {}, "up": up} {
		f := sound()
		change(&f)
		for _, finding := range Evaluate(f) {
			if finding.Status != OK {
				t.Errorf("%s: %+v", name, finding)
			}
		}
	}
}

// late is what is said of an engine that never answered.
var late = &noAnswer{"the Docker engine", patientTime}

// blocking is short for a Fail that blocks.
const blocking = Status("blocking")

// judgement expects one finding besides the sound ones, or none when check is empty.
type judgement struct {
	name    string
	change  func(*Facts)
	check   string
	status  Status
	message string // a part of it
	fix     string // a part of it
}

func (want judgement) judge(t *testing.T, f Facts) {
	t.Helper()
	found := false
	for _, finding := range Evaluate(f) {
		status := finding.Status
		if finding.Blocking {
			status = blocking
		}
		switch {
		case finding.Check == want.check && status == want.status:
			found = true
			if !strings.Contains(finding.Message, want.message) || !strings.Contains(finding.Fix, want.fix) {
				t.Errorf("got  %+v\nwant %q and %q", finding, want.message, want.fix)
			}
			if (status == Skip || status == OK) != (finding.Fix == "") {
				t.Errorf("a fix, or none, where there should be none, or one: %+v", finding)
			}
		case status != OK && status != Skip:
			t.Errorf("besides: %+v", finding)
		}
	}
	if !found && want.check != "" {
		t.Errorf("not found: %s %s", want.check, want.status)
	}
}

// TestJudge changes one thing each, and expects one finding besides the sound ones.
func TestJudge(t *testing.T) {
	t.Parallel()
	tests := []judgement{
		{"no docker", func(f *Facts) { f.Engine.err = fmt.Errorf("docker: %w", ErrMissing) }, "engine", blocking, "no docker command", "make prerequisites"},
		{"no docker, macOS", func(f *Facts) { f.Host.OS = "darwin"; f.Engine.err = ErrMissing }, "engine", blocking, "no docker command", "brew install"},
		{"no docker, Fedora", func(f *Facts) { f.Host.Debian = false; f.Engine.err = ErrMissing }, "engine", blocking, "no docker command", "docs.docker.com"},
		{"no permission", func(f *Facts) {
			f.Engine.err = engineError("permission denied while trying to connect to the Docker daemon socket")
		}, "engine", blocking, "does not let this user in", "usermod -aG docker"},
		{"engine stopped", func(f *Facts) {
			f.Engine.err = engineError("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
		}, "engine", blocking, "not running", "sudo systemctl enable --now docker"},
		{"engine stopped, no systemd", func(f *Facts) { f.Engine.err = ErrStopped; f.Host.Systemd = false; f.Host.UID = 0 }, "engine", blocking, "not running", "service docker start"},
		{"engine hangs", func(f *Facts) { f.Engine.err = late }, "engine", Fail, "the Docker engine did not answer within 30 s", "sudo systemctl restart docker"},
		{"podman", func(f *Facts) { _, f.Engine.err = parseEngine(`{"host":{},"store":{}}`) }, "engine", blocking, "Podman?", "DOCKER_HOST"},
		{"engine fails", func(f *Facts) { f.Engine.err = errors.New("client version 1.52 is too new") }, "engine", blocking, "too new", "restart docker"},
		{"old engine", func(f *Facts) { f.Engine.value.ServerVersion = "19.03.15" }, "engine", blocking, "19.03.15 is too old", "docs.docker.com"},
		{"Windows containers", func(f *Facts) { f.Engine.value.OSType = "windows" }, "engine", blocking, "windows containers", "switch"},
		{"rootless", func(f *Facts) { f.Engine.value.SecurityOptions = []string{"name=rootless"} }, "engine", Warn, "rootless", "docker context use"},
		{"userns-remap", func(f *Facts) { f.Engine.value.SecurityOptions = []string{"name=userns"} }, "engine", Warn, "remaps", "userns-remap"},
		{"remote engine", func(f *Facts) { f.Endpoint.value = "ssh://ada@far" }, "endpoint", blocking, "another machine", "unset DOCKER_HOST"},
		{"engine by TCP", func(f *Facts) { f.Endpoint.value = "tcp://127.0.0.1:2375" }, "endpoint", Warn, "tunnel", "unset DOCKER_HOST"},
		{"vfs", func(f *Facts) { f.Engine.value.Driver = "vfs" }, "storage", Warn, "vfs", "overlay2"},
		{"aufs", func(f *Facts) { f.Engine.value.Driver = "aufs" }, "storage", Warn, "aufs", "overlay2"},
		{"no d_type", func(f *Facts) { f.Engine.value.DriverStatus = [][2]string{{"Supports d_type", "false"}} }, "storage", blocking, "d_type", "ftype=1"},
		{"no cgroups", func(f *Facts) { f.Engine.value.CgroupDriver = "none" }, "cgroup", blocking, "cannot use cgroups", "root"},
		{"cgroup unknown", func(f *Facts) { f.Engine.value.CgroupVersion = "" }, "cgroup", Skip, "does not say", ""},

		{"memory unknown", func(f *Facts) { f.Memory.err = ErrNoAnswer }, "memory", Skip, "could not tell how much memory there is for the nodes: no answer", ""},
		{"too little memory", func(f *Facts) { f.Memory.value.Total = 1 << 30 }, "memory", blocking, "this host has 1.0 GiB of memory, 6 nodes need 1.5 GiB", "LAB_FRONTENDS=1"},
		{"little memory left", func(f *Facts) { f.Memory.value.Available = 1 << 30 }, "memory", Warn, "has 1.0 GiB of memory left", "close something"},
		{"small machines", func(f *Facts) {
			f.Settings.Provider, f.Plugins.value = "parallels", []string{"vagrant-parallels"}
			f.Memory.value.Total = 2 << 30
		}, "memory", blocking, "need 3.0 GiB", "PROVIDER=docker"},
		{"small Docker Desktop", func(f *Facts) {
			f.Host.OS, f.Host.Release = "darwin", ""
			f.Memory.value = Memory{Total: 1 << 30, Where: "the engine's virtual machine"}
		}, "memory", blocking, "the engine's virtual machine has 1.0 GiB", "colima start --memory 4"},

		{"disk unknown", func(f *Facts) { f.Disks.err = errors.New("stale handle") }, "disk", Skip, "stale handle", ""},
		{"disk full", func(f *Facts) {
			for i := range f.Disks.value {
				f.Disks.value[i].Free = 5 << 30
			}
		}, "disk", blocking, "5.0 GiB free for " + root + " (the clone), /tmp (temporary files) and /var/lib/docker (the engine's data): the lab will need 5.9 GiB", "docker image prune"},
		{"small /tmp", func(f *Facts) { f.Disks.value[1].Free, f.Disks.value[1].Device = 1<<30, 2 }, "disk", blocking, "1.0 GiB free for /tmp", "TMPDIR"},
		{"Docker in Docker", func(f *Facts) { f.Disks.value[2].FileSystem = "overlay" }, "disk", blocking, "is on overlay", "data-root"},

		{"inotify unknown", func(f *Facts) { f.Inotify.err = fs.ErrNotExist }, "inotify", Skip, "not exist", ""},
		{"inotify used up", func(f *Facts) { f.Inotify.value.Used.value = 108 }, "inotify", blocking, "108 of root's 128 inotify instances are in use; 6 nodes to be started need 36", "sudo tee /etc/sysctl.d/60-swarmlab.conf"},
		{"inotify tight", func(f *Facts) { f.Inotify.value.Used.value = 80 }, "inotify", Warn, "tight", "sysctl"},
		{"inotify uncounted, low", func(f *Facts) {
			f.Inotify.value.MaxInstances, f.Inotify.value.Used.err = 64, errors.New("not root")
		}, "inotify", Warn, "root may have 64 inotify instances and uses about 32", "sysctl"},
		{"watches", func(f *Facts) { f.Inotify.value.MaxWatches = 100 }, "inotify", Warn, "100 files", "max_user_watches=524288"},

		{"kernel unknown", func(f *Facts) { f.Kernel.err = fs.ErrPermission }, "kernel", Skip, "permission", ""},
		{"kernel silent", func(f *Facts) { f.Kernel.value = map[Feature]FeatureState{"vxlan": FeatureUnknown} }, "kernel", Skip, "does not tell", ""},
		{"no vxlan", func(f *Facts) { f.Kernel.value["vxlan"] = FeatureAbsent }, "kernel", blocking, "lacks vxlan", "linux-modules-extra"},
		{"upgraded kernel", func(f *Facts) { f.Kernel.value["vxlan"] = FeatureLost }, "kernel", blocking, "upgrade without a reboot", "sudo reboot"},

		{"same name", func(f *Facts) {
			f.Containers.value = []Container{{Owner: Owner{Lab: "swarmlab", Folder: "/srv/lab"}, Name: "swarmlab-manager", State: "exited"}}
		}, "name", blocking, "the lab swarmlab of /srv/lab has the same name", "make -C /srv/lab down   # or: LAB_NAME=swarmlab2 make up"},
		{"same name, clone gone", func(f *Facts) {
			f.Volumes.value = []Volume{{Owner: Owner{Lab: "swarmlab", Folder: "/srv/my lab", FolderGone: true}, Name: "swarmlab-store"}}
		}, "name", blocking, "a clone that is gone", "--filter 'label=swarmlab.folder=/srv/my lab'"},
		{"foreign network of that name", func(f *Facts) {
			f.Networks.value = append(f.Networks.value, Network{Name: "swarmlab", Driver: "bridge", Subnets: prefixes("172.20.0.0/16")})
		}, "name", blocking, "network swarmlab belongs to no lab", "LAB_NAME=swarmlab2"},
		{"others unknown", func(f *Facts) { f.Containers.err = ErrNoAnswer }, "name", Skip, "no answer", ""},

		{"other lab's subnet", func(f *Facts) {
			f.Networks.value = append(f.Networks.value, Network{Owner: other, Name: "blue", Driver: "bridge", Bridge: "br-1", Subnets: prefixes("192.168.33.0/24")})
			f.Interfaces.value = append(f.Interfaces.value, Interface{"br-1", netip.MustParsePrefix("192.168.33.1/24")})
		}, "subnet", blocking, "used by the lab blue of /home/bob/lab", "make -C /home/bob/lab down   # or: LAB_SUBNET=192.168.34.0/24 make up"},
		{"Docker network", func(f *Facts) {
			f.Networks.value = append(f.Networks.value, Network{Name: "shop_default", Driver: "bridge", Subnets: prefixes("192.168.32.0/20")})
		}, "subnet", blocking, "overlaps the Docker network shop_default (192.168.32.0/20)", "LAB_SUBNET=192.168.48.0/24 make up   # or, if nobody needs it: docker network rm shop_default"},
		{"default bridge", func(f *Facts) { f.Networks.value[0].Subnets = prefixes("192.168.33.0/24") }, "subnet", blocking, "default bridge", "LAB_SUBNET"},
		{"up on another subnet", func(f *Facts) {
			f.Networks.value = append(f.Networks.value, Network{Owner: mine, Name: "swarmlab", Subnets: prefixes("192.168.40.0/24")})
		}, "subnet", blocking, "up on 192.168.40.0/24", "make down"},
		{"LAN", func(f *Facts) {
			f.Interfaces.value = append(f.Interfaces.value, Interface{"wlan0", netip.MustParsePrefix("192.168.33.17/24")})
			f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("192.168.33.0/24"), "wlan0"})
		}, "subnet", blocking, "interface wlan0", "LAB_SUBNET=192.168.34.0/24"},
		{"VPN to just there", func(f *Facts) {
			f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("192.168.33.64/26"), "tun0"})
		}, "subnet", blocking, "route to 192.168.33.64/26 by tun0 (192.168.33.64/26), a VPN", "LAB_SUBNET"},
		{"wide VPN", func(f *Facts) {
			f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("192.168.0.0/16"), "wg0"})
		}, "subnet", Warn, "WireGuard", "LAB_SUBNET=172.24.34.0/24"},
		{"very wide VPN", func(f *Facts) {
			f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("10.0.0.0/8"), "tun0"})
		}, "", "", "", ""},
		{"VPN to what is inside", func(f *Facts) {
			f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("172.18.5.0/24"), "tun0"})
		}, "subnet", Warn, "docker_gwbridge", "registry"},
		{"VPN to the swarm's pool", func(f *Facts) {
			f.Routes.value = append(f.Routes.value, Route{netip.MustParsePrefix("10.33.1.0/24"), "tun0"})
		}, "subnet", Warn, "pool of the swarm's networks", "registry"},
		{"libvirt's network", func(f *Facts) {
			f.Interfaces.value = append(f.Interfaces.value, Interface{"virbr1", netip.MustParsePrefix("192.168.33.1/24")})
		}, "subnet", blocking, "a network of libvirt", "virsh net-destroy"},
		{"LAN around Docker Desktop", func(f *Facts) {
			f.Host.OS, f.Host.Release = "darwin", ""
			f.Interfaces.value = append(f.Interfaces.value, Interface{"en0", netip.MustParsePrefix("192.168.33.17/24")})
		}, "subnet", Warn, "interface en0", "LAB_SUBNET"},
		{"networks unknown", func(f *Facts) { f.Networks.err, f.Interfaces.err, f.Routes.err = ErrNoAnswer, ErrNoAnswer, ErrNoAnswer }, "subnet", Skip, "no answer", ""},

		{"other lab's ports", func(f *Facts) {
			f.Containers.value = []Container{
				{Owner: other, Name: "blue-manager", Ports: addrPorts("127.0.0.1:19011")},
				{Owner: other, Name: "blue-interlock", Ports: addrPorts("127.0.0.1:19012", "127.0.0.1:8080")},
			}
		}, "ports", blocking, "127.0.0.1:19011 (the agent of manager), 19012 (the agent of interlock) and 8080 (the voting app) in use by the lab blue of /home/bob/lab", "make -C /home/bob/lab down   # or: LAB_PORT_BASE=20000 make up"},
		{"container's port", func(f *Facts) { f.Containers.value = []Container{{Name: "web", Ports: addrPorts("0.0.0.0:8080")}} }, "ports", blocking, "8080 (the voting app) in use by the container web", "docker stop web"},
		{"process's port", func(f *Facts) {
			f.Listeners.value = []Listener{{addrPorts("[::]:8080")[0], Process{4711, "nginx", "nginx: master"}}, {Addr: addrPorts("127.0.0.1:20011")[0]}}
		}, "ports", blocking, "8080 (the voting app) in use by nginx (pid 4711)", "kill 4711   # or: LAB_PORT_BASE=21000 make up"},
		{"unknown process's port", func(f *Facts) { f.Listeners.value = []Listener{{Addr: addrPorts("127.0.0.1:8081")[0]}} }, "ports", blocking, "a program of another user", "LAB_PORT_BASE=20000"},
		{"no clash", func(f *Facts) {
			f.Listeners.value = []Listener{{Addr: addrPorts("[::1]:8081")[0]}, {Addr: addrPorts("192.0.2.7:8080")[0]}}
		}, "", "", "", ""},
		{"own libvirt machine's port", func(f *Facts) {
			f.Listeners.value = []Listener{{addrPorts("127.0.0.1:8080")[0], Process{9, "ssh", `ssh -o IdentityFile="` + root + `/.vagrant/machines/interlock/libvirt/private_key" -L 127.0.0.1:8080:192.168.121.7:80`}}}
		}, "", "", "", ""},
		{"other libvirt machine's port", func(f *Facts) {
			f.Listeners.value = []Listener{{addrPorts("127.0.0.1:8080")[0], Process{9, "ssh", "ssh -i /srv/lab/.vagrant/machines/interlock/libvirt/private_key"}}}
		}, "ports", blocking, "in use by the lab of /srv/lab", "make -C /srv/lab down"},
		{"ports unknown", func(f *Facts) { f.Listeners.err, f.Containers.err = ErrNoAnswer, ErrNoAnswer }, "ports", Skip, "no answer", ""},

		{"no vagrant", func(f *Facts) { f.Vagrant.err = ErrMissing }, "vagrant", blocking, "no vagrant", "make prerequisites"},
		{"no folder for vagrant", func(f *Facts) { f.Vagrant.err = fmt.Errorf("%w: mkdir /nope: permission denied", errNoHome) }, "vagrant", blocking, "cannot be made: no folder for Vagrant: mkdir /nope", "VAGRANT_HOME"},
		{"vagrant broken", func(f *Facts) { f.Vagrant.err = errors.New("cannot load such file") }, "vagrant", Fail, "does not run: cannot load", "reinstall"},
		{"vagrant slow", func(f *Facts) { f.Vagrant.err = ErrNoAnswer }, "vagrant", Skip, "in time", ""},
		{"vagrant old", func(f *Facts) { f.Vagrant.value = "2.2.14" }, "vagrant", Warn, "2.2.14 is older", "upgrade"},

		{"no Go", func(f *Facts) { f.Go.err = ErrMissing }, "go", Fail, "needs Go 1.26.0", "make prerequisites"},
		{"Go too old", func(f *Facts) { f.Go.value = "1.19.8" }, "go", Fail, "too old", "go.dev"},
		{"Go older", func(f *Facts) { f.Go.value = "1.24.4" }, "go", Warn, "will fetch", "go.dev"},
		{"Go unknown", func(f *Facts) { f.Go.err = ErrNoAnswer }, "go", Skip, "no answer", ""},

		{"no registry, no mmdebstrap", func(f *Facts) { f.Registry = Unknown[string](errors.New("registry.test: no route to host")) }, "images", blocking, "node, consul, haproxy, postgres and redis missing: no registry answers (registry.test: no route to host)", "sudo apt-get install -y mmdebstrap"},
		{"registry slow", func(f *Facts) { f.Registry = Unknown[string](ErrNoAnswer) }, "images", Warn, "no answer in time", "mmdebstrap"},
		{"no registry, mmdebstrap, not root", func(f *Facts) {
			f.Registry, f.Builder = Unknown[string](errors.New("refused")), Unknown[string](ErrNotRoot)
		}, "images", blocking, "takes root", "sudo -v"},
		{"no registry, mmdebstrap, root", func(f *Facts) {
			f.Registry, f.Builder = Unknown[string](errors.New("refused")), Known("/usr/bin/mmdebstrap")
		}, "", "", "", ""},
		{"bare nodes want no stock images", func(f *Facts) {
			f.Settings.Stage = settings.StageInfrastructure
			f.Images.value = []string{f.NodeImage.value}
			f.Registry = Unknown[string](errors.New("refused"))
		}, "images", Warn, "consul, haproxy, postgres and redis missing", "mmdebstrap"},
		{"bundle", func(f *Facts) {
			f.Images.value, f.Bundle.value = []string{f.NodeImage.value}, []string{"consul", "haproxy", "postgres", "redis"}
			f.Registry = Unknown[string](ErrNotLooked)
		}, "", "", "", ""},
		{"node image unknown", func(f *Facts) { f.NodeImage.err = errors.New("build.sh: No such file") }, "images", Warn, "build.sh: No such file", "git -C " + root},

		{".lab open", func(f *Facts) {
			f.State.value = []StateFile{{".lab", 0o755 | fs.ModeDir, 1000}, {".lab/pki/ca.key", 0o600, 1000}}
		}, "state", Fail, "other users can get at .lab", "chmod go-rwx " + root + "/.lab"},
		{".lab of root", func(f *Facts) { f.State.value = []StateFile{{".lab", 0o700 | fs.ModeDir, 0}} }, "state", blocking, "belongs to another user", "sudo chown -R"},
		{".lab closed", func(f *Facts) { f.State.err = fs.ErrPermission }, "state", Fail, "cannot be read", "sudo chown -R"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := sound()
			test.change(&f)
			test.judge(t, f)
		})
	}
}

// TestFixesEverything: a lab that clashes in every respect is moved in every respect, by each of the fixes.
func TestFixesEverything(t *testing.T) {
	t.Parallel()
	f := sound()
	stranger := f
	up(&stranger)
	f.Containers, f.Networks, f.Volumes = stranger.Containers, stranger.Networks, stranger.Volumes
	f.Root = "/srv/clone"
	blocking := Blocking(Evaluate(f))
	if len(blocking) != 3 {
		t.Errorf("%d findings block, want name, subnet and ports: %v", len(blocking), blocking)
	}
	for _, b := range blocking {
		if want := "make -C " + root + " down   # or: LAB_NAME=swarmlab2 LAB_SUBNET=192.168.34.0/24 LAB_PORT_BASE=20000 make up"; b.Fix != want {
			t.Errorf("%s: %s", b.Check, b.Fix)
		}
	}
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	f := sound()
	f.Vagrant.err = ErrMissing
	got := (&Unfit{Lab: "blue", Findings: Blocking(Evaluate(f))}).Error()
	want := "this host does not meet the requirements of the lab blue; nothing was changed:\n" +
		"  vagrant: there is no vagrant command: Vagrant makes the nodes\n    make prerequisites"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/home/ada/lab-2": "/home/ada/lab-2", "/my lab": "'/my lab'", "it's": `'it'\''s'`, "": "''", "$(id)": "'$(id)'", "ä": "'ä'",
	} {
		if got := quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
