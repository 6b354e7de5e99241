package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// plainLayer is a layer that lies in a file as an uncompressed tar, and is also written that way: engines load it in half
// the time, and the bundle never leaves the machine.
type plainLayer struct {
	path   string
	digest v1.Hash
	size   int64
}

var _ v1.Layer = plainLayer{}

// Digest and DiffID are the same, as nothing is compressed.
func (l plainLayer) Digest() (v1.Hash, error) { return l.digest, nil }
func (l plainLayer) DiffID() (v1.Hash, error) { return l.digest, nil }

func (l plainLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l plainLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }

func (l plainLayer) Size() (int64, error)                { return l.size, nil }
func (l plainLayer) MediaType() (types.MediaType, error) { return types.DockerUncompressedLayer, nil }

// newLayer makes a layer of the tar that r yields; path is the file in which it will lie.
func newLayer(path string, r io.Reader) (plainLayer, error) {
	f, err := os.Create(path)
	if err != nil {
		return plainLayer{}, err
	}
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(f, hash), r)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return plainLayer{}, err
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(hash.Sum(nil))}
	return plainLayer{path: path, digest: digest, size: size}, nil
}

// newImage makes an image of one layer.
func newImage(layer v1.Layer, config v1.Config, arch string) (v1.Image, error) {
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", arch, config
	return mutate.ConfigFile(image, file)
}

// unpacked returns the image with its layers uncompressed; they are fetched into dir.
func unpacked(image v1.Image, dir string) (v1.Image, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	plain := make([]v1.Layer, len(layers))
	for i, layer := range layers {
		if plain[i], err = unpack(layer, filepath.Join(dir, fmt.Sprintf("layer%d.tar", i))); err != nil {
			return nil, err
		}
	}
	image, err = mutate.AppendLayers(empty.Image, plain...)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, config)
}

func unpack(layer v1.Layer, path string) (v1.Layer, error) {
	r, err := layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return newLayer(path, r)
}

// save writes an image as a file for `docker load`.
func save(path, reference string, image v1.Image) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("parse the reference: %w", err)
	}
	return replace(path, func(path string) error { return tarball.WriteToFile(path, tag, image) })
}
