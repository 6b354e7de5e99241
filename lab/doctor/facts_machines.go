package doctor

import (
	"net/netip"
)

// The providers that make virtual machines, in Vagrant's words.
const (
	providerLibvirt    = "libvirt"
	providerVirtualBox = "virtualbox"
	providerVMware     = "vmware_desktop"
	providerParallels  = "parallels"
)

// Processor is what is known of the processor's support for virtual machines.
type Processor struct {
	// Extension is "vmx" (Intel VT-x) or "svm" (AMD-V); empty when the processor does not show one.
	Extension string
	// Tells: the kernel says what the processor can do in these words. For Arm it does not.
	Tells bool
	// Guest: this host is a virtual machine itself.
	Guest bool
	// Hypervisor that this host runs on, in the words of systemd-detect-virt; empty when not known.
	Hypervisor string
}

// KVM is the kernel's own hypervisor.
type KVM struct {
	// Opened: this user may use /dev/kvm.
	Opened bool
	// Trouble is why no virtual machine could be made by /dev/kvm; nil when one could. It was gone again at once.
	Trouble error
	// Modules that are loaded, of kvm_intel and kvm_amd.
	Modules []string
	// Keeps: the kernel keeps the processor's extension for itself as long as the modules are loaded, not only while
	// one of its machines runs.
	Keeps bool
}

// Libvirt is the system's libvirt, by the word of its daemon.
type Libvirt struct {
	// Hypervisor and its version: "QEMU 7.2.22".
	Hypervisor string
	Pool       Fact[Pool]
}

// Pool is libvirt's storage pool "default", in which Vagrant keeps boxes and disks.
type Pool struct {
	// Path of its folder; empty when there is no such pool, which Vagrant makes then.
	Path   string
	Active bool
}

// MachineNetwork is a network that a hypervisor has made or would make when it is needed.
type MachineNetwork struct {
	Name   string
	Bridge string // the host's interface for it
	Prefix netip.Prefix
	Active bool
}

// DHCPServer of VirtualBox.
type DHCPServer struct {
	Network string
	Address netip.Addr
	// Lower and Upper are the first and the last address that it gives away.
	Lower, Upper netip.Addr
}

// VirtualBox is what its command and its files say.
type VirtualBox struct {
	// Version: "7.0.20r163906", "6.1.38_Debianr153438".
	Version string
	// Module: the kernel has loaded its module vboxdrv. True where there is no such thing.
	Module bool
	// Allowed are the networks that host-only interfaces may have; nil when networks.conf is not there.
	Allowed []netip.Prefix
	DHCP    Fact[[]DHCPServer]
}

// Machine is a virtual machine of the hypervisor, running or not, or a container of the engine.
type Machine struct {
	ID, Name string
	Running  bool
	// Folder of the clone that made it; empty when not known.
	Folder string
}

// Record is a machine that Vagrant remembers for this clone, under .vagrant/machines.
type Record struct {
	Node, Provider string
	// ID is the provider's: a UUID, a container's ID or, with VMware, a path.
	ID string
}
