package doctor

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func TestParseCPUInfo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Processor{
		"": {},
		"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme vmx ssse3\nvmx flags\t: vnmi ept\n": {Extension: "vmx", Tells: true},
		"flags\t\t: fpu svm\n\nflags\t\t: fpu\n":                                                           {Extension: "svm", Tells: true},
		"flags\t\t: fpu syscall hypervisor lahf_lm vmxnet\n":                                               {Tells: true, Guest: true},
		"processor\t: 0\nFeatures\t: fp asimd evtstrm\n":                                                   {},
	} {
		same(t, parseCPUInfo(text), want)
	}
}

func TestLibvirtError(t *testing.T) {
	t.Parallel()
	const head = "error: failed to connect to the hypervisor\n"
	for text, want := range map[string]error{
		head + "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory\n":                 ErrStopped,
		head + "error: Failed to connect socket to '/var/run/libvirt/virtqemud-sock': Connection refused\n":                      ErrStopped,
		head + "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied\n":                         ErrPermission,
		head + "error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'\n": ErrPermission,
		"error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'\n" + "\n": ErrPermission,
	} {
		if got := libvirtError(text); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if got := libvirtError("error: no connection driver available for qemu:///system\n"); got.Error() != "no connection driver available for qemu:///system" {
		t.Error(got)
	}
}

func TestParseVirsh(t *testing.T) {
	t.Parallel()
	n, err := parseLibvirtNetwork(`<network connections='6' ipv6='yes'>
  <name>vagrant-libvirt</name>
  <uuid>f4960e1b-c62a-4214-ab8f-36f574d6e820</uuid>
  <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <bridge name='virbr1' stp='on' delay='0'/>
  <mac address='52:54:00:e6:26:de'/>
  <ip family='ipv6' address='fd00::1' prefix='64'/>
  <ip address='192.168.121.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.121.1' end='192.168.121.254'/></dhcp>
  </ip>
</network>
`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, n, MachineNetwork{Name: "vagrant-libvirt", Bridge: "virbr1", Prefix: netip.MustParsePrefix("192.168.121.0/24")})
	bridged, err := parseLibvirtNetwork("<network><name>lan</name><forward mode='bridge'/><bridge name='br0'/></network>")
	if err != nil || bridged.Prefix.IsValid() {
		t.Errorf("%+v %v", bridged, err)
	}
	for _, bad := range []string{"", "<network/>", "<pool><name>x</name></pool>", "error: Network not found"} {
		if _, err := parseLibvirtNetwork(bad); err == nil {
			t.Errorf("%q should fail", bad)
		}
	}
	path, err := parseLibvirtPool("<pool type='dir'>\n  <name>default</name>\n  <capacity unit='bytes'>270553174016</capacity>\n  <source>\n  </source>\n  <target>\n    <path>/var/lib/libvirt/images</path>\n  </target>\n</pool>\n")
	if err != nil || path != "/var/lib/libvirt/images" {
		t.Errorf("%s %v", path, err)
	}
	if _, err := parseLibvirtPool("<pool type='rbd'><name>default</name></pool>"); err == nil {
		t.Error("a pool without a folder should fail")
	}
	same(t, parseDomains("1c936109-93fd-4722-b663-b46f83380f66 vm-store\n7b1c7fcf-a8ec-4f8b-85b3-be000214ff7a my windows\n\n"), []Machine{
		{ID: "1c936109-93fd-4722-b663-b46f83380f66", Name: "vm-store"}, {ID: "7b1c7fcf-a8ec-4f8b-85b3-be000214ff7a", Name: "my windows"},
	})
	for in, want := range map[string]string{
		"Source: /home/ada/my lab/Vagrantfile\n": "/home/ada/my lab", "No description for domain: x\n": "", "Source: Vagrantfile": "",
	} {
		if got := vagrantSource(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestParseVBox(t *testing.T) {
	t.Parallel()
	const warning = `WARNING: The vboxdrv kernel module is not loaded. Either there is no module
         available for the current kernel (6.5.0-41-generic) or it failed to
         load. Please recompile the kernel module and install it by

           sudo /sbin/vboxconfig

         You will not be able to start VMs until this problem is fixed.
`
	for in, want := range map[string]string{
		"7.0.20r163906\n":                  "7.0.20r163906",
		warning + "6.1.38_Debianr153438\n": "6.1.38_Debianr153438",
		warning:                            "", "": "", "7.1 of 2024\n": "", "VBoxManage: error\n": "",
	} {
		if got, ok := parseVBoxVersion(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q %t", in, got, ok)
		}
	}
	same(t, parseHostOnly(`Name:            vboxnet0
GUID:            786f6276-656e-4074-8000-0a0027000000
DHCP:            Disabled
IPAddress:       192.168.56.1
NetworkMask:     255.255.255.0
IPV6Address:
IPV6NetworkMaskPrefixLength: 0
HardwareAddress: 0a:00:27:00:00:00
MediumType:      Ethernet
Wireless:        No
Status:          Down
VBoxNetworkName: HostInterfaceNetworking-vboxnet0

Name:            VirtualBox Host-Only Ethernet Adapter #2
GUID:            5c9c92a4-0c13-4dff-9d72-36689f1a08ba
DHCP:            Disabled
IPAddress:       192.168.99.1
NetworkMask:     255.255.255.0
Status:          Up
VBoxNetworkName: HostInterfaceNetworking-VirtualBox Host-Only Ethernet Adapter #2

`), []MachineNetwork{
		{Name: "vboxnet0", Bridge: "vboxnet0", Prefix: netip.MustParsePrefix("192.168.56.0/24")},
		{
			Name: "VirtualBox Host-Only Ethernet Adapter #2", Bridge: "VirtualBox Host-Only Ethernet Adapter #2",
			Prefix: netip.MustParsePrefix("192.168.99.0/24"), Active: true,
		},
	})
	same(t, parseHostOnly(`Name:            HostNetwork
GUID:            331df2f8-cac1-4c80-93f6-367eaa31454d

State:           Enabled
NetworkMask:     255.255.255.0
LowerIP:         192.168.56.1
UpperIP:         192.168.56.199
VBoxNetworkName: hostonly-HostNetwork
`), []MachineNetwork{{Name: "HostNetwork", Prefix: netip.MustParsePrefix("192.168.56.0/24"), Active: true}})
	same(t, parseVBoxDHCP(`NetworkName:    HostInterfaceNetworking-vboxnet0
Dhcpd IP:       192.168.56.100
LowerIPAddress: 192.168.56.101
UpperIPAddress: 192.168.56.254
NetworkMask:    255.255.255.0
Enabled:        Yes
Global Configuration:
    minLeaseTime:     default
    Suppressed opts.: None
        1/legacy: 255.255.255.0
Groups:               None
Individual Configs:   None

NetworkName:    NatNetwork
Dhcpd IP:       10.0.2.3
LowerIPAddress: 10.0.2.4
UpperIPAddress: 10.0.2.254
NetworkMask:    255.255.255.0
Enabled:        No
`), []DHCPServer{{
		"HostInterfaceNetworking-vboxnet0", netip.MustParseAddr("192.168.56.100"), netip.MustParseAddr("192.168.56.101"), netip.MustParseAddr("192.168.56.254"),
	}})
	// VirtualBox before 6.1.
	same(t, parseVBoxDHCP("NetworkName:    HostInterfaceNetworking-vboxnet0\nIP:             10.1.1.2\nNetworkMask:    255.255.255.0\n"+
		"lowerIPAddress: 10.1.1.3\nupperIPAddress: 10.1.1.9\nEnabled:        Yes\n"), []DHCPServer{{
		"HostInterfaceNetworking-vboxnet0", netip.MustParseAddr("10.1.1.2"), netip.MustParseAddr("10.1.1.3"), netip.MustParseAddr("10.1.1.9"),
	}})
	machines := parseVBoxMachines("\"swarmlab-store\" {897aa7bc-1ec1-4e13-a16d-101d3716c72d}\n\"a {b} c\" {11111111-1ec1-4e13-a16d-101d3716c72d}\n\"<inaccessible>\" {2}\nnoise\n")
	markRunning(machines, machines[1:2])
	same(t, machines, []Machine{
		{ID: "897aa7bc-1ec1-4e13-a16d-101d3716c72d", Name: "swarmlab-store"},
		{ID: "11111111-1ec1-4e13-a16d-101d3716c72d", Name: "a {b} c", Running: true},
		{ID: "2", Name: "<inaccessible>"},
	})
}

// FuzzMachines: whatever hypervisors say, there is no panic, and what is read makes sense.
func FuzzMachines(f *testing.F) {
	f.Fuzz(func(t *testing.T, out string) {
		facts := soundLibvirt()
		facts.Processor.value = parseCPUInfo(out)
		facts.Libvirt.value.Hypervisor = parseVirshVersion(out)
		if n, err := parseLibvirtNetwork(out); err == nil {
			if n.Name == "" || n.Prefix.IsValid() && (!n.Prefix.Addr().Is4() || n.Prefix != n.Prefix.Masked()) {
				t.Errorf("%+v", n)
			}
			facts.MachineNetworks.value = append(facts.MachineNetworks.value, n)
		}
		if path, err := parseLibvirtPool(out); err == nil {
			facts.Libvirt.value.Pool.value.Path = path
		}
		facts.Machines.value = parseDomains(out)
		for _, m := range facts.Machines.value {
			m.Folder = vagrantSource(out)
			if m.ID == "" || m.Name == "" {
				t.Errorf("%+v", m)
			}
		}
		if libvirtError(out) == nil {
			t.Error("an error that is none")
		}
		judged(t, facts)

		facts = soundVirtualBox()
		if v, ok := parseVBoxVersion(out); ok {
			facts.VirtualBox.value.Version = v
		}
		facts.MachineNetworks.value = parseHostOnly(out)
		for _, n := range facts.MachineNetworks.value {
			if n.Name == "" || !n.Prefix.Addr().Is4() || n.Prefix.Bits() == 0 {
				t.Errorf("%+v", n)
			}
		}
		facts.VirtualBox.value.DHCP.value = parseVBoxDHCP(out)
		facts.VirtualBox.value.Allowed = settings.HostOnlyNetworks(out)
		facts.Machines.value = parseVBoxMachines(out)
		judged(t, facts)
	})
}

func judged(t *testing.T, facts Facts) {
	t.Helper()
	for _, finding := range Evaluate(facts) {
		if finding.Check == "" || finding.Message == "" {
			t.Errorf("%+v", finding)
		}
	}
}
