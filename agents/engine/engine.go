// Package engine speaks to the node's Docker engine over its unix socket. It is the only package that imports the
// Docker client, so that a successor of that client replaces one package: everything it takes and returns is made of
// small types of its own.
//
// It performs single operations and reports what the engine said; it knows nothing of roles, plans or stages, keeps no
// state and never tries twice.
//
// # Errors
//
// Every error names the operation and its object, and wraps one of [ErrUnavailable], [ErrNotFound], [ErrConflict] and
// [ErrRefused] where a caller can act upon the difference. A context's error stays visible through errors.Is.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

var (
	// ErrUnavailable: the engine does not answer; everything may work again once it does.
	ErrUnavailable = errors.New("the Docker engine does not answer")
	// ErrNotFound: the object of the operation does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the object is in a state, or has a namesake, that forbids the operation.
	ErrConflict = errors.New("conflict")
	// ErrRefused: the engine understood and will refuse the same request again.
	ErrRefused = errors.New("refused")
)

// Engine is a client of one Docker engine. It is safe for concurrent use.
type Engine struct {
	api *client.Client
	// dial opens a connection that is not pooled; see Ping.
	dial func(ctx context.Context) (net.Conn, error)
}

// Dial returns a client for the engine behind a unix socket, for example "/var/run/docker.sock". It does not connect:
// an engine that is down shows as ErrUnavailable in the operations.
func Dial(socket string) (*Engine, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       6,
		IdleConnTimeout:    90 * time.Second,
	}
	api, err := client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: transport}),
		client.WithHost("unix://"+socket),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fmt.Errorf("engine at %s: %w", socket, err)
	}
	return &Engine{api: api, dial: dial}, nil
}

// Close drops idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Info is what the engine says about itself.
type Info struct {
	Version string
	// RootDir is the engine's data directory.
	RootDir string
	Swarm   Swarm
}

// Info asks the engine about itself and its swarm membership.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return Info{}, failed("ask the engine for its state", "", err)
	}
	return Info{Version: info.ServerVersion, RootDir: info.DockerRootDir, Swarm: swarmOf(info)}, nil
}

// Ping reports whether the engine accepts requests now. It insists on a new connection: an engine that shuts down stops
// listening first and may still answer on connections that it accepted before.
func (e *Engine) Ping(ctx context.Context) error {
	conn, err := e.dial(ctx)
	if err != nil {
		return failed("ping the engine", "", fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
	if err := conn.Close(); err != nil {
		return failed("ping the engine", "", err)
	}
	if _, err := e.api.Ping(ctx); err != nil {
		return failed("ping the engine", "", err)
	}
	return nil
}

// failed wraps an engine's error with what was tried and with the sentinel that tells what to do about it.
func failed(op, object string, err error) error {
	if err == nil {
		return nil
	}
	what := op
	if object != "" {
		what += " " + object
	}
	if kind := kindOf(err); kind != nil && !errors.Is(err, kind) {
		return fmt.Errorf("%s: %w: %w", what, kind, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func kindOf(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	case client.IsErrConnectionFailed(err), brokenConnection(err):
		return ErrUnavailable
	case errdefs.IsNotFound(err):
		return ErrNotFound
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err):
		return ErrConflict
	case errdefs.IsInvalidArgument(err), errdefs.IsNotImplemented(err), errdefs.IsPermissionDenied(err):
		return ErrRefused
	}
	return nil
}

// brokenConnection recognises an engine that went away in the middle of an answer; the client has no type for that.
func brokenConnection(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return true
	}
	text := err.Error()
	return strings.HasSuffix(text, "EOF") || strings.Contains(text, "connection reset by peer") ||
		strings.Contains(text, "broken pipe")
}
