// Package balancer reads what the lab's load balancer, HAProxy, says of the servers behind it, by the statistics page that it serves on the
// same port as the voting page. It changes nothing.
package balancer

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

const (
	user = "stats"
	// backend holds the voting app's servers; it is called like their service in Consul.
	backend = "web-vote-app"
	// maxPage bounds what is read, in bytes.
	maxPage = 1 << 20
)

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
	req.SetBasicAuth(user, b.password)
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
	return parse(string(page))
}

// parse reads HAProxy's statistics as CSV (its Management Guide, section 9.1).
func parse(page string) (map[string]bool, error) {
	text, ok := strings.CutPrefix(page, "# ")
	if !ok {
		return nil, errors.New("the balancer's answer is no table of statistics")
	}
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = -1 // the last, empty column comes and goes
	rows, err := reader.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("the balancer's table of statistics cannot be read: %w", err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"pxname", "svname", "status"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("the balancer's table of statistics has no column %s", name)
		}
	}
	servers := map[string]bool{}
	for _, row := range rows[1:] {
		if len(row) <= max(column["pxname"], column["svname"], column["status"]) || row[column["pxname"]] != backend {
			continue
		}
		switch name := row[column["svname"]]; name {
		case "", "BACKEND", "FRONTEND":
		default:
			// "UP", or "UP 1/2" on its way down: voters are sent there all the same.
			servers[name] = strings.HasPrefix(row[column["status"]], "UP")
		}
	}
	return servers, nil
}
