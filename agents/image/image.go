// Package image gets images into a node's engine: stock images from the engine's own store, else from the lab's bundle,
// else from a registry, so that a lab without a registry lacks nothing; and the lab's own images by building them
// from their folders on the node.
//
// It knows folders, archives and image references; which images a node needs, and when, is not its business.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// Store is the part of an engine that keeps images.
type Store interface {
	// Image returns engine.ErrNotFound for an image that is not there.
	Image(ctx context.Context, ref string) (engine.Image, error)
	Load(ctx context.Context, archive io.Reader) error
	Pull(ctx context.Context, ref string) error
	Build(ctx context.Context, ref string, folder io.Reader, labels map[string]string) error
}

// Source gets images. It is safe for concurrent use.
type Source struct {
	store  Store
	bundle string
	app    string

	mu sync.Mutex
	// indexed and hashed remember what was read of files that did not change since.
	indexed map[string]indexEntry
	hashed  map[string]hashEntry
}

var _ reconcile.Images = (*Source)(nil)

// New returns a source that fills a store from the archives (*.tar) in the folder bundle and builds from the folders in
// app.
func New(store Store, bundle, app string) *Source {
	return &Source{
		store: store, bundle: bundle, app: app,
		indexed: map[string]indexEntry{}, hashed: map[string]hashEntry{},
	}
}

// Provide brings a stock image into the store, unless it is there.
func (s *Source) Provide(ctx context.Context, ref string) error {
	_, err := s.store.Image(ctx, ref)
	if !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	archive, bundleErr := s.find(ref)
	if archive != "" {
		if bundleErr = s.load(ctx, archive, ref); bundleErr == nil {
			return nil
		}
	}
	if pullErr := s.store.Pull(ctx, ref); pullErr != nil {
		return fmt.Errorf("image %s is not in the engine, and could not be fetched: %w; %w; "+
			"fill the bundle: `make bundle`", ref, bundleErr, pullErr)
	}
	return nil
}

func (s *Source) load(ctx context.Context, archive, ref string) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("load %s: %w", ref, err)
	}
	defer func() { _ = file.Close() }()
	if err := s.store.Load(ctx, file); err != nil {
		return fmt.Errorf("load %s from %s: %w", ref, archive, err)
	}
	if _, err := s.store.Image(ctx, ref); err != nil {
		return fmt.Errorf("%s was loaded and has no %s in it: %w", archive, ref, err)
	}
	return nil
}

// Build builds an image from a folder below the app folder. Beside the labels given it gets one with the folder's hash.
func (s *Source) Build(ctx context.Context, ref, folder string, labels map[string]string) error {
	hash, err := s.Hash(folder)
	if err != nil {
		return err
	}
	all := map[string]string{reconcile.LabelContext: hash}
	for k, v := range labels {
		all[k] = v
	}
	root := filepath.Join(s.app, folder)
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(root, writer)
		_ = writer.CloseWithError(err)
		packed <- err
	}()
	err = s.store.Build(ctx, ref, reader, all)
	_ = reader.Close()
	// The engine's complaint about a broken stream only repeats what broke it.
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		return fmt.Errorf("build %s: %w", ref, packErr)
	}
	if err != nil {
		return fmt.Errorf("build %s from %s: %w", ref, root, err)
	}
	return nil
}
