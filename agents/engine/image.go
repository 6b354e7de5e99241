package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Image is an image in the engine's store.
type Image struct {
	ID     string
	Labels map[string]string
}

// Image returns the image that a reference means in the engine's own store.
func (e *Engine) Image(ctx context.Context, ref string) (Image, error) {
	in, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return Image{}, failed("look up image", ref, err)
	}
	out := Image{ID: in.ID}
	if in.Config != nil {
		out.Labels = in.Config.Labels
	}
	return out, nil
}

// Load reads images from a `docker save` archive into the engine's store.
func (e *Engine) Load(ctx context.Context, archive io.Reader) error {
	response, err := e.api.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return failed("load an image archive", "", err)
	}
	return failed("load an image archive", "", drain(response.Body))
}

// Pull fetches an image from its registry.
func (e *Engine) Pull(ctx context.Context, ref string) error {
	body, err := e.api.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return failed("pull image", ref, err)
	}
	return failed("pull image", ref, drain(body))
}

// Build builds an image from a tar stream with the folder's content, Dockerfile at its root, by the classic builder:
// it is there in every engine, with or without buildx. A Dockerfile that asks for the build argument [timescale.Variable] is told the machine's.
func (e *Engine) Build(ctx context.Context, ref string, folder io.Reader, labels map[string]string) error {
	factor := strconv.Itoa(timescale.Factor())
	response, err := e.api.ImageBuild(ctx, folder, build.ImageBuildOptions{
		Tags: []string{ref}, Labels: labels, BuildArgs: map[string]*string{timescale.Variable: &factor},
		Remove: true, ForceRemove: true, Version: build.BuilderV1,
	})
	if err != nil {
		return failed("build image", ref, err)
	}
	return failed("build image", ref, drain(response.Body))
}

// RemoveImage removes an image by reference or id, with every container's consent: one in use is ErrConflict.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	_, err := e.api.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
	return failed("remove image", ref, err)
}

// SameReference reports whether two image references mean the same: "redis:8.0" and its form with registry and repository in
// full, for example. References that cannot be parsed are the same when they are equal.
func SameReference(a, b string) bool { return Reference(a) == Reference(b) }

// Reference returns an image reference in full.
func Reference(ref string) string {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return ref
	}
	return named.String()
}

// drain reads the progress messages of a load, pull or build to their end: only that end means done, and the first
// error message in them is the operation's.
func drain(body io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, body.Close()) }()
	messages := json.NewDecoder(body)
	last := ""
	for {
		var m struct {
			Stream      string `json:"stream"`
			ErrorText   string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("the engine broke off: %w", err)
		}
		if s := strings.TrimSpace(m.Stream); s != "" {
			last = s
		}
		if m.ErrorText == "" {
			m.ErrorText = m.ErrorDetail.Message
		}
		if m.ErrorText != "" {
			if last != "" {
				return fmt.Errorf("%s (at: %s)", m.ErrorText, last)
			}
			return errors.New(m.ErrorText)
		}
	}
}
