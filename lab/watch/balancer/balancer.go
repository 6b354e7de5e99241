// Package balancer reads what the lab's load balancer, HAProxy, says of the servers behind it, by the statistics page that it serves on the
// same port as the voting page. It changes nothing.
package balancer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/haproxystats"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// maxPage bounds what is read, in bytes.
const maxPage = 1 << 20

// Balancer is asked again and again, over one connection. Safe for concurrent use.
type Balancer struct {
	url, password string
	client        *http.Client
}

// Open prepares the questions to a lab's balancer, whose password is on this host. Close it.
func Open(lab *settings.Lab) (*Balancer, error) {
	password, err := os.ReadFile(lab.Path(filepath.FromSlash(pki.StatsPasswordFile)))
	if err != nil {
		return nil, fmt.Errorf("read a secret of the lab: %w", err)
	}
	return &Balancer{
		url: lab.VotingURL() + "haproxy?stats;csv", password: strings.TrimSpace(string(password)), client: &http.Client{Transport: &http.Transport{}},
	}, nil
}

// Close closes the connection.
func (b *Balancer) Close() error {
	b.client.CloseIdleConnections()
	return nil
}

// Servers returns, by frontend, whether the balancer sends it voters.
func (b *Balancer) Servers(ctx context.Context) (map[string]bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the balancer: %w", err)
	}
	req.SetBasicAuth(contract.StatsUser, b.password)
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the balancer: %w", err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask the balancer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("ask the balancer: it answers %s", resp.Status)
	}
	table, err := haproxystats.Parse(string(page), contract.VoteApp)
	if err != nil {
		return nil, fmt.Errorf("ask the balancer: %w", err)
	}
	servers := make(map[string]bool, len(table))
	for _, s := range table {
		servers[s.Name] = s.Up
	}
	return servers, nil
}
