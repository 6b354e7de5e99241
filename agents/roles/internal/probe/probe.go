// Package probe is how the lab's own roles look whether their containers work: from the node, through the ports that are published on its
// loopback address. It judges nothing.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// within is what a whole check may take. The agent waits a little longer, for role.CheckTimeout; an answer after that would not reach it.
var within = timescale.Scale(2 * time.Second)

// Secret reads one of the node's secrets.
func Secret(dir, name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("secret %s: %w; `vagrant provision NODE` brings it", name, err)
	}
	return string(bytes.TrimSpace(content)), nil
}

// Prober asks over HTTP. Each question opens a connection of its own: an old one could still lead to a container that is gone.
type Prober struct {
	// Within is what a whole check may take.
	Within time.Duration

	http *http.Client
}

// NewProber makes a prober that gives up before the agent does.
func NewProber() *Prober {
	return &Prober{Within: within, http: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Bound bounds a check.
func (p *Prober) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.Within)
}

// Get returns the body of a page that answers 200, and waits for it as long as ctx lasts. The error of another answer carries the first line of its body: the app's
// /healthz says there what is wrong.
func (p *Prober) Get(ctx context.Context, url string, headers ...func(*http.Request)) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		h(req)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, Unreachable(req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, Unreachable(req.URL.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		if len(line) > 300 || strings.HasPrefix(line, "<") || line == "" {
			return nil, fmt.Errorf("%s answers %s", req.URL.Host+req.URL.Path, resp.Status)
		}
		return nil, errors.New(strings.ToValidUTF8(line, "�"))
	}
	return body, nil
}

// Healthz asks a container of the voting app whether it can work; the error says why not.
func (p *Prober) Healthz(ctx context.Context, address string) error {
	_, err := p.Get(ctx, "http://"+address+"/healthz")
	return err
}

// Unreachable words the errors of connections that people meet most.
func Unreachable(address string, err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on %s", address)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Errorf("no answer from %s in time", address)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		// Docker's proxy accepts for a container that does not listen (yet).
		return fmt.Errorf("%s hangs up", address)
	}
	return fmt.Errorf("%s: %w", address, err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
