//go:build linux || darwin

package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

func uidOf(info fs.FileInfo, unknown int) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return unknown
}

// disks looks at the places that fill up, as far as this host has them.
func (s *sources) disks(context.Context) ([]Disk, error) {
	places := []Disk{{Purpose: ForClone, Path: s.Root}, {Purpose: ForTemp, Path: os.TempDir()}}
	if s.Settings.Provider == settings.ProviderDocker {
		if e, err := s.engine(); err == nil && s.host.OS == "linux" && e.KernelVersion == s.host.Release {
			places = append(places, Disk{Purpose: ForEngine, Path: e.DockerRootDir})
		}
	} else {
		places = append(places, Disk{Purpose: ForVMs, Path: s.machinesDir()})
	}
	var found []Disk
	var errs []error
	for _, d := range places {
		if err := measure(&d); err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, d)
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

// alone gives a command a session without a terminal: libvirt's would ask there for a password, and wait.
func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func measure(d *Disk) error {
	// What does not exist yet, or may not be looked into, is made on its parent's file system.
	for path := d.Path; ; path = filepath.Dir(path) {
		var stat syscall.Stat_t
		var fsys syscall.Statfs_t
		err := syscall.Stat(path, &stat)
		if err == nil {
			err = syscall.Statfs(path, &fsys)
		}
		if err == nil {
			// Not what is kept back for root: where the engine may use it, a quota may still say no.
			d.Free = fsys.Bavail * uint64(fsys.Bsize)
			d.Device = uint64(stat.Dev)
			d.FileSystem = fileSystem(fsys)
			return nil
		}
		if path == filepath.Dir(path) {
			return &fs.PathError{Op: "statfs", Path: d.Path, Err: err}
		}
	}
}

// writable reports why nothing can be made in a folder.
func writable(folder string) error {
	if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write in", Path: folder, Err: err}
	}
	return nil
}
