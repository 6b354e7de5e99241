package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// envDriver makes the Vagrantfile take a driver of libvirt: kvm or qemu.
const envDriver = "LAB_VM_DRIVER"

// virsh asks the system's libvirt, which is the one that Vagrant uses.
func virsh(ctx context.Context, args ...string) (string, error) {
	stdout, stderr, err := run(ctx, []string{"LC_ALL=C"}, alone(), "virsh", append([]string{"--connect", "qemu:///system", "--quiet"}, args...)...)
	if err == nil || errors.Is(err, ErrMissing) || errors.Is(err, ErrNoAnswer) || strings.TrimSpace(stderr) == "" {
		return stdout, err
	}
	return stdout, libvirtError(stderr)
}

func (s *sources) askLibvirt(ctx context.Context) (Libvirt, error) {
	if s.Settings.Provider != providerLibvirt {
		return Libvirt{}, ErrNotLooked
	}
	out, err := virsh(ctx, "version")
	if err != nil {
		return Libvirt{}, err
	}
	l := Libvirt{Hypervisor: parseVirshVersion(out)}
	p, err := pool(ctx)
	if errors.Is(err, ErrNoAnswer) {
		return Libvirt{}, err
	}
	l.Pool = found(p, err)
	return l, nil
}

func pool(ctx context.Context) (Pool, error) {
	all, err := virsh(ctx, "pool-list", "--all", "--name")
	if err != nil {
		return Pool{}, err
	}
	if !slices.Contains(parseVirshNames(all), "default") {
		return Pool{}, nil
	}
	active, err := virsh(ctx, "pool-list", "--name")
	if err != nil {
		return Pool{}, err
	}
	out, err := virsh(ctx, "pool-dumpxml", "default")
	if err != nil {
		return Pool{}, err
	}
	path, err := parseLibvirtPool(out)
	return Pool{Path: path, Active: slices.Contains(parseVirshNames(active), "default")}, err
}

// machineNetworks are looked up for other providers too if libvirt has one that runs: its subnet is taken.
func (s *sources) machineNetworks(ctx context.Context) ([]MachineNetwork, error) {
	switch {
	case s.Settings.Provider == providerVirtualBox:
		return vboxNetworks(ctx, s.host.OS)
	case s.Settings.Provider == providerLibvirt || hasInterface("virbr"):
		return libvirtNetworks(ctx)
	}
	return nil, ErrNotLooked
}

// hypervisorName is whose machines and networks are looked at.
func (s *sources) hypervisorName() string {
	if s.Settings.Provider == providerVirtualBox {
		return "VirtualBox"
	}
	return "libvirt"
}

func hasInterface(prefix string) bool {
	all, _ := net.Interfaces() // without them there is none
	return slices.ContainsFunc(all, func(i net.Interface) bool { return strings.HasPrefix(i.Name, prefix) })
}

func libvirtNetworks(ctx context.Context) ([]MachineNetwork, error) {
	all, err := virsh(ctx, "net-list", "--all", "--name")
	if err != nil {
		return nil, err
	}
	running, err := virsh(ctx, "net-list", "--name")
	if err != nil {
		return nil, err
	}
	active := parseVirshNames(running)
	var networks []MachineNetwork
	for _, name := range parseVirshNames(all) {
		out, err := virsh(ctx, "net-dumpxml", name)
		if ctx.Err() != nil || errors.Is(err, ErrNoAnswer) {
			return nil, ErrNoAnswer
		}
		if err != nil {
			continue // it has just been removed
		}
		n, err := parseLibvirtNetwork(out)
		if err != nil {
			return nil, err
		}
		n.Active = slices.Contains(active, name)
		networks = append(networks, n)
	}
	return networks, nil
}

func vboxManage(ctx context.Context, args ...string) (string, error) {
	return outputEnv(ctx, []string{"LC_ALL=C"}, "VBoxManage", args...)
}

// vboxNetworks: on macOS VirtualBox 7 has networks instead of interfaces.
func vboxNetworks(ctx context.Context, goos string) ([]MachineNetwork, error) {
	out, err := vboxManage(ctx, "list", "hostonlyifs")
	if goos == "darwin" && (err == nil || !errors.Is(err, ErrMissing)) {
		nets, netsErr := vboxManage(ctx, "list", "hostonlynets")
		if netsErr == nil {
			return append(parseHostOnly(out), parseHostOnly(nets)...), nil
		}
	}
	return parseHostOnly(out), err
}

func (s *sources) virtualBox(ctx context.Context) (VirtualBox, error) {
	if s.Settings.Provider != providerVirtualBox {
		return VirtualBox{}, ErrNotLooked
	}
	out, err := vboxManage(ctx, "--version")
	if err != nil {
		return VirtualBox{}, err
	}
	version, ok := parseVBoxVersion(out)
	if !ok {
		return VirtualBox{}, fmt.Errorf("`VBoxManage --version` names no version: %.80q", out)
	}
	vb := VirtualBox{Version: version, Module: vboxModule()}
	if text, err := os.ReadFile("/etc/vbox/networks.conf"); err == nil {
		vb.Allowed = settings.HostOnlyNetworks(string(text))
	}
	servers, err := vboxManage(ctx, "list", "dhcpservers")
	if errors.Is(err, ErrNoAnswer) {
		return VirtualBox{}, err
	}
	vb.DHCP = found(parseVBoxDHCP(servers), err)
	return vb, nil
}

// hypervisor is the command by which Vagrant's plugin works VMware or Parallels.
func (s *sources) hypervisor(context.Context) (string, error) {
	switch s.Settings.Provider {
	case providerVMware:
		return find("vmrun", "/Applications/VMware Fusion.app/Contents/Library")
	case providerParallels:
		return find("prlctl", "/usr/local/bin")
	}
	return "", ErrNotLooked
}

// find looks a program up on the path and in other folders.
func find(name string, dirs ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

func (s *sources) emulator(context.Context) (string, error) {
	if s.Settings.Provider != providerLibvirt {
		return "", ErrNotLooked
	}
	path, err := find(emulatorOf(s.host.Arch))
	if err != nil {
		// Red Hat's is one for its own architecture only.
		if path, err := find("qemu-kvm", "/usr/libexec"); err == nil {
			return path, nil
		}
	}
	return path, err
}

func emulatorOf(arch string) string {
	if arch == "arm64" {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// dnsmasq is run by libvirt, as root, whose path has these folders; other users' often has not.
func (s *sources) dnsmasq(context.Context) (string, error) {
	if s.Settings.Provider != providerLibvirt {
		return "", ErrNotLooked
	}
	return find("dnsmasq", "/usr/sbin", "/sbin")
}

func (s *sources) machines(ctx context.Context) ([]Machine, error) {
	switch s.Settings.Provider {
	case providerLibvirt:
		return s.domains(ctx)
	case providerVirtualBox:
		all, err := vboxManage(ctx, "list", "vms")
		if err != nil {
			return nil, err
		}
		running, err := vboxManage(ctx, "list", "runningvms")
		machines := parseVBoxMachines(all)
		markRunning(machines, parseVBoxMachines(running))
		return machines, err
	}
	return nil, ErrNotLooked
}

// domains are libvirt's machines. Whose they are is looked up for those that have the name of a lab's node.
func (s *sources) domains(ctx context.Context) ([]Machine, error) {
	out, err := virsh(ctx, "list", "--all", "--uuid", "--name")
	if err != nil {
		return nil, err
	}
	running, err := virsh(ctx, "list", "--uuid", "--name")
	if err != nil {
		return nil, err
	}
	machines := parseDomains(out)
	markRunning(machines, parseDomains(running))
	lab := Facts{Settings: s.Settings, Topology: s.Topology}
	for i, m := range machines {
		if _, ok := lab.labOf(m.Name); !ok {
			continue
		}
		said, err := virsh(ctx, "desc", m.ID)
		if errors.Is(err, ErrNoAnswer) {
			return nil, err
		}
		if err == nil { // else it has just been removed
			machines[i].Folder = vagrantSource(said)
		}
	}
	return machines, nil
}

// records are what Vagrant goes by: an id that the provider gave.
func (s *sources) records(context.Context) ([]Record, error) {
	dir := filepath.Join(s.Root, ".vagrant", "machines")
	files, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*", "*", "id")) // fails on a bad pattern only
	var records []Record
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		provider := filepath.Dir(file)
		records = append(records, Record{
			Node: filepath.Base(filepath.Dir(provider)), Provider: filepath.Base(provider), ID: parseRecordID(text),
		})
	}
	return records, nil
}

// machinesDir is where the provider keeps disks.
func (s *sources) machinesDir() string {
	if s.Settings.Provider == providerLibvirt {
		if l, err := s.libvirt(); err == nil && l.Pool.seen().Path != "" {
			return l.Pool.seen().Path
		}
		return "/var/lib/libvirt/images"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return home
}

// labOf is the lab of which a machine or container has the name of a node: LAB-NODE.
func (f *Facts) labOf(name string) (lab string, ok bool) {
	for _, node := range f.Topology.Names() {
		if lab, ok := strings.CutSuffix(name, "-"+node); ok {
			return lab, true
		}
	}
	return "", false
}
