package fault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swarmlab/swarmlab/agents/engine"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	node := filesystem{device: 1, kind: unix.EXT4_SUPER_MAGIC, free: 9000 * mib, reserve: 500 * mib}
	changed := func(change func(*filesystem)) filesystem {
		fs := node
		change(&fs)
		return fs
	}
	host := changed(func(fs *filesystem) { fs.device = 2 })
	own := changed(func(fs *filesystem) { fs.device, fs.reserve = 3, 0 })
	memory := filesystem{device: 4, kind: unix.TMPFS_MAGIC, free: 32 * mib}
	for _, c := range []struct {
		name                 string
		shared               bool
		volume, parent, node filesystem
		want                 int64
		refused              string
	}{
		{name: "a machine's disk", volume: node, parent: node, node: node, want: node.free},
		{
			name: "a machine's disk without a reserve", volume: changed(func(fs *filesystem) { fs.reserve = 63 * mib }), parent: node, node: node,
			refused: "holds back 63 MiB for root; it takes 64 MiB",
		},
		{name: "a full one", volume: changed(func(fs *filesystem) { fs.free = mib }), parent: node, node: node, refused: "full already"},
		{name: "another disk of a machine", volume: host, parent: host, node: node, refused: "neither"},
		{name: "a volume's own", volume: own, parent: node, node: node, want: own.free},
		{name: "of a kind unknown", volume: changed(func(fs *filesystem) { fs.device, fs.kind = 3, 0x6969 }), parent: node, node: node, refused: "0x6969"},
		{name: "a host's disk", shared: true, volume: host, parent: host, node: node, refused: "this node's host"},
		{
			name: "a host's disk of any kind", shared: true, volume: changed(func(fs *filesystem) { fs.device, fs.kind = 2, 1 }), parent: host, node: node,
			refused: "this node's host",
		},
		{name: "a host's disk, like the node's", shared: true, volume: node, parent: node, node: node, refused: "this node's host"},
		{name: "a host's other disk", shared: true, volume: own, parent: host, node: node, refused: "this node's host"},
		{name: "memory", shared: true, volume: memory, parent: host, node: node, want: memory.free},
		{name: "memory of a machine", volume: memory, parent: node, node: node, want: memory.free},
		{name: "all memory", volume: filesystem{device: 4, kind: unix.TMPFS_MAGIC, free: 300 * mib}, parent: node, node: node, refused: "300 MiB of it"},
		{name: "the node's memory", volume: memory, parent: memory, node: memory, refused: "the node's memory"},
		{name: "the node's memory, shared", shared: true, volume: memory, parent: memory, node: memory, refused: "this node's host"},
	} {
		got, err := HostDisk{Shared: c.shared}.room(c.volume, c.parent, c.node)
		if got != c.want || (c.refused == "") != (err == nil) || err != nil && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %d, %v; want %d or %q", c.name, got, err, c.want, c.refused)
		}
	}
}

func TestDataVolume(t *testing.T) {
	t.Parallel()
	for want, mounts := range map[string][]engine.Mount{
		"":     {{Source: "/etc/swarmlab/x", Target: "/x"}, {Volume: "ro", Target: "/ro", ReadOnly: true}},
		"data": {{Source: "/etc/swarmlab/x", Target: "/x"}, {Volume: "ro", Target: "/ro", ReadOnly: true}, {Volume: "data", Target: "/data"}},
	} {
		if got := dataVolume(mounts); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A small file system in memory is filled and emptied, where this test may make one.
func TestHostDisk(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "volume")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	disk := HostDisk{Node: "/"}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=8m"); err != nil {
		t.Skip("no file system of its own here: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	path := filepath.Join(folder, fillPrefix+"01234567")
	room, err := disk.Room(folder)
	if err != nil || room != 8<<20 {
		t.Fatalf("%d bytes of room, %v", room, err)
	}
	for range 2 { // the second has nothing left to take
		err := disk.Fill(t.Context(), path)
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	size, free, _, err := disk.Look(path)
	if err != nil || size < 7<<20 || free > full {
		t.Errorf("a file of %d bytes leaves %d, %v", size, free, err)
	}
	if _, err := disk.Room(folder); !errors.Is(err, ErrRefused) {
		t.Errorf("a full disk can be filled: %v", err)
	}
	for range 2 {
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel counts what is free again a moment later.
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
		size, free, _, err = disk.Look(path)
		if size == -1 && free == 8<<20 && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after it: a file of %d bytes leaves %d, %v", size, free, err)
		}
	}
	if _, _, _, err := disk.Look(filepath.Join(folder, "gone", "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a folder that is gone: %v", err)
	}
}

// Nothing of a disk that is the test's own machine's is ever taken for a node's that may be filled.
func TestASharedDiskIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := (HostDisk{Shared: true, Node: "/"}).Fill(t.Context(), filepath.Join(folder, fillPrefix+"01234567")); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}
