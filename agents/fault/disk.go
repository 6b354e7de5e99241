package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/swarmlab/swarmlab/agents/engine"
)

// Disk is where volumes lie.
type Disk interface {
	// Room is how many bytes a fault may take of the file system under a folder, so that no ordinary user finds any; ErrRefused with the
	// reason where that is nothing.
	Room(folder string) (int64, error)
	// Fill takes all of it with a file of that path, which is there when it fails as well.
	Fill(ctx context.Context, path string) error
	// Remove removes the file; none is fine.
	Remove(path string) error
	// Look tells how long the file is, in bytes (-1: there is none), and what is left of the file system under it: for anybody, and for
	// root besides.
	Look(path string) (size, free, reserve int64, err error)
}

const (
	// fillPrefix marks the files that fill a disk.
	fillPrefix = ".swarmlab_fault_"
	// full is as many bytes as a file system may have left when it is called full: less than what a database writes at once.
	full = 1 << 20
	// rootReserve is what root, and so the node itself, must be left with.
	rootReserve = 64 << 20
	// memoryMost is how large a file system in memory may be.
	memoryMost = 256 << 20
)

// fill takes the space that a container has for its data.
type fill struct{ container }

func (f fill) prepare(ctx context.Context, s Spec) (Before, error) {
	before, err := f.container.prepare(ctx, s)
	if err != nil {
		return before, err
	}
	have, err := f.Engine.Container(ctx, before.ID)
	if err != nil {
		return before, err
	}
	volume := dataVolume(have.Spec.Mounts)
	if volume == "" {
		return before, fmt.Errorf("%w: %s keeps no data: it has no volume", ErrRefused, s.Container)
	}
	if before.Folder, err = f.Engine.VolumeFolder(ctx, volume); err != nil {
		return before, err
	}
	_, err = f.Disk.Room(before.Folder)
	return before, err
}

// dataVolume is the volume that a container writes to.
func dataVolume(mounts []engine.Mount) string {
	for _, m := range mounts {
		if m.Volume != "" && !m.ReadOnly {
			return m.Volume
		}
	}
	return ""
}

func (f fill) path(r Record) string { return filepath.Join(r.Before.Folder, fillPrefix+r.ID) }

func (f fill) inject(ctx context.Context, r Record) error { return f.Disk.Fill(ctx, f.path(r)) }

func (f fill) observe(_ context.Context, r Record) (string, error) {
	size, free, reserve, err := f.Disk.Look(f.path(r))
	switch {
	case err != nil:
		return "", err
	case size < 0:
		return "", errors.New("there is no file that takes the space")
	case free > full:
		return "", fmt.Errorf("%d KiB are still free", free>>10)
	}
	return fmt.Sprintf("a file of %d MiB leaves %d KiB to anybody, and %d MiB to root", size>>20, free>>10, reserve>>20), nil
}

func (f fill) revert(_ context.Context, r Record) error { return f.Disk.Remove(f.path(r)) }

func (f fill) verifyReverted(ctx context.Context, r Record) error {
	size, free, _, err := f.Disk.Look(f.path(r))
	switch {
	case errors.Is(err, fs.ErrNotExist): // the volume is gone, and the file with it
	case err != nil:
		return err
	case size >= 0:
		return fmt.Errorf("a file of %d MiB still takes the space", size>>20)
	case free <= full:
		return fmt.Errorf("the disk is full of something else: %d KiB are free", free>>10)
	}
	return f.container.verifyReverted(ctx, r)
}

// HostDisk is the node's Disk.
type HostDisk struct {
	// Shared: the node is a container, and its disk that of its host, which is not to be filled.
	Shared bool
	// Node is a folder of the node's own disk.
	Node string
}

var _ Disk = HostDisk{}

// filesystem is what the kernel says of one, in bytes.
type filesystem struct {
	device uint64
	kind   int64
	// free to anybody, and reserve to root besides.
	free, reserve int64
}

func filesystemOf(path string) (filesystem, error) {
	var stat unix.Stat_t
	var space unix.Statfs_t
	if err := unix.Stat(path, &stat); err != nil {
		return filesystem{}, fmt.Errorf("look at %s: %w", path, err)
	}
	if err := unix.Statfs(path, &space); err != nil {
		return filesystem{}, fmt.Errorf("ask for the space at %s: %w", path, err)
	}
	return filesystem{
		device: stat.Dev, kind: int64(space.Type),
		free: bytesOf(space.Bavail, space.Frsize), reserve: bytesOf(space.Bfree-min(space.Bavail, space.Bfree), space.Frsize),
	}, nil
}

func bytesOf(blocks uint64, size int64) int64 {
	if size <= 0 || blocks > math.MaxInt64/uint64(size) {
		return math.MaxInt64
	}
	return int64(blocks) * size
}

// Room looks at the volume's file system, at that of the folder it lies in, and at the node's own.
func (d HostDisk) Room(folder string) (int64, error) {
	volume, err := filesystemOf(folder)
	if err != nil {
		return 0, err
	}
	parent, err := filesystemOf(filepath.Dir(folder))
	if err != nil {
		return 0, err
	}
	node, err := filesystemOf(d.Node)
	if err != nil {
		return 0, err
	}
	return d.room(volume, parent, node)
}

// room decides about the file system of a volume, knowing that of the folder it lies in, and the node's.
func (d HostDisk) room(volume, parent, node filesystem) (int64, error) {
	no := func(format string, args ...any) (int64, error) {
		return 0, fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
	}
	own, memory := volume.device != parent.device && volume.device != node.device, volume.kind == unix.TMPFS_MAGIC
	switch volume.kind {
	case unix.TMPFS_MAGIC, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
	default:
		if !d.Shared {
			return no("the volume's file system is of a kind (%#x) that nobody has tried to fill", volume.kind)
		}
	}
	switch {
	case d.Shared && (!own || !memory):
		return no("the volume lies on the disk of this node's host, which would be full with it; fill that of a virtual machine")
	case volume.free <= full:
		return no("the disk is full already: %d KiB are free", volume.free>>10)
	case !own && volume.device != node.device:
		return no("the volume lies neither on the node's own disk nor on one of its own")
	case memory && !own:
		return no("the volume lies in the node's memory")
	case memory && volume.free > memoryMost:
		return no("the volume lies in memory, and %d MiB of it are too much to take", volume.free>>20)
	case !own && volume.reserve < rootReserve:
		return no("the node's disk holds back %d MiB for root; it takes %d MiB for the node to go on when the disk is full",
			volume.reserve>>20, rootReserve>>20)
	}
	return volume.free, nil
}

// Fill has the file system set aside blocks for a file, without writing them.
func (d HostDisk) Fill(ctx context.Context, path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var length int64
	for ctx.Err() == nil {
		room, err := d.Room(filepath.Dir(path))
		if errors.Is(err, ErrRefused) && length > 0 {
			return nil // nothing is left
		}
		if err != nil {
			return err
		}
		taken, err := allocate(file, length, room)
		if err != nil || taken == 0 {
			return err
		}
		length += taken
	}
	return ctx.Err()
}

// allocate takes so much more space, or as much of it as there is: the file system needs some to remember what is whose.
func allocate(file *os.File, from, size int64) (int64, error) {
	for ; size >= full/4; size /= 2 {
		err := unix.Fallocate(int(file.Fd()), 0, from, size)
		if err == nil {
			return size, nil
		}
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("fill the disk: %w", err)
		}
	}
	return 0, nil
}

// Remove removes the file.
func (d HostDisk) Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

// Look asks the file system.
func (d HostDisk) Look(path string) (size, free, reserve int64, err error) {
	under, err := filesystemOf(filepath.Dir(path))
	if err != nil {
		return 0, 0, 0, err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return -1, under.free, under.reserve, nil
	case err != nil:
		return 0, 0, 0, err
	}
	return info.Size(), under.free, under.reserve, nil
}
