package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// soundLibvirt are the facts of a host on which libvirt is well; there is no Docker engine.
func soundLibvirt() Facts {
	f := withoutEngine()
	f.Settings.Provider, f.Plugins.value = "libvirt", []string{"vagrant-libvirt"}
	f.Memory.value.Total, f.Memory.value.Available = 16<<30, 12<<30
	f.Processor = Known(Processor{Extension: "vmx", Tells: true})
	f.KVM = Known(KVM{Opened: true, Modules: []string{"kvm_intel"}, Keeps: true})
	f.Libvirt = Known(Libvirt{
		Hypervisor: "QEMU 7.2.22", Pool: Known(Pool{Path: "/var/lib/libvirt/images", Active: true}),
	})
	f.Emulator, f.Dnsmasq = Known("/usr/bin/qemu-system-x86_64"), Known("/usr/sbin/dnsmasq")
	f.MachineNetworks = Known([]MachineNetwork{
		{Name: "default", Bridge: "virbr0", Prefix: netip.MustParsePrefix("192.168.122.0/24")},
		{Name: "vagrant-libvirt", Bridge: "virbr1", Prefix: management(), Active: true},
	})
	f.Interfaces.value = append(f.Interfaces.value, Interface{"virbr1", netip.MustParsePrefix("192.168.121.1/24")})
	f.Machines = Known([]Machine{{ID: "7b1c7fcf", Name: "windows", Running: true}})
	return f
}

// soundVirtualBox is the same with VirtualBox on a subnet that it allows.
func soundVirtualBox() Facts {
	f := withoutEngine()
	f.Settings.Provider = "virtualbox"
	move(&f, "192.168.56.0/24")
	f.Vagrant.value = "2.4.9"
	f.Processor = Known(Processor{Extension: "svm", Tells: true})
	f.KVM = Known(KVM{Trouble: fs.ErrNotExist})
	f.VirtualBox = Known(VirtualBox{Version: "7.0.20r163906", Module: true, DHCP: Known[[]DHCPServer](nil)})
	f.MachineNetworks = Known([]MachineNetwork{
		{Name: "vboxnet0", Bridge: "vboxnet0", Prefix: netip.MustParsePrefix("192.168.56.0/24")},
	})
	f.Machines = Known[[]Machine](nil)
	return f
}

func withoutEngine() Facts {
	f := sound()
	f.Engine = Unknown[Engine](ErrMissing)
	f.Containers.err, f.Networks.err, f.Volumes.err, f.Images.err = ErrMissing, ErrMissing, ErrMissing, ErrMissing
	f.Images.value = []string{"redis:8.0", "postgres:17", "haproxy:3.0", "hashicorp/consul:1.22.0"}
	return f
}

// move takes the lab to another subnet.
func move(f *Facts, subnet string) {
	f.Settings.Subnet = netip.MustParsePrefix(subnet)
	octets := f.Settings.Subnet.Addr().As4()
	for i, n := range f.Topology.Nodes {
		octets[3] = byte(n.Octet)
		f.Topology.Nodes[i].Address = netip.AddrFrom4(octets)
	}
}

// recordAll lets Vagrant remember a machine for each node, which exists and runs.
func recordAll(f *Facts) {
	for _, n := range f.Topology.Nodes {
		f.Records.value = append(f.Records.value, Record{Node: n.Name, Provider: f.Settings.Provider, ID: "uuid-" + n.Name})
		f.Machines.value = append(f.Machines.value, Machine{ID: "UUID-" + n.Name, Name: f.Settings.Name + "-" + n.Name, Running: true, Folder: root})
	}
}

func TestJudgeMachinesSound(t *testing.T) {
	t.Parallel()
	for name, facts := range map[string]func() Facts{"libvirt": soundLibvirt, "virtualbox": soundVirtualBox} {
		for state, change := range map[string]func(*Facts){"cold": func(*Facts) {}, "up": recordAll} {
			f := facts()
			change(&f)
			for _, finding := range Evaluate(f) {
				if finding.Status != OK && finding.Status != Skip {
					t.Errorf("%s, %s: %+v", name, state, finding)
				}
			}
		}
	}
}

func dockerNetworkOf(owner Owner, name, subnet string) func(*Facts) {
	return func(f *Facts) {
		f.Networks = Known([]Network{{Owner: owner, Name: name, Driver: "bridge", Subnets: prefixes(subnet)}})
	}
}

func libvirtNetwork(name, subnet string, active bool) func(*Facts) {
	return func(f *Facts) {
		n := MachineNetwork{Name: name, Bridge: "virbr7", Prefix: netip.MustParsePrefix(subnet), Active: active}
		f.MachineNetworks.value = append(f.MachineNetworks.value, n)
		if active {
			f.Interfaces.value = append(f.Interfaces.value, Interface{"virbr7", netip.PrefixFrom(n.Prefix.Addr().Next(), n.Prefix.Bits())})
		}
	}
}

func TestJudgeLibvirt(t *testing.T) {
	t.Parallel()
	tests := []judgement{
		{"no plugin", func(f *Facts) { f.Plugins.value = nil }, "provider", blocking, "plugin vagrant-libvirt", "PROVIDER=libvirt make prerequisites"},
		{"no plugin, Fedora", func(f *Facts) { f.Plugins.value, f.Host.Debian = nil, false }, "provider", blocking, "plugin vagrant-libvirt", "vagrant plugin install"},
		{"plugins unknown", func(f *Facts) { f.Plugins.err = fs.ErrPermission }, "provider", Skip, "could not tell whether Vagrant has the plugin", ""},
		{"no libvirt", func(f *Facts) { f.Libvirt.err = ErrMissing }, "provider", blocking, "not installed", "make prerequisites"},
		{"libvirt stopped", func(f *Facts) {
			f.Libvirt.err = libvirtError("error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory\n")
		}, "provider", blocking, "libvirt is not running: Failed to connect socket", "systemctl enable --now libvirtd"},
		{"libvirt stopped, no systemd", func(f *Facts) { f.Libvirt.err, f.Host.Systemd, f.Host.UID = ErrStopped, false, 0 }, "provider", blocking, "not running", "libvirtd -d"},
		{"libvirt closed", func(f *Facts) {
			f.Libvirt.err = libvirtError("error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'")
		}, "provider", blocking, "does not let this user in", "usermod -aG libvirt"},
		{"libvirt hangs", func(f *Facts) { f.Libvirt.err = &noAnswer{"libvirt", patientTime} }, "provider", Fail, "libvirt did not answer within 30 s", "libvirtd"},
		{"libvirt fails", func(f *Facts) { f.Libvirt.err = errors.New("unsupported") }, "provider", blocking, "unsupported", "libvirtd"},
		{"no QEMU", func(f *Facts) { f.Emulator.err = ErrMissing }, "provider", blocking, "qemu-system-x86_64", "make prerequisites"},
		{"no QEMU, arm64, Fedora", func(f *Facts) { f.Emulator.err, f.Host.Arch, f.Host.Debian = ErrMissing, "arm64", false }, "provider", blocking, "qemu-system-aarch64", "qemu-system-arm"},
		{"no dnsmasq", func(f *Facts) { f.Dnsmasq.err = ErrMissing }, "provider", blocking, "dnsmasq", "dnsmasq-base"},
		{"no pool yet", func(f *Facts) { f.Libvirt.value.Pool.value = Pool{} }, "", "", "", ""},
		{"pool stopped", func(f *Facts) { f.Libvirt.value.Pool.value.Active = false }, "provider", blocking, "not started", "pool-start default"},
		{"pool elsewhere", func(f *Facts) { f.Libvirt.value.Pool.err = errors.New("not in a folder") }, "provider", Warn, "not in a folder", "pool-list"},

		{"emulation asked for", func(f *Facts) { f.Driver, f.KVM.value.Trouble = "qemu", fs.ErrNotExist }, "kvm", OK, "emulates", ""},
		{"kvm unknown", func(f *Facts) { f.KVM.err = ErrNoAnswer }, "kvm", Skip, "no answer", ""},
		{"BIOS", func(f *Facts) { f.Processor.value.Extension, f.KVM.value = "", KVM{Trouble: fs.ErrNotExist} }, "kvm", Warn, "BIOS", "firmware's setup"},
		{"no nesting", func(f *Facts) {
			f.Processor.value, f.KVM.value = Processor{Tells: true, Guest: true, Hypervisor: "vmware"}, KVM{Trouble: fs.ErrNotExist}
		}, "kvm", Warn, "itself a virtual machine (vmware)", "nested=1"},
		{"KVM without extension", func(f *Facts) { f.Processor.value = Processor{Tells: true, Guest: true} }, "kvm", Warn, "/dev/kvm answers, but", "LAB_VM_DRIVER=kvm"},
		{"module not loaded", func(f *Facts) { f.KVM.value = KVM{Trouble: syscall.ENOENT} }, "kvm", Warn, "no /dev/kvm, though the processor can (vmx)", "sudo modprobe kvm_intel"},
		{"module not loaded, AMD", func(f *Facts) { f.Processor.value.Extension, f.KVM.value = "svm", KVM{Trouble: syscall.ENODEV} }, "kvm", Warn, "(svm)", "modprobe kvm_amd"},
		{"no KVM on Arm", func(f *Facts) { f.Processor.value, f.KVM.value = Processor{}, KVM{Trouble: syscall.ENOENT} }, "kvm", Warn, "has no KVM", "kernel"},
		{"KVM closed", func(f *Facts) { f.KVM.value = KVM{Trouble: syscall.EACCES} }, "kvm", Warn, "not open to you", "usermod -aG kvm"},
		{"KVM taken", func(f *Facts) { f.KVM.value.Trouble = fmt.Errorf("/dev/kvm: %w", syscall.EBUSY) }, "kvm", blocking, "another hypervisor", "LAB_VM_DRIVER=qemu make up"},
		{"KVM broken", func(f *Facts) { f.KVM.value.Trouble = errors.New("no machine") }, "kvm", blocking, "does not work: no machine", "dmesg"},
		{"KVM asked for, not there", func(f *Facts) { f.Driver, f.KVM.value = "kvm", KVM{Trouble: syscall.ENOENT} }, "kvm", blocking, "no /dev/kvm", "LAB_VM_DRIVER=qemu"},

		{"too little memory", func(f *Facts) { f.Memory.value.Total = 2 << 30 }, "memory", blocking, "6 nodes need 3.0 GiB", "LAB_FRONTENDS=1"},
		{"little memory left", func(f *Facts) { f.Memory.value.Available = 3 << 30 }, "memory", Warn, "need 3.4 GiB", "topology.yaml"},
		{"little memory for emulation", func(f *Facts) { f.Driver, f.Memory.value.Available = "qemu", 6<<30 }, "memory", Warn, "need 9.4 GiB, emulated", "topology.yaml"},
		{"little memory, but up", func(f *Facts) { recordAll(f); f.Memory.value.Available = 100 << 20 }, "", "", "", ""},
		{"full pool", func(f *Facts) {
			f.Disks.value = append(f.Disks.value, Disk{Purpose: ForVMs, Path: "/var/lib/libvirt/images", Free: 1 << 30, Device: 3})
		}, "disk", blocking, "/var/lib/libvirt/images (virtual machines)", "vagrant box prune"},

		{"own network", libvirtNetwork("swarmlab", "192.168.33.0/24", true), "", "", "", ""},
		{"own network elsewhere", libvirtNetwork("swarmlab", "192.168.44.0/24", false), "subnet", blocking, "on 192.168.44.0/24 instead of", "net-undefine swarmlab"},
		{"other's network", libvirtNetwork("blue", "192.168.33.0/24", true), "subnet", blocking, "libvirt's network blue", "net-destroy blue; virsh"},
		{"other clone's network", func(f *Facts) {
			libvirtNetwork("blue", "192.168.33.0/24", true)(f)
			f.Machines.value = []Machine{{ID: "1", Name: "blue-store", Folder: "/srv/lab"}}
		}, "subnet", blocking, "libvirt's network blue (192.168.33.0/24), of the lab of /srv/lab", "make -C /srv/lab down   # or: LAB_SUBNET=192.168.34.0/24 make up"},
		{"other's network, stopped", libvirtNetwork("blue", "192.168.33.0/24", false), "subnet", blocking, "libvirt's network blue", "LAB_SUBNET=192.168.34.0/24"},
		{"wider network, stopped", libvirtNetwork("blue", "192.168.0.0/16", false), "", "", "", ""},
		{"Docker network", dockerNetworkOf(Owner{}, "shop", "192.168.33.0/24"), "subnet", blocking, "the Docker network shop", "docker network rm shop"},
		{"container lab's network", dockerNetworkOf(other, "blue", "192.168.33.0/24"), "subnet", blocking, "the lab blue of /home/bob/lab", "make -C /home/bob/lab down"},
		{"this clone's container lab", dockerNetworkOf(mine, "swarmlab", "192.168.33.0/24"), "subnet", blocking, "this clone's own lab of containers", "PROVIDER=docker make down"},
		{"Docker network in the way", dockerNetworkOf(Owner{}, "shop", "192.168.112.0/20"), "subnet", blocking, "in the way of 192.168.121.0/24", "docker network rm shop"},
		{"container lab in the way", dockerNetworkOf(other, "blue", "192.168.121.0/24"), "subnet", blocking, "the lab blue", "make -C /home/bob/lab down"},

		{"provider changed", func(f *Facts) {
			f.Records.value = []Record{{"manager", "docker", "c0ffee"}, {"store", "docker", "beef"}}
		}, "machines", blocking, "Vagrant has manager and store from the provider docker", "PROVIDER=docker make down"},
		{"machine gone", func(f *Facts) { f.Records.value = []Record{{"manager", "libvirt", "c0ffee"}} }, "machines", Warn, "no such machine any more", "rm -r " + root + "/.vagrant/machines/manager/libvirt"},
		{"machines unknown", func(f *Facts) {
			f.Records.value, f.Machines.err = []Record{{"manager", "libvirt", "c0ffee"}}, ErrNoAnswer
		}, "name", Skip, "no answer", ""},
		{"records unknown", func(f *Facts) { f.Records.err = fs.ErrPermission }, "machines", Skip, "permission", ""},
		{"forgotten machine", func(f *Facts) { f.Machines.value = []Machine{{ID: "1", Name: "swarmlab-store", Folder: root}} }, "name", blocking, "Vagrant has forgotten: swarmlab-store", "virsh -c qemu:///system undefine $m"},
		{"other clone's machine", func(f *Facts) {
			f.Machines.value = []Machine{{ID: "1", Name: "swarmlab-store", Folder: "/srv/lab"}, {ID: "2", Name: "swarmlab2-store"}}
		}, "name", blocking, "of the lab of /srv/lab", "make -C /srv/lab down   # or: LAB_NAME=swarmlab3 make up"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := soundLibvirt()
			test.change(&f)
			test.judge(t, f)
		})
	}
}

func TestJudgeVirtualBox(t *testing.T) {
	t.Parallel()
	version := func(v string) func(*Facts) { return func(f *Facts) { f.VirtualBox.value.Version = v } }
	onMac := func(v string) func(*Facts) {
		return func(f *Facts) {
			f.Host = Host{OS: "darwin", Arch: "arm64", UID: 501}
			f.Processor, f.KVM = Unknown[Processor](ErrNotLooked), Unknown[KVM](ErrNotLooked)
			f.VirtualBox.value.Version = v
		}
	}
	tests := []judgement{
		{"not installed", func(f *Facts) { f.VirtualBox.err = ErrMissing }, "provider", blocking, "VBoxManage", "virtualbox.org"},
		{"slow", func(f *Facts) { f.VirtualBox.err = ErrNoAnswer }, "provider", Skip, "no answer", ""},
		{"old", version("6.1.38_Debianr153438"), "provider", Warn, "6.1.38_Debianr153438 is old", "virtualbox.org"},
		{"no module", func(f *Facts) { f.VirtualBox.value.Module = false }, "provider", blocking, "vboxdrv is not loaded (kernel 6.1.0-27-amd64)", "sudo /sbin/vboxconfig"},
		{"no module, Debian's", func(f *Facts) {
			f.VirtualBox.value.Version, f.VirtualBox.value.Module = "6.1.38_Debianr153438", false
		}, "provider", blocking, "may not build for this kernel", "virtualbox-dkms"},
		{"newer than Vagrant knows", func(f *Facts) { f.VirtualBox.value.Version, f.Vagrant.value = "7.1.6r167084", "2.3.4" }, "provider", blocking, "Vagrant 2.3.4 does not know VirtualBox 7.1, Vagrant 2.4.2 does", "or take VirtualBox 7.0"},
		{"newest, Vagrant before it", func(f *Facts) { f.VirtualBox.value.Version, f.Vagrant.value = "7.2.0r170228", "2.4.7" }, "provider", blocking, "Vagrant 2.4.9 does", "or take VirtualBox 7.1"},
		{"no extension", func(f *Facts) { f.Processor.value.Extension = "" }, "provider", blocking, "BIOS", "AMD-V"},
		{"nested without extension", func(f *Facts) { f.Processor.value = Processor{Tells: true, Guest: true, Hypervisor: "microsoft"} }, "provider", blocking, "itself a virtual machine (microsoft)", "nested"},
		{"KVM keeps the processor", func(f *Facts) { f.KVM.value = KVM{Modules: []string{"kvm_intel"}, Keeps: true} }, "provider", Fail, "another hypervisor", "sudo modprobe -r kvm_intel   # for good: kvm.enable_virt_at_load=0"},
		{"KVM loaded", func(f *Facts) { f.KVM.value.Modules = []string{"kvm_amd"} }, "provider", Warn, "while a machine of KVM runs", "modprobe -r kvm_amd"},
		{"KVM loaded, VirtualBox at work", func(f *Facts) { f.KVM.value = KVM{Modules: []string{"kvm_amd"}, Opened: true, Trouble: syscall.EBUSY} }, "", "", "", ""},

		{"Apple's processor", onMac("7.0.20r163906"), "provider", blocking, "7.1 is the first", "virtualbox.org"},
		{"Apple's processor, 7.1", onMac("7.1.6r167084"), "", "", "", ""},
		{"any subnet on macOS", func(f *Facts) { onMac("7.1.6r167084")(f); move(f, "10.77.0.0/24") }, "", "", "", ""},

		{"subnet not allowed", func(f *Facts) { move(f, "192.168.33.0/24") }, "subnet", blocking, "VirtualBox does not allow 192.168.33.0/24", "LAB_SUBNET=192.168.56.0/24 make up   # or: sudo mkdir -p /etc/vbox && echo '* 192.168.33.0/24'"},
		{"subnet allowed", func(f *Facts) { move(f, "192.168.33.0/24"); f.VirtualBox.value.Allowed = prefixes("192.168.0.0/16") }, "", "", "", ""},
		{"subnet not allowed any more", func(f *Facts) { f.VirtualBox.value.Allowed = prefixes("10.0.0.0/8") }, "subnet", blocking, "does not allow 192.168.56.0/24", "echo '* 192.168.56.0/24' | sudo tee -a"},
		{"subnets before the limit", func(f *Facts) { move(f, "192.168.33.0/24"); f.VirtualBox.value.Version = "6.1.26r145957" }, "provider", Warn, "old", "virtualbox.org"},
		{"host-only network overlaps", func(f *Facts) { f.MachineNetworks.value[0].Prefix = netip.MustParsePrefix("192.168.56.0/22") }, "subnet", blocking, "host-only network vboxnet0 (192.168.56.0/22)", "hostonlyif remove vboxnet0"},
		{"host-only network of macOS overlaps", func(f *Facts) {
			f.MachineNetworks.value = []MachineNetwork{{Name: "HostNetwork", Prefix: netip.MustParsePrefix("192.168.56.0/22")}}
		}, "subnet", blocking, "HostNetwork", "hostonlynet remove --name HostNetwork"},
		{"DHCP", func(f *Facts) {
			f.VirtualBox.value.DHCP.value = []DHCPServer{{
				"HostInterfaceNetworking-vboxnet0", netip.MustParseAddr("192.168.56.100"), netip.MustParseAddr("192.168.56.101"), netip.MustParseAddr("192.168.56.254"),
			}}
		}, "subnet", Warn, "the addresses of worker01 and store", "VBoxManage dhcpserver remove --network=HostInterfaceNetworking-vboxnet0"},
		{"DHCP aside", func(f *Facts) {
			f.VirtualBox.value.DHCP.value = []DHCPServer{{
				"intnet", netip.MustParseAddr("192.168.56.100"), netip.MustParseAddr("192.168.56.101"), netip.MustParseAddr("192.168.56.120"),
			}}
		}, "", "", "", ""},
		{"forgotten machine", func(f *Facts) { f.Machines.value = []Machine{{ID: "1", Name: "swarmlab-store"}} }, "name", blocking, "made by somebody else", "LAB_NAME=swarmlab2 make up   # or, if nobody needs them: for m in swarmlab-store"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := soundVirtualBox()
			test.change(&f)
			test.judge(t, f)
		})
	}
}

// TestJudgeOtherProviders: hypervisors of which little is asked, and containers beside virtual machines.
func TestJudgeOtherProviders(t *testing.T) {
	t.Parallel()
	asked := func(provider, plugin string, err error) func(*Facts) {
		return func(f *Facts) {
			f.Settings.Provider, f.Plugins.value = provider, []string{plugin}
			f.Hypervisor = found("/usr/bin/it", err)
		}
	}
	tests := []judgement{
		{"VMware", asked("vmware_desktop", "vagrant-vmware-desktop", nil), "", "", "", ""},
		{"no VMware", asked("vmware_desktop", "vagrant-vmware-desktop", ErrMissing), "provider", blocking, "vmware_desktop is not installed", "PROVIDER=docker"},
		{"no plugin for Parallels", asked("parallels", "vagrant-vmware-desktop", nil), "provider", blocking, "vagrant-parallels", "vagrant plugin install vagrant-parallels"},
		{"docker, libvirt's network", besideDocker("192.168.33.0/24", true), "subnet", blocking, "libvirt's network blue", "net-destroy blue   # or: LAB_SUBNET"},
		{"docker, libvirt's network stopped", besideDocker("192.168.33.0/24", false), "", "", "", ""},
		{"docker, container gone", func(f *Facts) { f.Records.value = []Record{{"store", "docker", "c0ffee"}} }, "machines", Warn, "docker has no such machine", "machines/store/docker"},
		{"docker after virtualbox", func(f *Facts) { f.Records.value = []Record{{"store", "virtualbox", "c0ffee"}} }, "machines", blocking, "the provider virtualbox", "PROVIDER=virtualbox make down"},
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

func besideDocker(subnet string, active bool) func(*Facts) {
	return func(f *Facts) {
		f.MachineNetworks.err = nil
		libvirtNetwork("blue", subnet, active)(f)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := filepath.Join(dir, ".vagrant", "machines", "manager", "libvirt")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &sources{Options: Options{Root: dir}}
	if got, err := s.records(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("a machine without an id is none: %v %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(at, "id"), []byte("1c936109\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []Record{{"manager", "libvirt", "1c936109"}})
}

// TestLibvirtGathered asks a virsh that answers like the real one, with an inactive network and a foreign machine.
func TestLibvirtGathered(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command is a shell script")
	}
	dir := t.TempDir()
	const script = `#!/bin/sh
case "$*" in
*"version") printf 'Compiled against library: libvirt 9.0.0\nUsing library: libvirt 9.0.0\nUsing API: QEMU 9.0.0\nRunning hypervisor: QEMU 7.2.22\n' ;;
*"pool-list"*) printf 'default\n\n' ;;
*"pool-dumpxml default") echo "<pool type='dir'><name>default</name><target><path>/srv/images</path></target></pool>" ;;
*"net-list --all --name") printf 'blue\ndefault\n\n' ;;
*"net-list --name") printf 'blue\n\n' ;;
*"net-dumpxml blue") echo "<network><name>blue</name><bridge name='virbr2'/><ip address='192.168.45.1' netmask='255.255.255.0'/></network>" ;;
*"net-dumpxml default") echo "<network><name>default</name><bridge name='virbr0'/><ip family='ipv4' address='192.168.122.1' prefix='24'/></network>" ;;
*"list --all --uuid --name") printf '1c93 swarmlab-store\n7b1c windows\n\n' ;;
*"list --uuid --name") printf '7b1c windows\n\n' ;;
*"desc 1c93") sleep 4 & # keeps the pipe open
  echo "Source: /srv/lab/Vagrantfile" ;;
*) echo "error: unexpected: $*" >&2; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "virsh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	f := soundLibvirt()
	s := newSources(t.Context(), Options{Settings: f.Settings, Topology: f.Topology}, f.Host)
	l, err := s.libvirt()
	if err != nil {
		t.Fatal(err)
	}
	same(t, l, Libvirt{Hypervisor: "QEMU 7.2.22", Pool: Known(Pool{Path: "/srv/images", Active: true})})
	if dir := s.machinesDir(); dir != "/srv/images" {
		t.Errorf("machines are in %s", dir)
	}
	networks, err := s.machineNetworks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, networks, []MachineNetwork{
		{Name: "blue", Bridge: "virbr2", Prefix: netip.MustParsePrefix("192.168.45.0/24"), Active: true},
		{Name: "default", Bridge: "virbr0", Prefix: netip.MustParsePrefix("192.168.122.0/24")},
	})
	machines, err := s.machines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, machines, []Machine{{ID: "1c93", Name: "swarmlab-store", Folder: "/srv/lab"}, {ID: "7b1c", Name: "windows", Running: true}})
}
