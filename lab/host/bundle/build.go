package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/inherit"
)

// build makes the image here.
func (m *maker) build(ctx context.Context, path string) error {
	layerPath := filepath.Join(m.work, "root.tar")
	var (
		layer plainLayer
		err   error
	)
	if m.stock.Build.GoTool != "" {
		layer, err = m.goRoot(ctx, layerPath)
	} else {
		layer, err = m.debianRoot(ctx, layerPath)
	}
	if err != nil {
		return err
	}
	image, err := newImage(layer, m.stock.Config, m.arch)
	if err != nil {
		return fmt.Errorf("make an image of %s: %w", layerPath, err)
	}
	return save(path, m.stock.Reference, image)
}

// debianRoot unpacks Debian packages into a root and lets the image's rootfs.sh finish it.
func (m *maker) debianRoot(ctx context.Context, path string) (plainLayer, error) {
	command := []string{
		// Extract unpacks and configures nothing, so that no program of the root is run.
		"mmdebstrap", "--variant=extract", "--architectures=" + m.arch,
		"--include=" + strings.Join(append([]string{"base-files", "busybox-static"}, m.stock.Build.Packages...), ","),
		"--aptopt=Apt::Install-Recommends false",
		// /run/postgresql belongs to the image.
		"--skip=cleanup/run",
		"--extract-hook=" + filepath.Join(m.root, imagesDir, m.stock.Name, "rootfs.sh"),
		debianSuite, "-",
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return plainLayer{}, errors.New("mmdebstrap is missing (Debian, Ubuntu: apt-get install mmdebstrap)")
	}
	// Files of other owners in a root take root. Without it mmdebstrap tries a user namespace, which not every host allows.
	environ := inherit.Environ(os.Environ())
	if os.Geteuid() != 0 && exec.CommandContext(ctx, "sudo", "-n", "true").Run() == nil {
		// sudo takes the proxies away.
		command = slices.Concat([]string{"sudo", "-n", "env"}, inherit.ProxiesOf(environ), command)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = environ
	var layer plainLayer
	err := run(cmd, func(stdout io.Reader) (err error) {
		layer, err = newLayer(path, stdout)
		return err
	})
	return layer, err
}

// goRoot compiles a Go tool and lays it into a root of its own, which holds hardly anything else.
func (m *maker) goRoot(ctx context.Context, path string) (plainLayer, error) {
	recipe := filepath.Join(m.root, imagesDir, m.stock.Name)
	tool, entrypoint := filepath.Join(m.work, "tool"), filepath.Join(m.work, "entrypoint")
	modfile, err := m.overlay(ctx, recipe)
	if err != nil {
		return plainLayer{}, err
	}
	build := []string{"build", "-mod=readonly", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w"}
	if modfile != "" {
		build = append(build, "-modfile="+modfile)
	}
	for _, b := range []struct{ binary, pkg string }{{entrypoint, "./entrypoint"}, {tool, m.stock.Build.GoTool}} {
		if err := run(m.goCommand(ctx, recipe, slices.Concat(build, []string{"-o", b.binary, b.pkg})...), nil); err != nil {
			return plainLayer{}, err
		}
	}
	name := filepath.Base(m.stock.Build.GoTool)
	uid, gid := 100, 1000
	files := []file{
		{name: "bin", mode: 0o755},
		{name: "bin/" + name, mode: 0o755, from: tool},
		{name: "bin/entrypoint", mode: 0o755, from: entrypoint},
		{name: "etc", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, data: fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::/%s:/bin/sh\n", name, uid, gid, name)},
		{name: "etc/group", mode: 0o644, data: fmt.Sprintf("root:x:0:\n%s:x:%d:\n", name, gid)},
		{name: "tmp", mode: 0o1777},
		{name: name, mode: 0o755, uid: uid, gid: gid},
		// A fresh volume takes the owner over.
		{name: name + "/data", mode: 0o755, uid: uid, gid: gid},
		{name: name + "/config", mode: 0o755, uid: uid, gid: gid},
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(w, files)) }()
	layer, err := newLayer(path, r)
	r.Close() //nolint:errcheck // ends the writer if the layer failed; never fails
	if err != nil {
		return plainLayer{}, fmt.Errorf("make the root of %s: %w", m.stock.Reference, err)
	}
	return layer, nil
}

// file is one entry of a tar: a folder when it has neither data nor a file to take it from.
type file struct {
	name     string
	mode     int64
	uid, gid int
	data     string
	from     string
}

func writeTar(w io.Writer, files []file) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		if err := writeEntry(tw, f); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, f file) error {
	header := tar.Header{Name: f.name, Mode: f.mode, Uid: f.uid, Gid: f.gid, Typeflag: tar.TypeReg, Size: int64(len(f.data))}
	switch {
	case f.from != "":
		from, err := os.Open(f.from)
		if err != nil {
			return err
		}
		defer from.Close() //nolint:errcheck // only read
		info, err := from.Stat()
		if err != nil {
			return err
		}
		header.Size = info.Size()
		if err := tw.WriteHeader(&header); err != nil {
			return err
		}
		_, err = io.Copy(tw, from)
		return err
	case f.data == "":
		header.Typeflag, header.Name = tar.TypeDir, f.name+"/"
		return tw.WriteHeader(&header)
	default:
		if err := tw.WriteHeader(&header); err != nil {
			return err
		}
		_, err := io.WriteString(tw, f.data)
		return err
	}
}

// run runs a command; read, when given, reads its output to the end. The error ends with what the command said last.
func run(cmd *exec.Cmd, read func(stdout io.Reader) error) error {
	// The whole process group must go when the context ends, or a compiler lives on without its driver.
	ownGroup(cmd)
	said := &tail{limit: 2000}
	cmd.Stderr = said
	fail := func(err error) error {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(said.data))
	}
	if read == nil {
		cmd.Stdout = said
		if err := cmd.Run(); err != nil {
			return fail(err)
		}
		return nil
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	readErr := read(stdout)
	if readErr != nil {
		stdout.Close() // lets a command that still writes end
	}
	if err := cmd.Wait(); err != nil {
		return fail(errors.Join(err, readErr))
	}
	return readErr
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int // bytes
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}
