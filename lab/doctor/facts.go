package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Why a fact is not known. Other errors come from the command or the file that was asked.
var (
	// ErrMissing says that a program is not installed.
	ErrMissing = errors.New("not installed")
	// ErrNoAnswer says that the time was over before the answer came.
	ErrNoAnswer = errors.New("no answer in time")
	// ErrStopped says that there is an engine's command, but no engine behind it.
	ErrStopped = errors.New("not running")
	// ErrPermission says that the engine is there, but not for this user.
	ErrPermission = errors.New("permission denied")
	// ErrNotDocker says that something else answers to the docker command.
	ErrNotDocker = errors.New("not a Docker engine")
	// ErrNotRoot says that it takes root, and that this user is not root and may not be without a password.
	ErrNotRoot = errors.New("not allowed without a password")
	// ErrNotLooked says that there was no reason to look it up.
	ErrNotLooked = errors.New("not looked up")
)

// Fact is what was looked up, or why it is not known. One that nobody looked up, as the zero Fact, is not known either.
// Its value can only be had together with whether it is known: what was not heard of may be there all the same.
type Fact[T any] struct {
	value  T
	err    error
	looked bool
}

// Known returns the fact of a value that was seen.
func Known[T any](value T) Fact[T] { return Fact[T]{value: value, looked: true} }

// Unknown returns the fact of a value that could not be had, and why.
func Unknown[T any](why error) Fact[T] { return Fact[T]{err: why, looked: true} }

// found makes a fact of what a lookup returned.
func found[T any](value T, err error) Fact[T] { return Fact[T]{value, err, true} }

// Get returns the value, and whether it is known; the value is zero where it is not.
func (f Fact[T]) Get() (value T, known bool) {
	if f.Err() != nil {
		return value, false
	}
	return f.value, true
}

// Err is why the fact is not known; nil when it is.
func (f Fact[T]) Err() error {
	if f.err == nil && !f.looked {
		return ErrNotLooked
	}
	return f.err
}

// seen returns what was seen, and the zero value where nothing is known: for what may be incomplete, such as the words of
// a fix, and for what was asked before whether it is known.
func (f Fact[T]) seen() T {
	value, _ := f.Get()
	return value
}

// known says whether it is.
func (f Fact[T]) known() bool { return f.Err() == nil }

// open says that there may be something which was not seen: not known, though the one who knows it is installed.
func (f Fact[T]) open() bool {
	err := f.Err()
	return err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrNotLooked)
}

// noAnswer is an ErrNoAnswer that tells who was asked, and how long the answer was waited for.
type noAnswer struct {
	who    string
	within time.Duration
}

func (n *noAnswer) Error() string {
	return fmt.Sprintf("%s did not answer within %s", n.who, seconds(n.within))
}

func (n *noAnswer) Is(target error) bool { return target == ErrNoAnswer }

// seconds writes a time as people say it: 1.1 s, 30 s.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s" }

// Facts are all that Judge knows.
type Facts struct {
	Root     string
	Settings settings.Settings
	Topology topology.Topology
	Host     Host

	Engine     Fact[Engine]
	Endpoint   Fact[string] // of the engine: unix:///var/run/docker.sock
	Containers Fact[[]Container]
	Networks   Fact[[]Network]
	Volumes    Fact[[]Volume]
	Images     Fact[[]string] // NAME:TAG of the engine's images

	Memory     Fact[Memory]
	Disks      Fact[[]Disk]
	Inotify    Fact[Inotify]
	Kernel     Fact[map[Feature]FeatureState]
	Interfaces Fact[[]Interface]
	Routes     Fact[[]Route]
	Listeners  Fact[[]Listener]

	Vagrant Fact[string] // its version
	Plugins Fact[[]string]
	// Driver of libvirt's machines that was asked for: kvm or qemu; empty when the Vagrantfile is to choose.
	Driver     string
	Processor  Fact[Processor]
	KVM        Fact[KVM]
	Libvirt    Fact[Libvirt]
	Emulator   Fact[string] // path of QEMU for this architecture
	Dnsmasq    Fact[string] // its path
	VirtualBox Fact[VirtualBox]
	Hypervisor Fact[string] // the command of VMware or Parallels
	// MachineNetworks are libvirt's or, if it is asked for, VirtualBox's.
	MachineNetworks Fact[[]MachineNetwork]
	Machines        Fact[[]Machine] // of the provider
	Records         Fact[[]Record]

	Go       Fact[string] // its version
	GoNeeded Fact[string] // by go.mod

	NodeImage Fact[string]   // NAME:TAG that container nodes are made of
	Bundle    Fact[[]string] // names of the stock images in the bundle
	// Builder is mmdebstrap's path, if it can be run as root.
	Builder  Fact[string]
	Registry Fact[string] // the host that answered as a registry

	State Fact[[]StateFile]
}

// Host is what is always known.
type Host struct {
	OS, Arch string
	// UID of who asks; -1 where there is no such thing.
	UID int
	// Release of the running kernel; empty when not known.
	Release string
	// Systemd runs the host's services.
	Systemd bool
	// Debian or a descendant, where `make prerequisites` installs what is missing.
	Debian bool
}

// Engine is a part of what `docker info` says.
type Engine struct {
	ServerVersion   string
	OperatingSystem string
	OSType          string
	KernelVersion   string
	Driver          string
	DriverStatus    [][2]string
	CgroupVersion   string
	CgroupDriver    string
	// MemTotal in bytes.
	MemTotal           uint64
	DockerRootDir      string
	SecurityOptions    []string
	IndexServerAddress string
	RegistryConfig     struct{ Mirrors []string }
}

// Owner is what the labels of a container, network or volume say about whose it is.
type Owner struct {
	Lab    string `json:"lab"`
	Folder string `json:"folder"`
	// Clone is the identity of the clone that made it, Inode its folder's; empty for what an earlier version made.
	Clone string `json:"clone"`
	Inode string `json:"inode"`
	// FolderGone: the clone that made it is not there any more: it was deleted, or moved.
	FolderGone bool `json:"-"`
}

// known settles whose it is, as the clone in root sees it: what is its own is so under whatever name its folder was reached.
func (o Owner) known(root string) Owner {
	if o.Folder == "" {
		return o
	}
	switch owner.Of(root).Whose(owner.Mark{Lab: o.Lab, Folder: o.Folder, Clone: o.Clone, Inode: o.Inode}) {
	case owner.Ours, owner.Forsaken:
		return Owner{Lab: o.Lab, Folder: root}
	case owner.Stray:
		o.FolderGone = true
	}
	return o
}

// Container of the engine, running or not.
type Container struct {
	Owner
	ID    string
	Name  string
	State string
	// Ports are where the host's ports are published.
	Ports []netip.AddrPort
}

// Network of the engine.
type Network struct {
	Owner
	Name    string
	Driver  string
	Subnets []netip.Prefix
	// Bridge is the host's interface for it; empty when it has none.
	Bridge string
}

// Volume of the engine.
type Volume struct {
	Owner
	Name string
}

// Memory of the machine that runs the nodes, in bytes.
type Memory struct {
	Total uint64
	// Available without swapping, and free swap. Both 0 when only the total is known.
	Available, SwapFree uint64
	// Where it is, for messages: "this host", "the engine's virtual machine".
	Where string
}

// Purpose is what a place on a disk is used for.
type Purpose string

// The places that fill up.
const (
	ForEngine Purpose = "the engine's data"
	ForClone  Purpose = "the clone"
	ForTemp   Purpose = "temporary files"
	ForVMs    Purpose = "virtual machines"
)

// Disk is the file system at a place that will fill up.
type Disk struct {
	Purpose Purpose
	Path    string
	// Free for this user, in bytes.
	Free uint64
	// Device tells file systems apart.
	Device uint64
	// FileSystem type; empty when it is none of those that matter.
	FileSystem string
}

// Inotify is what the kernel allows each user, and how much of it root has in use: the nodes' processes count as root's.
type Inotify struct {
	MaxInstances, MaxWatches int
	Used                     Fact[int]
}

// Feature of the kernel that nodes cannot do without.
type Feature string

// FeatureState is whether the kernel has a feature.
type FeatureState int

// The states of a feature.
const (
	FeatureUnknown FeatureState = iota
	FeatureThere
	// FeatureLoadable is a module that the kernel loads when it is first used.
	FeatureLoadable
	// FeatureAbsent: not built, neither in nor as a module.
	FeatureAbsent
	// FeatureLost: built as a module, but the modules of the running kernel are gone from the disk, as after an
	// upgrade of the kernel without a reboot.
	FeatureLost
)

// Interface is an address of the host with its network.
type Interface struct {
	Name   string
	Prefix netip.Prefix
}

// Route of the host, other than a default route.
type Route struct {
	To  netip.Prefix
	Dev string
}

// Listener is a TCP socket of the host that waits for connections.
type Listener struct {
	Addr netip.AddrPort
	// Holder is looked up for the lab's ports only; its zero value means unknown.
	Holder Process
}

// Process of the host.
type Process struct {
	PID     int
	Name    string
	Command string
}

func (p Process) String() string {
	switch {
	case p.PID != 0 && p.Name != "":
		return fmt.Sprintf("%s (pid %d)", p.Name, p.PID)
	case p.PID != 0:
		return fmt.Sprintf("pid %d", p.PID)
	case p.Name != "":
		return p.Name
	}
	return "a program of another user"
}

// StateFile is a file or folder under .lab that must be its owner's alone.
type StateFile struct {
	Path string // relative to the clone
	Mode fs.FileMode
	UID  int
}

// ports returns the host's ports that the lab needs, with what for.
func (f *Facts) ports() []labPort {
	var ports []labPort
	for _, n := range f.Topology.Nodes {
		ports = append(ports, labPort{f.Settings.AgentPort(n), "the agent of " + n.Name})
	}
	return append(ports, labPort{f.Settings.VotingPort(), "the voting app"}, labPort{f.Settings.ResultsPort(), "the results app"})
}

type labPort struct {
	number int
	use    string
}

// containerNodes: the nodes are containers of the host's engine.
func (f *Facts) containerNodes() bool { return f.Settings.Provider == settings.ProviderDocker }

// mine: it belongs to this clone's lab.
func (f *Facts) mine(o Owner) bool {
	return o.Lab == f.Settings.Name && o.Folder == f.Root && !o.FolderGone
}

// engineHere: the engine shares the host's kernel, disks and memory. Docker Desktop and its kin bring a virtual machine.
// It is not known while the engine is not.
func (f *Facts) engineHere() (here, known bool) {
	e, known := f.Engine.Get()
	return known && f.Host.OS == "linux" && f.Host.Release != "" && e.KernelVersion == f.Host.Release, known || !f.Engine.open()
}

// running counts this lab's nodes that run. Where it is not known there may be any number.
func (f *Facts) running() (n int, known bool) {
	if !f.containerNodes() {
		for _, m := range f.Machines.seen() {
			if m.Running && f.recorded(m) {
				n++
			}
		}
		return n, !f.Machines.open() && !f.Records.open()
	}
	for _, c := range f.Containers.seen() {
		if f.mine(c.Owner) && c.State == "running" {
			n++
		}
	}
	return n, !f.Containers.open()
}

// recorded: Vagrant knows the machine as one of this clone's.
func (f *Facts) recorded(m Machine) bool {
	return slices.ContainsFunc(f.Records.seen(), func(r Record) bool {
		return r.Provider == f.Settings.Provider && strings.EqualFold(r.ID, m.ID)
	})
}
