package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// knownVirtualBox is the first that is known to work with today's kernels and guests.
func knownVirtualBox() version { return version{7, 0} }

// armVirtualBox is the first that runs on Apple's processors.
func armVirtualBox() version { return version{7, 1} }

const (
	vboxDownloads = "https://www.virtualbox.org/wiki/Downloads"
	vagrantGet    = "https://developer.hashicorp.com/vagrant/install"
)

// provider: what the Vagrant provider needs besides Vagrant. The docker provider's engine is judged elsewhere.
func (j *evaluation) provider() {
	const check = "provider"
	name := j.Settings.Provider
	if name == settings.ProviderDocker {
		j.ok(check, "docker, which Vagrant brings along")
		return
	}
	before := len(j.findings)
	if plugin := pluginOf(name); plugin != "" {
		switch plugins, known := j.Plugins.Get(); {
		case !known:
			j.unknown(check, "whether Vagrant has the plugin "+plugin, j.Plugins.Err())
		case !slices.Contains(plugins, plugin):
			fix := "vagrant plugin install " + plugin
			if j.Host.Debian && name == providerLibvirt {
				fix = "PROVIDER=libvirt make prerequisites"
			}
			j.block(check, fix, "Vagrant's provider %s needs the plugin %s", name, plugin)
		}
	}
	says := name + " is ready"
	switch name {
	case providerLibvirt:
		j.libvirt(check)
		says = fmt.Sprintf("libvirt answers (%s)", j.Libvirt.seen().Hypervisor)
	case providerVirtualBox:
		j.virtualBox(check)
		says = "VirtualBox " + j.VirtualBox.seen().Version
	default:
		j.otherHypervisor(check, name)
	}
	if len(j.findings) == before {
		j.ok(check, "%s", says)
	}
}

func pluginOf(provider string) string {
	return map[string]string{
		providerLibvirt: "vagrant-libvirt", providerVMware: "vagrant-vmware-desktop", providerParallels: "vagrant-parallels",
	}[provider]
}

func (j *evaluation) libvirt(check string) {
	switch err := j.Libvirt.Err(); {
	case errors.Is(err, ErrMissing):
		j.block(check, j.installLibvirt("libvirt-daemon-system libvirt-clients"), "libvirt is not installed: there is no virsh command")
	case errors.Is(err, ErrPermission):
		j.block(check, "sudo usermod -aG libvirt \"$(id -un)\" && newgrp libvirt", "libvirt does not let this user in: %s", reason(err))
	case errors.Is(err, ErrStopped):
		j.block(check, j.startLibvirt(), "libvirt is %s", reason(err))
	case errors.Is(err, ErrNoAnswer):
		j.fail(check, "wait until this host has less to do; if it goes on: "+j.startLibvirt(),
			"could not tell whether libvirt is fit: %s; this host is overloaded, or libvirt hangs", reason(err))
		j.findings[len(j.findings)-1].Unknown = true
	case err != nil:
		j.block(check, j.startLibvirt(), "libvirt fails: %s", reason(err))
	default:
		j.pool(check, j.Libvirt.seen().Pool)
	}
	if errors.Is(j.Emulator.Err(), ErrMissing) {
		packages := "qemu-system-x86 qemu-utils"
		if j.Host.Arch == "arm64" {
			packages = "qemu-system-arm qemu-efi-aarch64 qemu-utils"
		}
		j.block(check, j.installLibvirt(packages), "QEMU is not installed: there is no %s", emulatorOf(j.Host.Arch))
	}
	if errors.Is(j.Dnsmasq.Err(), ErrMissing) {
		j.block(check, j.install("dnsmasq-base", ""), "dnsmasq is not installed: without it libvirt starts no network")
	}
}

func (j *evaluation) installLibvirt(packages string) string {
	if j.Host.Debian {
		return "PROVIDER=libvirt make prerequisites"
	}
	return j.install(packages, "")
}

// startLibvirt: distributions have one daemon for everything, or one for each part.
func (j *evaluation) startLibvirt() string {
	if j.Host.Systemd {
		return j.sudo("systemctl enable --now libvirtd.socket") + " || " + j.sudo("systemctl enable --now virtqemud.socket virtnetworkd.socket virtstoraged.socket")
	}
	return j.sudo("virtlogd -d") + "; " + j.sudo("libvirtd -d")
}

func (j *evaluation) pool(check string, p Fact[Pool]) {
	switch pool, known := p.Get(); {
	case !known:
		j.warn(check, "virsh -c qemu:///system pool-list --all --details   # shows what is there", "libvirt's storage pool default: %s", reason(p.Err()))
	case pool.Path != "" && !pool.Active:
		j.block(check, "virsh -c qemu:///system pool-start default", "libvirt's storage pool default is there, but not started")
	}
}

func (j *evaluation) virtualBox(check string) {
	vb, known := j.VirtualBox.Get()
	switch err := j.VirtualBox.Err(); {
	case errors.Is(err, ErrMissing):
		j.block(check, vboxDownloads, "VirtualBox is not installed: there is no VBoxManage command")
		return
	case !known:
		j.unknown(check, "whether VirtualBox is fit", err)
		return
	}
	v, _ := parseVersion(vb.Version)
	mac := j.Host.OS == "darwin" && j.Host.Arch == "arm64"
	switch {
	case mac && v.less(armVirtualBox()):
		j.block(check, vboxDownloads, "VirtualBox %s does not run on Apple's processors: 7.1 is the first that does", vb.Version)
	case !vb.Module:
		also := ""
		if v.less(knownVirtualBox()) {
			also = fmt.Sprintf("; %s is old, and may not build for this kernel: 7.0 and later do", vb.Version)
		}
		j.block(check, j.vboxModuleFix(vb.Version), "VirtualBox's kernel module vboxdrv is not loaded (kernel %s)%s", j.Host.Release, also)
	case v.less(knownVirtualBox()):
		j.warn(check, vboxDownloads, "VirtualBox %s is old: 7.0 and later are known to be fine", vb.Version)
	}
	if vagrant, known := j.Vagrant.Get(); known {
		needed := vagrantFor(v)
		if have, ok := parseVersion(vagrant); ok && have.less(needed) {
			j.block(check, fmt.Sprintf("upgrade Vagrant: %s   # or take VirtualBox %s", vagrantGet, newestVBox(have)),
				"Vagrant %s does not know VirtualBox %d.%d, Vagrant %d.%d.%d does", vagrant, v[0], v[1], needed[0], needed[1], needed[2])
		}
	}
	j.besidesKVM(check)
}

func (j *evaluation) vboxModuleFix(version string) string {
	if strings.Contains(version, "_Debian") || strings.Contains(version, "_Ubuntu") {
		return j.sudo("apt-get install -y virtualbox-dkms linux-headers-$(uname -r)") + " && " + j.sudo("modprobe vboxdrv")
	}
	return j.sudo("/sbin/vboxconfig") + "   # under Secure Boot the module must be signed"
}

// vagrants: each release of Vagrant has a list of VirtualBoxes that it works with, and refuses others.
func vagrants() []struct{ box, vagrant version } {
	return []struct{ box, vagrant version }{
		{version{7, 2}, version{2, 4, 9}}, {version{7, 1}, version{2, 4, 2}}, {version{7, 0}, version{2, 3, 2}},
	}
}

// vagrantFor is the first Vagrant that knows a VirtualBox.
func vagrantFor(box version) version {
	for _, pair := range vagrants() {
		if !box.less(pair.box) {
			return pair.vagrant
		}
	}
	return version{}
}

// newestVBox is the newest VirtualBox that a Vagrant knows.
func newestVBox(vagrant version) string {
	for _, pair := range vagrants() {
		if !vagrant.less(pair.vagrant) {
			return fmt.Sprintf("%d.%d", pair.box[0], pair.box[1])
		}
	}
	return "6.1"
}

// besidesKVM: two hypervisors cannot have the processor's extension at the same time.
func (j *evaluation) besidesKVM(check string) {
	if j.Host.OS != "linux" {
		return
	}
	if p, known := j.Processor.Get(); known && p.Tells && p.Extension == "" {
		j.block(check, j.extensionFix(), "VirtualBox needs Intel VT-x or AMD-V, and %s", j.noExtension())
		return
	}
	k, known := j.KVM.Get()
	if !known || len(k.Modules) == 0 {
		return
	}
	unload := j.sudo("modprobe -r " + strings.Join(k.Modules, " "))
	if k.Keeps {
		j.fail(check, unload+"   # for good: kvm.enable_virt_at_load=0 on the kernel's command line",
			"the kernel's %s keeps the processor's extension: VirtualBox would say that another hypervisor uses it", console.List(k.Modules))
		return
	}
	if k.Opened && errors.Is(k.Trouble, syscall.EBUSY) {
		return // VirtualBox has it already
	}
	j.warn(check, unload+"   # once none of its machines runs",
		"%s is loaded: while a machine of KVM runs, VirtualBox starts none", console.List(k.Modules))
}

func (j *evaluation) otherHypervisor(check, name string) {
	switch err := j.Hypervisor.Err(); {
	case errors.Is(err, ErrMissing):
		j.block(check, "install it, or take another: PROVIDER=docker make up", "the hypervisor for %s is not installed", name)
	case err != nil:
		j.unknown(check, "whether the hypervisor for "+name+" is installed", err)
	}
}

// noExtension says why the processor shows no extension.
func (j *evaluation) noExtension() string {
	if p := j.Processor.seen(); p.Guest {
		of := ""
		if p.Hypervisor != "" {
			of = " (" + p.Hypervisor + ")"
		}
		return "this host is itself a virtual machine" + of + ", to which nested virtualization is not given"
	}
	return "the processor shows neither: it has none, or the firmware (BIOS) has it switched off"
}

func (j *evaluation) extensionFix() string {
	if j.Processor.seen().Guest {
		return "allow nested virtualization where this host's hypervisor runs (KVM: nested=1 for kvm_intel or kvm_amd)"
	}
	return "switch on Intel VT-x or AMD-V (SVM) in the firmware's setup"
}

// kvm: libvirt's machines run on the processor itself, or are emulated. Which of the two the Vagrantfile takes
// (vagrant/libvirt.rb) depends on the driver asked for, else on /dev/kvm and the processor's flags.
func (j *evaluation) kvm() {
	const check = "kvm"
	switch {
	case j.Settings.Provider != providerLibvirt:
		return
	case j.Driver == "qemu":
		j.ok(check, "not used: %s=qemu emulates the machines, which is several times slower", envDriver)
		return
	case !j.KVM.known():
		j.unknown(check, "whether KVM makes machines", j.KVM.Err())
		return
	}
	what, fix := j.kvmTrouble()
	switch {
	case what == "":
		j.ok(check, "KVM makes machines")
	case j.Driver == "" && j.Processor.open():
		j.unknown(check, fmt.Sprintf("whether the machines will be emulated (%s)", what), j.Processor.Err())
	case j.emulated():
		j.warn(check, fix, "%s: the machines are emulated, which is several times slower", what)
	default:
		// It was asked for, or looks as if it worked, so nobody will fall back.
		j.block(check, fmt.Sprintf("%s=qemu make up   # emulates, several times slower; better: %s", envDriver, fix), "%s", what)
	}
}

// emulated: the machines will be.
func (j *evaluation) emulated() bool {
	if j.Settings.Provider != providerLibvirt || j.Driver != "" {
		return j.Settings.Provider == providerLibvirt && j.Driver == "qemu"
	}
	k, known := j.KVM.Get()
	p, told := j.Processor.Get()
	return known && told && (!k.Opened || p.Tells && p.Extension == "")
}

// kvmTrouble says why KVM cannot be used, and what to do; empty when it can.
func (j *evaluation) kvmTrouble() (what, fix string) {
	p, k := j.Processor.seen(), j.KVM.seen()
	switch {
	case p.Tells && p.Extension == "" && k.Trouble == nil:
		return "/dev/kvm answers, but " + j.noExtension(), fmt.Sprintf("%s=kvm make up   # tries it all the same; for sure: %s", envDriver, j.extensionFix())
	case p.Tells && p.Extension == "":
		return "no KVM: " + j.noExtension(), j.extensionFix()
	case k.Trouble == nil:
		return "", ""
	case errors.Is(k.Trouble, fs.ErrPermission):
		return "/dev/kvm is there, but not open to you", "sudo usermod -aG kvm \"$(id -un)\" && newgrp kvm"
	case errors.Is(k.Trouble, syscall.EBUSY):
		return "/dev/kvm is there, but another hypervisor has the processor", "end the machines of VirtualBox or VMware"
	case errors.Is(k.Trouble, fs.ErrNotExist), errors.Is(k.Trouble, syscall.ENODEV), errors.Is(k.Trouble, syscall.ENXIO):
		module := map[string]string{"vmx": "kvm_intel", "svm": "kvm_amd"}[p.Extension]
		if module == "" {
			return "there is no /dev/kvm: this kernel has no KVM", "boot a kernel that has it"
		}
		return "there is no /dev/kvm, though the processor can (" + p.Extension + ")",
			j.sudo("modprobe "+module) + "   # where that fails, `dmesg | grep -i kvm` says why; often it is off in the firmware (BIOS)"
	}
	return "KVM does not work: " + reason(k.Trouble), "dmesg | grep -i kvm   # may say why"
}

// records: Vagrant goes by what it remembers of its machines under .vagrant.
func (j *evaluation) records() {
	const check = "machines"
	records, listed := j.Records.Get()
	if !listed {
		j.unknown(check, "what Vagrant remembers in .vagrant", j.Records.Err())
		return
	}
	before := len(j.findings)
	elsewhere := map[string][]string{}
	var gone []string
	machines, known := j.providersMachines()
	for _, r := range records {
		switch {
		case r.Provider != j.Settings.Provider:
			elsewhere[r.Provider] = append(elsewhere[r.Provider], r.Node)
		case known && !slices.ContainsFunc(machines, func(m Machine) bool { return strings.EqualFold(m.ID, r.ID) }):
			gone = append(gone, r.Node)
		}
	}
	for _, provider := range slices.Sorted(maps.Keys(elsewhere)) {
		// Taking it down forgets machines that are gone, too.
		j.block(check, fmt.Sprintf("%s=%s make down   # or go on with it: %s=%s make up", settings.EnvProvider, provider, settings.EnvProvider, provider),
			"Vagrant has %s from the provider %s, and gives a node one provider at a time", console.List(some(elsewhere[provider])), provider)
	}
	if len(gone) > 0 {
		paths := make([]string, len(gone))
		for i, node := range gone {
			paths[i] = quote(fmt.Sprintf("%s/.vagrant/machines/%s/%s", j.Root, node, j.Settings.Provider))
		}
		j.warn(check, "make up   # makes them anew; to forget them only: rm -r "+strings.Join(paths, " "),
			"Vagrant remembers %s, but %s has no such machine any more", console.List(some(gone)), j.Settings.Provider)
	}
	if len(j.findings) > before {
		return
	}
	switch n := len(records); {
	case n == 0:
		j.ok(check, "Vagrant has made none for this clone yet")
	case !known:
		j.ok(check, "Vagrant remembers %d of %s", n, j.Settings.Provider)
	default:
		j.ok(check, "Vagrant remembers %d of %s, and they exist", n, j.Settings.Provider)
	}
}

// providersMachines are all machines that the provider has, also others'.
func (j *evaluation) providersMachines() (machines []Machine, known bool) {
	if !j.containerNodes() {
		return j.Machines.Get()
	}
	containers, known := j.Containers.Get()
	for _, c := range containers {
		machines = append(machines, Machine{ID: c.ID, Name: c.Name})
	}
	return machines, known
}

// namedAlike finds virtual machines that have the name of a node, but are not the one that Vagrant remembers: made by
// another clone, or by this one before its .vagrant was lost. Containers have labels that tell.
func (j *evaluation) namedAlike(check string) {
	switch err := errors.Join(j.Machines.Err(), j.Records.Err()); {
	case errors.Is(err, ErrNotLooked):
		j.skip(check, "another lab of the name %s is not looked for among the machines of %s", j.Settings.Name, j.Settings.Provider)
		return
	case err != nil:
		j.unknown(check, fmt.Sprintf("whether another lab has machines named %s-…", j.Settings.Name), err)
		return
	}
	byFolder := j.alikes()
	for _, folder := range slices.Sorted(maps.Keys(byFolder)) {
		names := byFolder[folder]
		whose, fix := "of the lab of "+folder, takeDown(Owner{Folder: folder})+"   # or: "+j.elsewhere()
		switch folder {
		case j.Root:
			whose, fix = "which Vagrant has forgotten", j.removeMachines(names)+"   # or: "+j.elsewhere()
		case "":
			// They may be anybody's.
			whose, fix = "made by somebody else", j.elsewhere()+"   # or, if nobody needs them: "+j.removeMachines(names)
		}
		j.block(check, fix, "%s has machines with names that this lab needs, %s: %s", j.Settings.Provider, whose, console.List(some(names)))
	}
	if len(byFolder) == 0 {
		j.ok(check, "no other lab has machines named %s-…", j.Settings.Name)
	}
}

// alikes are the names of those machines, by the folder of the clone that made them.
func (j *evaluation) alikes() map[string][]string {
	byFolder := map[string][]string{}
	if j.containerNodes() || !j.Records.known() {
		return byFolder
	}
	for _, m := range j.Machines.seen() {
		if lab, _ := j.labOf(m.Name); lab == j.Settings.Name && !j.recorded(m) {
			byFolder[m.Folder] = append(byFolder[m.Folder], m.Name)
		}
	}
	return byFolder
}

// networkOwner is the clone whose machines belong to a network of libvirt: it has their lab's name.
func (j *evaluation) networkOwner(n MachineNetwork) (folder string) {
	for _, m := range j.Machines.seen() {
		if lab, _ := j.labOf(m.Name); lab == n.Name && m.Folder != "" && m.Folder != j.Root {
			return m.Folder
		}
	}
	return ""
}

func (j *evaluation) removeMachines(names []string) string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = quote(name)
	}
	each := "for m in " + strings.Join(words, " ") + "; do "
	if j.Settings.Provider == providerVirtualBox {
		return each + "VBoxManage controlvm $m poweroff; VBoxManage unregistervm $m --delete; done"
	}
	return each + "virsh -c qemu:///system destroy $m; virsh -c qemu:///system undefine $m --remove-all-storage; done"
}

// machineNetwork judges a network of a hypervisor.
func (j *evaluation) machineNetwork(check string, n MachineNetwork) {
	const virsh = "virsh -c qemu:///system "
	if j.Settings.Provider == providerVirtualBox {
		// VirtualBox uses the one of the same subnet again.
		if n.Prefix.Overlaps(j.Settings.Subnet) && n.Prefix != j.Settings.Subnet {
			fix := "VBoxManage hostonlyif remove " + quote(n.Name)
			if n.Bridge == "" {
				fix = "VBoxManage hostonlynet remove --name " + quote(n.Name)
			}
			j.block(check, fix+"   # or: "+j.moveSubnet(), "%s overlaps VirtualBox's host-only network %s (%s)", j.Settings.Subnet, n.Name, n.Prefix)
		}
		return
	}
	remove := virsh + "net-destroy " + quote(n.Name)
	if j.Settings.Provider == providerLibvirt {
		remove += "; " + virsh + "net-undefine " + quote(n.Name)
	}
	whose := ""
	if folder := j.networkOwner(n); folder != "" {
		remove, whose = takeDown(Owner{Folder: folder}), ", of the lab of "+folder
	}
	switch {
	case !n.Prefix.IsValid():
	case j.Settings.Provider == providerLibvirt && n.Name == j.Settings.Name && n.Prefix == j.Settings.Subnet:
		// This lab's own, or what is left of it, which is used again.
	case j.Settings.Provider == providerLibvirt && n.Name == j.Settings.Name:
		j.block(check, remove, "libvirt has a network %s already, on %s instead of %s%s", n.Name, n.Prefix, j.Settings.Subnet, whose)
	case n.Prefix.Overlaps(j.Settings.Subnet) && (n.Active || j.Settings.Provider == providerLibvirt && n.Prefix == j.Settings.Subnet):
		j.block(check, remove+"   # or: "+j.moveSubnet(), "%s overlaps libvirt's network %s (%s)%s", j.Settings.Subnet, n.Name, n.Prefix, whose)
	}
}

// management is the network by which Vagrant reaches libvirt's machines; vagrant-libvirt's default.
func management() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 121}), 24)
}

// managementTaken: libvirt cannot start that network beside a Docker network of the same addresses.
func (j *evaluation) managementTaken(check string) {
	if j.Settings.Provider != providerLibvirt {
		return
	}
	if management().Overlaps(j.Settings.Subnet) {
		j.block(check, settings.EnvSubnet+"=192.168.33.0/24 make up", "%s overlaps %s, by which Vagrant reaches libvirt's machines",
			j.Settings.Subnet, management())
	}
	for _, n := range j.Networks.seen() {
		for _, s := range n.Subnets {
			if !s.Overlaps(management()) {
				continue
			}
			fix := "docker network rm " + quote(n.Name)
			whose := "the Docker network " + n.Name
			if n.Lab != "" {
				fix, whose = takeDown(n.Owner), describe(n.Owner)+", Docker network "+n.Name
			}
			j.block(check, fix, "%s (%s) is in the way of %s, by which Vagrant reaches libvirt's machines", whose, s, management())
		}
	}
}

// dhcp: a DHCP server in the lab's subnet may give a node's address to somebody else's machine.
func (j *evaluation) dhcp(check string) {
	for _, d := range j.VirtualBox.seen().DHCP.seen() {
		var hit []string
		for _, n := range j.Topology.Nodes {
			a := n.Address
			if a == d.Address || d.Lower.Compare(a) <= 0 && a.Compare(d.Upper) <= 0 {
				hit = append(hit, n.Name)
			}
		}
		if len(hit) > 0 {
			j.warn(check, "VBoxManage dhcpserver remove --network="+quote(d.Network),
				"VirtualBox's DHCP server of %s has, or gives to other machines, the addresses of %s (it has %s, and gives %s to %s)",
				d.Network, console.List(some(hit)), d.Address, d.Lower, d.Upper)
		}
	}
}
