package doctor

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func release() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// fileSystem names the types on which a node's own engine cannot keep images.
func fileSystem(s syscall.Statfs_t) string {
	return map[int64]string{0x794c7630: "overlay", 0x6969: "nfs", 0xf15f: "ecryptfs"}[int64(s.Type)] //nolint:unconvert // it is int32 on some platforms
}

func (s *sources) memory(context.Context) (Memory, error) {
	if e, err := s.engine(); err == nil && e.KernelVersion != s.host.Release && (&Facts{Settings: s.Settings}).containerNodes() {
		return Memory{Total: e.MemTotal, Where: "the engine's virtual machine"}, nil
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Memory{}, err
	}
	m, err := parseMeminfo(string(text))
	m.Where = "this host"
	return m, err
}

func inotify(ctx context.Context) (Inotify, error) {
	number := func(name string) (int, error) {
		text, err := os.ReadFile("/proc/sys/fs/inotify/" + name)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(string(text)))
	}
	instances, err1 := number("max_user_instances")
	watches, err2 := number("max_user_watches")
	used, err := rootsInotify(ctx)
	if errors.Is(err, ErrNoAnswer) {
		return Inotify{}, err
	}
	return Inotify{MaxInstances: instances, MaxWatches: watches, Used: found(used, err)}, errors.Join(err1, err2)
}

// rootsInotify counts root's instances. An instance is charged to the user who made it, who is most often the one whose
// process has it still.
func rootsInotify(ctx context.Context) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("only root sees what root's processes have open")
	}
	count := 0
	err := eachDescriptor(ctx, func(proc string, target string) bool {
		if target == "anon_inode:inotify" || target == "inotify" {
			if info, err := os.Stat(proc); err == nil && uidOf(info, -1) == 0 {
				count++
			}
		}
		return true
	})
	return count, err
}

// eachDescriptor visits the open files of all processes that may be looked at, until visit returns false.
func eachDescriptor(ctx context.Context, visit func(proc, target string) bool) error {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, p := range processes {
		if !isDigit(rune(p.Name()[0])) {
			continue
		}
		if ctx.Err() != nil {
			return ErrNoAnswer
		}
		proc := filepath.Join("/proc", p.Name())
		dir, err := os.Open(filepath.Join(proc, "fd"))
		if err != nil {
			continue // ended, or another user's
		}
		names, _ := dir.Readdirnames(-1) // what was read before an error counts
		dir.Close()                      //nolint:errcheck // nothing was written
		for _, name := range names {
			target, err := os.Readlink(filepath.Join(proc, "fd", name))
			if err == nil && !visit(proc, target) {
				return nil
			}
		}
	}
	return nil
}

func kernel(context.Context) (map[Feature]FeatureState, error) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return "" // one source less
		}
		return string(text)
	}
	dir := filepath.Join("/lib/modules", release())
	s := kernelSources{
		filesystems: read("/proc/filesystems"),
		loaded:      map[string]bool{},
		modules:     parseModules(read(filepath.Join(dir, "modules.dep"))),
		builtin:     parseModules(read(filepath.Join(dir, "modules.builtin"))),
	}
	_, err := os.Stat(filepath.Join(dir, "modules.dep"))
	s.modulesDir = err == nil
	loaded, err := os.ReadDir("/sys/module")
	for _, m := range loaded {
		s.loaded[m.Name()] = true
	}
	if s.config = kernelConfig(); s.config == "" && err != nil {
		return nil, fmt.Errorf("neither /sys/module nor the kernel's configuration can be read: %w", err)
	}
	return kernelFeatures(s), nil
}

func kernelConfig() string {
	if f, err := os.Open("/proc/config.gz"); err == nil {
		defer f.Close() //nolint:errcheck // nothing was written
		if zip, err := gzip.NewReader(f); err == nil {
			if text, err := io.ReadAll(zip); err == nil {
				return string(text)
			}
		}
	}
	for _, path := range []string{"/boot/config-" + release(), filepath.Join("/lib/modules", release(), "config")} {
		if text, err := os.ReadFile(path); err == nil {
			return string(text)
		}
	}
	return ""
}

// routes are those of all tables: VPNs like tables of their own. Without ip, those of the main table.
func routes(ctx context.Context) ([]Route, error) {
	out, err := output(ctx, "ip", "-json", "-4", "route", "show", "table", "all")
	if errors.Is(err, ErrNoAnswer) {
		return nil, err // the other tables may hold what the main one does not
	}
	if err == nil {
		if all, err := parseIPRoutes(out); err == nil {
			return all, nil
		}
	}
	text, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, err
	}
	return parseProcRoute(string(text)), nil
}

func (s *sources) listeners(ctx context.Context) ([]Listener, error) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return s.bindable(ctx)
	}
	sockets := parseProcTCP(string(text))
	if text, err := os.ReadFile("/proc/net/tcp6"); err == nil { // a kernel may be without IPv6
		sockets = append(sockets, parseProcTCP(string(text))...)
	}
	wanted := map[netip.AddrPort]bool{}
	lab := Facts{Settings: s.Settings, Topology: s.Topology}
	for _, port := range lab.ports() {
		for _, sock := range sockets {
			if int(sock.addr.Port()) == port.number && binds(sock.addr.Addr()) {
				wanted[sock.addr] = true
			}
		}
	}
	holders := map[string]Process{}
	for _, sock := range sockets {
		if wanted[sock.addr] {
			holders["socket:["+sock.inode+"]"] = Process{}
		}
	}
	if err := findHolders(ctx, holders); err != nil {
		return nil, err
	}
	listeners := make([]Listener, 0, len(sockets))
	for _, sock := range sockets {
		listeners = append(listeners, Listener{Addr: sock.addr, Holder: holders["socket:["+sock.inode+"]"]})
	}
	return listeners, nil
}

// findHolders fills in which processes have the given sockets. A socket of another user's process stays without.
func findHolders(ctx context.Context, sockets map[string]Process) error {
	missing := len(sockets)
	if missing == 0 {
		return nil
	}
	err := eachDescriptor(ctx, func(proc, target string) bool {
		if known, wanted := sockets[target]; wanted && known.PID == 0 {
			sockets[target] = process(proc)
			missing--
		}
		return missing > 0
	})
	if errors.Is(err, ErrNoAnswer) {
		return err
	}
	return nil // without /proc/PID no holder is found
}

func process(proc string) Process {
	var p Process
	p.PID, _ = strconv.Atoi(filepath.Base(proc)) // it is named by its number
	if text, err := os.ReadFile(filepath.Join(proc, "comm")); err == nil {
		p.Name = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile(filepath.Join(proc, "cmdline")); err == nil {
		p.Command = strings.ReplaceAll(strings.TrimRight(string(text), "\x00"), "\x00", " ")
	}
	return p
}

func (s *sources) processor(ctx context.Context) (Processor, error) {
	if s.Settings.Provider == settings.ProviderDocker {
		return Processor{}, ErrNotLooked
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return Processor{}, err
	}
	p := parseCPUInfo(string(text))
	// It fails when it finds none, and need not be installed.
	if out, err := output(ctx, "systemd-detect-virt", "--vm"); err == nil {
		p.Guest, p.Hypervisor = true, strings.TrimSpace(out)
	}
	return p, nil
}

// The kernel's numbers for KVM: see its Documentation/virt/kvm/api.rst.
const (
	kvmGetAPIVersion = 0xae00
	kvmCreateVM      = 0xae01
	kvmAPIVersion    = 12
)

func (s *sources) kvm(context.Context) (KVM, error) {
	if s.Settings.Provider != providerLibvirt && s.Settings.Provider != providerVirtualBox {
		return KVM{}, ErrNotLooked
	}
	var k KVM
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		if _, err := os.Stat(filepath.Join("/sys/module", module)); err == nil {
			k.Modules = append(k.Modules, module)
		}
	}
	if text, err := os.ReadFile("/sys/module/kvm/parameters/enable_virt_at_load"); err == nil {
		k.Keeps = strings.TrimSpace(string(text)) == "Y"
	}
	k.Opened, k.Trouble = tryKVM("/dev/kvm")
	return k, nil
}

// tryKVM makes a virtual machine, without a processor or memory, and drops it: there are hosts that have the device and
// can do nothing with it.
func tryKVM(device string) (opened bool, trouble error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	api, err := unix.IoctlRetInt(fd, kvmGetAPIVersion)
	if err != nil {
		return true, fmt.Errorf("%s is not KVM's: %w", device, err)
	}
	if api != kvmAPIVersion {
		return true, fmt.Errorf("%s speaks version %d of KVM's API, not %d", device, api, kvmAPIVersion)
	}
	vm, err := unix.IoctlRetInt(fd, kvmCreateVM)
	if err != nil {
		return true, fmt.Errorf("%s makes no virtual machine: %w", device, err)
	}
	unix.Close(vm) //nolint:errcheck // nothing was written
	return true, nil
}

// vboxModule: without it VirtualBox starts no machine.
func vboxModule() bool {
	_, err := os.Stat("/sys/module/vboxdrv")
	return err == nil
}
