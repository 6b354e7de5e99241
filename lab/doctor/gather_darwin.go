package doctor

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

var errElsewhere = errors.New("macOS has no such thing; the engine's virtual machine has its own")

func release() string { return "" }

// fileSystem: the engine's data is never on a file system of macOS.
func fileSystem(syscall.Statfs_t) string { return "" }

func (s *sources) memory(ctx context.Context) (Memory, error) {
	if s.Settings.Provider == settings.ProviderDocker {
		e, err := s.engine()
		return Memory{Total: e.MemTotal, Where: "the engine's virtual machine"}, err
	}
	out, err := output(ctx, "sysctl", "-n", "hw.memsize")
	if err != nil {
		return Memory{}, err
	}
	total, err := strconv.ParseUint(strings.TrimSpace(out), 10, 64)
	return Memory{Total: total, Where: "this host"}, err
}

func inotify(context.Context) (Inotify, error) { return Inotify{}, errElsewhere }

func kernel(context.Context) (map[Feature]FeatureState, error) { return nil, errElsewhere }

func routes(ctx context.Context) ([]Route, error) {
	out, err := output(ctx, "netstat", "-rn", "-f", "inet")
	return parseNetstatRoutes(out), err
}

func (s *sources) listeners(ctx context.Context) ([]Listener, error) {
	out, err := output(ctx, "lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-F", "pcn")
	if errors.Is(err, ErrNoAnswer) {
		return nil, err
	}
	// It exits with 1 when there is nothing to tell, and when it may not tell all.
	if found := parseLsof(out); len(found) > 0 || err == nil {
		return found, nil
	}
	return s.bindable(ctx)
}

// processor: macOS brings its own hypervisor, on every processor that it runs on today.
func (s *sources) processor(context.Context) (Processor, error) { return Processor{}, ErrNotLooked }

func (s *sources) kvm(context.Context) (KVM, error) { return KVM{}, ErrNotLooked }

func vboxModule() bool { return true }
