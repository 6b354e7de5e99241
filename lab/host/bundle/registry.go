package bundle

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// How long a registry may take before it counts as out of reach. A pull that has begun may take its time.
const (
	dialTimeout   = 3 * time.Second
	answerTimeout = 10 * time.Second
)

// pull saves the image from its registry and returns the digest that the registry has for the reference.
func (m *maker) pull(ctx context.Context, path string) (digest string, err error) {
	ref, err := name.ParseReference(m.stock.Reference)
	if err != nil {
		return "", fmt.Errorf("parse the reference: %w", err)
	}
	image, err := remote.Image(ref,
		remote.WithContext(ctx),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: m.arch}),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(impatient()),
		// Whether it can be reached is wanted to know at once; there is another way.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", ref.Context().RegistryStr(), err)
	}
	hash, err := image.Digest()
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", ref.Context().RegistryStr(), err)
	}
	m.progress("pulling")
	image, err = unpacked(image, m.work)
	if err != nil {
		return "", fmt.Errorf("pull from %s: %w", ref.Context().RegistryStr(), err)
	}
	if err := save(path, m.stock.Reference, image); err != nil {
		return "", fmt.Errorf("pull from %s: %w", ref.Context().RegistryStr(), err)
	}
	return hash.String(), nil
}

// impatient is the usual transport, proxies from the environment included, that gives up early on a silent registry.
func impatient() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       answerTimeout,
		ForceAttemptHTTP2:     true,
	}
}
