package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Deadlines. All is asked at once, so the second is the longest that one command may take, and the first ends
// everything, whatever a file system or a grandchild of a command does.
const (
	wholeTime   = 1350 * time.Millisecond
	commandTime = 1100 * time.Millisecond
	// pipeTime is how long a command's pipes may stay open after its end: VBoxManage leaves a server behind that has
	// them, and on a busy host what was written is read late.
	pipeTime = 200 * time.Millisecond
)

// gather looks all facts up, side by side. Only the caller's goroutine writes to the facts: one that hangs in a system
// call may come too late, but never in between.
func gather(ctx context.Context, o Options) Facts {
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	// A link on the way to the clone must not make its own lab a stranger's: Vagrant labels it with the real path.
	if real, err := filepath.EvalSymlinks(o.Root); err == nil {
		o.Root = real
	}
	facts := Facts{Root: o.Root, Settings: o.Settings, Topology: o.Topology, Host: host(), Driver: os.Getenv(envDriver)}
	g := &gatherer{found: make(chan func(*Facts)), facts: &facts}
	s := newSources(ctx, o, facts.Host)
	start(ctx, g, func(f *Facts) *Fact[Engine] { return &f.Engine }, shared(s.engine))
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Endpoint }, endpoint)
	start(ctx, g, func(f *Facts) *Fact[[]Container] { return &f.Containers }, containers)
	start(ctx, g, func(f *Facts) *Fact[[]Network] { return &f.Networks }, networks)
	start(ctx, g, func(f *Facts) *Fact[[]Volume] { return &f.Volumes }, volumes)
	start(ctx, g, func(f *Facts) *Fact[[]string] { return &f.Images }, shared(s.images))
	start(ctx, g, func(f *Facts) *Fact[Memory] { return &f.Memory }, s.memory)
	start(ctx, g, func(f *Facts) *Fact[[]Disk] { return &f.Disks }, s.disks)
	start(ctx, g, func(f *Facts) *Fact[Inotify] { return &f.Inotify }, inotify)
	start(ctx, g, func(f *Facts) *Fact[map[Feature]FeatureState] { return &f.Kernel }, kernel)
	start(ctx, g, func(f *Facts) *Fact[[]Interface] { return &f.Interfaces }, interfaces)
	start(ctx, g, func(f *Facts) *Fact[[]Route] { return &f.Routes }, routes)
	start(ctx, g, func(f *Facts) *Fact[[]Listener] { return &f.Listeners }, s.listeners)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Vagrant }, vagrant)
	start(ctx, g, func(f *Facts) *Fact[[]string] { return &f.Plugins }, plugins)
	start(ctx, g, func(f *Facts) *Fact[Processor] { return &f.Processor }, s.processor)
	start(ctx, g, func(f *Facts) *Fact[KVM] { return &f.KVM }, s.kvm)
	start(ctx, g, func(f *Facts) *Fact[Libvirt] { return &f.Libvirt }, shared(s.libvirt))
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Emulator }, s.emulator)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Dnsmasq }, s.dnsmasq)
	start(ctx, g, func(f *Facts) *Fact[VirtualBox] { return &f.VirtualBox }, s.virtualBox)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Hypervisor }, s.hypervisor)
	start(ctx, g, func(f *Facts) *Fact[[]MachineNetwork] { return &f.MachineNetworks }, s.machineNetworks)
	start(ctx, g, func(f *Facts) *Fact[[]Machine] { return &f.Machines }, s.machines)
	start(ctx, g, func(f *Facts) *Fact[[]Record] { return &f.Records }, s.records)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Go }, s.goVersion)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.GoNeeded }, s.goNeeded)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.NodeImage }, shared(s.nodeImage))
	start(ctx, g, func(f *Facts) *Fact[[]string] { return &f.Bundle }, shared(s.bundle))
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Builder }, s.builder)
	start(ctx, g, func(f *Facts) *Fact[string] { return &f.Registry }, s.registry)
	start(ctx, g, func(f *Facts) *Fact[[]StateFile] { return &f.State }, s.state)
	g.wait(ctx)
	return facts
}

type gatherer struct {
	facts   *Facts
	found   chan func(*Facts)
	running int
}

// start looks up one fact in the background. Until it is found the fact says that there was no answer.
func start[T any](ctx context.Context, g *gatherer, at func(*Facts) *Fact[T], find func(context.Context) (T, error)) {
	at(g.facts).Err = ErrNoAnswer
	g.running++
	go func() {
		value, err := find(ctx)
		select {
		case g.found <- func(f *Facts) { *at(f) = Fact[T]{value, err} }:
		case <-ctx.Done():
		}
	}()
}

func (g *gatherer) wait(ctx context.Context) {
	for range g.running {
		select {
		case set := <-g.found:
			set(g.facts)
		case <-ctx.Done():
			return
		}
	}
}

// output runs a command and returns what it says. Its output is returned along with an error: some commands say much
// and fail on a detail.
func output(ctx context.Context, name string, args ...string) (string, error) {
	return outputEnv(ctx, nil, name, args...)
}

func outputEnv(ctx context.Context, env []string, name string, args ...string) (string, error) {
	stdout, stderr, err := run(ctx, env, nil, name, args...)
	said, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	if err == nil || said == "" || errors.Is(err, ErrMissing) || errors.Is(err, ErrNoAnswer) {
		return stdout, err
	}
	return stdout, errors.New(said)
}

// run runs a command with additions to the environment; its standard input is empty.
func run(ctx context.Context, env []string, attr *syscall.SysProcAttr, name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = attr
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// A child of the command that keeps its pipes open must not keep us.
	cmd.WaitDelay = pipeTime
	err = cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it ended well, and has told what it had to tell
		return out.String(), errs.String(), nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return "", "", fmt.Errorf("%s: %w", name, ErrMissing)
	case ctx.Err() != nil:
		return "", "", fmt.Errorf("%s %s: %w", name, strings.Join(args[:min(1, len(args))], ""), ErrNoAnswer)
	}
	return out.String(), errs.String(), fmt.Errorf("%s: %w", name, err)
}

// sources are the lookups that share something: an option, or what another one found.
type sources struct {
	Options
	host Host
	// These are asked for by several, and looked up once.
	engine    func() (Engine, error)
	images    func() ([]string, error)
	bundle    func() ([]string, error)
	nodeImage func() (string, error)
	libvirt   func() (Libvirt, error)
}

func newSources(ctx context.Context, o Options, h Host) *sources {
	s := &sources{Options: o, host: h}
	s.engine = sync.OnceValues(func() (Engine, error) { return engine(ctx) })
	s.images = sync.OnceValues(func() ([]string, error) { return images(ctx) })
	s.bundle = sync.OnceValues(func() ([]string, error) { return bundle(o.Root, h.Arch) })
	s.nodeImage = sync.OnceValues(func() (string, error) { return nodeImage(ctx, o.Root) })
	s.libvirt = sync.OnceValues(func() (Libvirt, error) { return s.askLibvirt(ctx) })
	return s
}

// shared gives a shared lookup the form of the others.
func shared[T any](find func() (T, error)) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return find() }
}

func host() Host {
	h := Host{OS: runtime.GOOS, Arch: runtime.GOARCH, UID: os.Geteuid(), Release: release()}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		h.Systemd = true
	}
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		h.Debian = likeDebian(string(text))
	}
	return h
}

func likeDebian(osRelease string) bool {
	for line := range strings.Lines(osRelease) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		for word := range strings.FieldsSeq(strings.Trim(value, `"'`)) {
			if (key == "ID" || key == "ID_LIKE") && (word == "debian" || word == "ubuntu") {
				return true
			}
		}
	}
	return false
}
