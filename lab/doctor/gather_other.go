//go:build !linux && !darwin

package doctor

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"syscall"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

var errUnknown = errors.New("not known on " + runtime.GOOS)

func release() string { return "" }

func uidOf(_ fs.FileInfo, unknown int) int { return unknown }

func (s *sources) memory(context.Context) (Memory, error) {
	if s.Settings.Provider != settings.ProviderDocker {
		return Memory{}, errUnknown
	}
	e, err := s.engine()
	return Memory{Total: e.MemTotal, Where: "the engine's virtual machine"}, err
}

func (s *sources) disks(context.Context) ([]Disk, error) { return nil, errUnknown }

func inotify(context.Context) (Inotify, error) { return Inotify{}, errUnknown }

func kernel(context.Context) (map[Feature]FeatureState, error) { return nil, errUnknown }

func routes(context.Context) ([]Route, error) { return nil, errUnknown }

func (s *sources) listeners(ctx context.Context) ([]Listener, error) { return s.bindable(ctx) }

func alone() *syscall.SysProcAttr { return nil }

func (s *sources) processor(context.Context) (Processor, error) { return Processor{}, errUnknown }

func (s *sources) kvm(context.Context) (KVM, error) { return KVM{}, errUnknown }

func vboxModule() bool { return true }

func writable(string) error { return nil }
