package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/inherit"
)

// Deadlines. All is asked at once, so a patience is the longest that one answer may take. graceTime later everything
// ends, whatever a file system or a grandchild of a command does.
const (
	quickTime   = 1100 * time.Millisecond
	patientTime = 30 * time.Second
	graceTime   = 250 * time.Millisecond
	// pipeTime is how long a command's pipes may stay open after its end: VBoxManage leaves a server behind that has
	// them, and on a busy host what was written is read late. What was not read by then would be taken for not said.
	pipeTime = time.Second
)

// gather looks all facts up, side by side: quickly at first, and what had no answer then once more, with patience.
func gather(ctx context.Context, o Options) Facts {
	// A link on the way to the clone must not make its own lab a stranger's: Vagrant labels it with the real path.
	if real, err := filepath.EvalSymlinks(o.Root); err == nil {
		o.Root = real
	}
	facts := Facts{Root: o.Root, Settings: o.Settings, Topology: o.Topology, Host: hostFacts(), Driver: os.Getenv(envDriver)}
	quick, patient := cmp.Or(o.Quick, quickTime), cmp.Or(o.Patient, patientTime)
	silent := look(ctx, &facts, o, quick)
	if len(silent) == 0 || ctx.Err() != nil {
		return facts
	}
	if o.Waiting != nil {
		o.Waiting(fmt.Sprintf("%s did not answer within %s: waiting for up to %s more", console.List(silent), seconds(quick), seconds(patient)))
	}
	// These were looked up as if there were no engine, or as if no image were missing.
	if errors.Is(facts.Engine.Err(), ErrNoAnswer) {
		facts.Memory, facts.Disks = Fact[Memory]{}, Fact[[]Disk]{}
	}
	facts.Registry = Fact[string]{}
	look(ctx, &facts, o, patient)
	return facts
}

// look looks up what has not been, or had no answer, and returns who still did not answer. Only the caller's goroutine
// writes to the facts: one that hangs in a system call may come too late, but never in between.
func look(ctx context.Context, facts *Facts, o Options, patience time.Duration) (silent []string) {
	const engine, host = "the Docker engine", "this host"
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g := &gatherer{patience: patience, found: make(chan func(*Facts)), over: make(chan struct{}), facts: facts}
	s := newSources(asking, o, facts.Host)
	ask(asking, g, engine, func(f *Facts) *Fact[Engine] { return &f.Engine }, shared(s.engine))
	ask(asking, g, engine, func(f *Facts) *Fact[string] { return &f.Endpoint }, endpoint)
	ask(asking, g, engine, func(f *Facts) *Fact[[]Container] { return &f.Containers }, s.containers)
	ask(asking, g, engine, func(f *Facts) *Fact[[]Network] { return &f.Networks }, s.networks)
	ask(asking, g, engine, func(f *Facts) *Fact[[]Volume] { return &f.Volumes }, s.volumes)
	ask(asking, g, engine, func(f *Facts) *Fact[[]string] { return &f.Images }, shared(s.images))
	ask(asking, g, host, func(f *Facts) *Fact[Memory] { return &f.Memory }, s.memory)
	ask(asking, g, host, func(f *Facts) *Fact[[]Disk] { return &f.Disks }, s.disks)
	ask(asking, g, host, func(f *Facts) *Fact[Inotify] { return &f.Inotify }, inotify)
	ask(asking, g, host, func(f *Facts) *Fact[map[Feature]FeatureState] { return &f.Kernel }, kernel)
	ask(asking, g, host, func(f *Facts) *Fact[[]Interface] { return &f.Interfaces }, interfaces)
	ask(asking, g, host, func(f *Facts) *Fact[[]Route] { return &f.Routes }, routes)
	ask(asking, g, host, func(f *Facts) *Fact[[]Listener] { return &f.Listeners }, s.listeners)
	ask(asking, g, "Vagrant", func(f *Facts) *Fact[string] { return &f.Vagrant }, vagrant)
	ask(asking, g, host, func(f *Facts) *Fact[[]string] { return &f.Plugins }, plugins)
	ask(asking, g, host, func(f *Facts) *Fact[Processor] { return &f.Processor }, s.processor)
	ask(asking, g, host, func(f *Facts) *Fact[KVM] { return &f.KVM }, s.kvm)
	ask(asking, g, "libvirt", func(f *Facts) *Fact[Libvirt] { return &f.Libvirt }, shared(s.libvirt))
	ask(asking, g, host, func(f *Facts) *Fact[string] { return &f.Emulator }, s.emulator)
	ask(asking, g, host, func(f *Facts) *Fact[string] { return &f.Dnsmasq }, s.dnsmasq)
	ask(asking, g, "VirtualBox", func(f *Facts) *Fact[VirtualBox] { return &f.VirtualBox }, s.virtualBox)
	ask(asking, g, host, func(f *Facts) *Fact[string] { return &f.Hypervisor }, s.hypervisor)
	ask(asking, g, s.hypervisorName(), func(f *Facts) *Fact[[]MachineNetwork] { return &f.MachineNetworks }, s.machineNetworks)
	ask(asking, g, s.hypervisorName(), func(f *Facts) *Fact[[]Machine] { return &f.Machines }, s.machines)
	ask(asking, g, host, func(f *Facts) *Fact[[]Record] { return &f.Records }, s.records)
	ask(asking, g, "Go", func(f *Facts) *Fact[string] { return &f.Go }, s.goVersion)
	ask(asking, g, host, func(f *Facts) *Fact[string] { return &f.GoNeeded }, s.goNeeded)
	ask(asking, g, "vagrant/node/build.sh", func(f *Facts) *Fact[string] { return &f.NodeImage }, shared(s.nodeImage))
	ask(asking, g, host, func(f *Facts) *Fact[[]string] { return &f.Bundle }, shared(s.bundle))
	ask(asking, g, "sudo", func(f *Facts) *Fact[string] { return &f.Builder }, s.builder)
	ask(asking, g, theRegistry, func(f *Facts) *Fact[string] { return &f.Registry }, s.registry)
	ask(asking, g, host, func(f *Facts) *Fact[[]StateFile] { return &f.State }, s.state)
	g.wait(ctx)
	// One that is out of reach, as on a train, is no reason to wait: the lab does without.
	return slices.DeleteFunc(unique(g.silent), func(who string) bool { return who == theRegistry })
}

const theRegistry = "the registry"

// gatherer collects what one look finds.
type gatherer struct {
	patience time.Duration
	facts    *Facts
	found    chan func(*Facts)
	// over is closed when nobody waits for what is found any more.
	over    chan struct{}
	running int
	// silent are those who have been asked and have not answered.
	silent []string
}

// ask looks up one fact in the background, if it is not known yet. Until it is found the fact says that there was no
// answer.
func ask[T any](ctx context.Context, g *gatherer, who string, at func(*Facts) *Fact[T], find func(context.Context) (T, error)) {
	if fact := at(g.facts); fact.looked && !errors.Is(fact.err, ErrNoAnswer) {
		return
	}
	none := Unknown[T](&noAnswer{who, g.patience})
	*at(g.facts) = none
	g.running++
	g.silent = append(g.silent, who)
	heard := func(f *Facts, fact Fact[T]) {
		if errors.Is(fact.err, ErrNoAnswer) {
			fact = none
		} else {
			i := slices.Index(g.silent, who)
			g.silent = slices.Delete(g.silent, i, i+1)
		}
		*at(f) = fact
	}
	go func() {
		fact := found(find(ctx))
		select {
		case g.found <- func(f *Facts) { heard(f, fact) }:
		case <-g.over:
		}
	}()
}

// wait takes what is found until everything is, or nothing more is to be expected.
func (g *gatherer) wait(ctx context.Context) {
	defer close(g.over)
	late := time.NewTimer(g.patience + graceTime)
	defer late.Stop()
	for range g.running {
		select {
		case set := <-g.found:
			set(g.facts)
		case <-late.C:
			return
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
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = inherit.Environ(os.Environ(), env...)
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

func hostFacts() Host {
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
