package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func engine(ctx context.Context) (Engine, error) {
	out, err := output(ctx, "docker", "info", "--format", jsonFormat)
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrNoAnswer) {
		return Engine{}, err
	}
	// Without an engine docker still prints the form, with the reason in it, and fails or not, by its version.
	info, infoErr := parseEngine(out)
	switch {
	case infoErr == nil:
		return info, nil
	case err != nil:
		return Engine{}, engineError(err.Error())
	}
	return Engine{}, infoErr
}

func endpoint(ctx context.Context) (string, error) {
	if at := os.Getenv("DOCKER_HOST"); at != "" {
		return at, nil
	}
	out, err := output(ctx, "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	return strings.TrimSpace(out), err
}

func (s *sources) containers(ctx context.Context) ([]Container, error) {
	out, err := output(ctx, "docker", "ps", "--all", "--no-trunc", "--format", containerFormat)
	if err != nil {
		return nil, err
	}
	all, err := parseContainers(out)
	for i := range all {
		all[i].Owner = all[i].known(s.Root)
	}
	return all, err
}

func (s *sources) networks(ctx context.Context) ([]Network, error) {
	ids, err := output(ctx, "docker", "network", "ls", "--quiet", "--no-trunc")
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(ids) == "" {
		return nil, nil
	}
	out, err := output(ctx, "docker", append([]string{"network", "inspect", "--format", jsonFormat}, strings.Fields(ids)...)...)
	// It fails if one of the networks has just been removed, after having told of the others.
	if err != nil && (strings.TrimSpace(out) == "" || !strings.Contains(strings.ToLower(err.Error()), "not found")) {
		return nil, err
	}
	all, err := parseNetworks(out)
	for i := range all {
		all[i].Owner = all[i].known(s.Root)
	}
	return all, err
}

func (s *sources) volumes(ctx context.Context) ([]Volume, error) {
	out, err := output(ctx, "docker", "volume", "ls", "--format", volumeFormat)
	if err != nil {
		return nil, err
	}
	all, err := parseVolumes(out)
	for i := range all {
		all[i].Owner = all[i].known(s.Root)
	}
	return all, err
}

func images(ctx context.Context) ([]string, error) {
	out, err := output(ctx, "docker", "image", "ls", "--format", imageFormat)
	return strings.Fields(out), err
}

// nodeImage asks the script that builds it, as the Vagrantfile does.
func nodeImage(ctx context.Context, root string) (string, error) {
	out, err := output(ctx, "bash", filepath.Join(root, "vagrant", "node", "build.sh"), "--tag")
	return strings.TrimSpace(out), err
}

func bundle(root, arch string) ([]string, error) {
	var there []string
	for _, image := range stockImages() {
		info, err := os.Stat(filepath.Join(root, ".lab", "bundle", "linux-"+arch, image.name+".tar"))
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			there = append(there, image.name)
		}
	}
	return there, nil
}

// registryTime is how long registries may take to answer. What hangs on it can do without.
const registryTime = 5 * time.Second

// registry asks the registries that the engine would ask whether they answer, but only when an image is missing.
func (s *sources) registry(ctx context.Context) (string, error) {
	info, err := s.engine()
	if err != nil {
		return "", err
	}
	have := Facts{Settings: s.Settings}
	have.Images, have.NodeImage, have.Bundle = found(s.images()), found(s.nodeImage()), found(s.bundle())
	if !have.Images.known() || !have.missingNodeImage() && len(have.missingImages()) == 0 {
		return "", ErrNotLooked
	}
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	err = ErrNotLooked
	for _, at := range append(info.RegistryConfig.Mirrors, info.IndexServerAddress) {
		host, refused := askRegistry(ctx, at)
		if refused == nil {
			return host, nil
		}
		// One that did not answer may be there.
		if !errors.Is(err, ErrNoAnswer) {
			err = refused
		}
	}
	return "", err
}

// askRegistry: a registry answers its base path, at least by asking for a login.
func askRegistry(ctx context.Context, at string) (string, error) {
	base, err := url.Parse(at)
	if err != nil || base.Host == "" {
		return "", fmt.Errorf("%q is no registry's address", at)
	}
	base.Path = "/v2/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
	if err != nil {
		return "", fmt.Errorf("ask the registry %s: %w", base.Host, err)
	}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("%s: %w", base.Host, ErrNoAnswer)
		}
		// The URL is in the message of *url.Error too; the reason is what counts.
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
		return "", fmt.Errorf("%s: %w", base.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return "", fmt.Errorf("%s answers %s", base.Host, resp.Status)
	}
	return base.Host, nil
}
