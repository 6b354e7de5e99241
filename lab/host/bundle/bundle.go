// Package bundle makes the lab's bundle: the stock images (Redis, Postgres, HAProxy, Consul) as files from which each
// node's engine loads them, so that a lab comes up on a train, in a hotel or behind a registry's rate limit.
//
// An image comes from its registry where that answers, for the nodes' platform only. Else it is made here: Redis,
// Postgres and HAProxy from Debian's packages, unpacked into a root of their own (vagrant/images/NAME/rootfs.sh) and given
// the stock image's user, entrypoint, environment and volumes; Consul is compiled as a Go tool of a module of its own
// (vagrant/images/consul). Neither way needs a container engine, and foreign architectures work, because nothing of the
// image is executed. Each file has a record next to it that tells what it was made from; what is up to date is left alone.
//
// The package knows images and where they come from. It must not know nodes, agents or engines.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Options say for whom the bundle is made.
type Options struct {
	// Root is the clone's folder; the bundle goes to .lab/bundle/linux-ARCH below it.
	Root string
	// Arch is the nodes' architecture in Go's words; empty means the host's.
	Arch string
	// Offline leaves the registries alone.
	Offline bool
	// Progress, when set, is told what is being done for an image. Images are made side by side, but it is called by
	// one at a time.
	Progress func(image, state string)
}

// Image is one image of the bundle.
type Image struct {
	// Name of the image's files: "redis".
	Name string
	// Reference is the name under which engines know the image: "redis:8.0".
	Reference string
	// Path of the tar file, as `docker load` takes it.
	Path string
	// Source is where it came from.
	Source Source
	// UpToDate is true when there was nothing to do.
	UpToDate bool
}

// Source is where an image of the bundle came from.
type Source string

// The sources, in the order in which they are tried.
const (
	SourceRegistry Source = "registry"
	SourceBuilt    Source = "built"
)

// Dir is the folder of the bundle for an architecture within the clone.
func Dir(root, arch string) string {
	return filepath.Join(root, ".lab", "bundle", "linux-"+arch)
}

// Make brings the bundle up to date and returns its images in a fixed order. The images that could not be made are
// reported together in the error; those that could are there, and returned, all the same.
func Make(ctx context.Context, o Options) ([]Image, error) {
	if o.Arch == "" {
		o.Arch = runtime.GOARCH
	}
	dir := Dir(o.Root, o.Arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the bundle's folder: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		stocks = stockImages()
		images = make([]Image, len(stocks))
		errs   = make([]error, len(stocks))
	)
	for i, s := range stocks {
		wg.Go(func() {
			m := maker{
				stock: s, root: o.Root, dir: dir, work: filepath.Join(dir, "."+s.Name), arch: o.Arch, offline: o.Offline,
				progress: func(state string) {
					if o.Progress == nil {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					o.Progress(s.Name, state)
				},
			}
			images[i], errs[i] = m.make(ctx)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("image %s: %w", s.Reference, errs[i])
				m.progress("failed")
			}
		})
	}
	wg.Wait()
	made := make([]Image, 0, len(images))
	for i, image := range images {
		if errs[i] == nil {
			made = append(made, image)
		}
	}
	return made, errors.Join(errs...)
}

// maker makes one image.
type maker struct {
	stock stock
	root  string
	dir   string
	// work is a folder for what is needed on the way. It is emptied first, as an attempt that was killed leaves it behind.
	work     string
	arch     string
	offline  bool
	progress func(state string)
}

func (m *maker) make(ctx context.Context) (Image, error) {
	image := Image{Name: m.stock.Name, Reference: m.stock.Reference, Path: filepath.Join(m.dir, m.stock.Name+".tar")}
	recipe, err := m.stock.recipeHash(m.root, m.arch)
	if err != nil {
		return Image{}, err
	}
	wanted := map[Source]string{SourceRegistry: m.stock.referenceHash(m.arch), SourceBuilt: recipe}

	if rec, ok := readRecord(image.Path); ok && rec.Reference == m.stock.Reference && rec.InputHash == wanted[rec.Source] {
		image.Source, image.UpToDate = rec.Source, true
		m.progress("up to date")
		return image, nil
	}

	if err := os.RemoveAll(m.work); err != nil {
		return Image{}, fmt.Errorf("clear what an earlier attempt left: %w", err)
	}
	if err := os.Mkdir(m.work, 0o755); err != nil {
		return Image{}, fmt.Errorf("make a folder for the work: %w", err)
	}
	defer os.RemoveAll(m.work) //nolint:errcheck // the next attempt does, too

	start := time.Now()
	digest := ""
	image.Source = SourceRegistry
	unreachable := errors.New("registries are not asked")
	if !m.offline {
		m.progress("asking the registry")
		digest, unreachable = m.pull(ctx, image.Path)
	}
	if unreachable != nil {
		if ctx.Err() != nil {
			return Image{}, ctx.Err()
		}
		image.Source = SourceBuilt
		m.progress(m.stock.Build.describe())
		if err := m.build(ctx, image.Path); err != nil {
			return Image{}, fmt.Errorf("not from a registry (%w), and not made here: %w", unreachable, err)
		}
	}
	rec := record{Reference: m.stock.Reference, Source: image.Source, InputHash: wanted[image.Source], Digest: digest}
	if err := rec.write(image.Path); err != nil {
		return Image{}, err
	}
	m.progress(fmt.Sprintf("%s in %s", map[Source]string{SourceRegistry: "pulled", SourceBuilt: "built"}[image.Source],
		time.Since(start).Round(100*time.Millisecond)))
	return image, nil
}
