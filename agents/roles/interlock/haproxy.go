package interlock

import (
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"text/template"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/roles/internal/parts"
)

// The template's own delimiters are not {{ }}: those are for the agent, which puts the secrets in.
//
//go:embed haproxy.cfg.tmpl
var configTemplate string

//go:embed unavailable.html
var unavailablePage string

// server is a line of HAProxy's configuration.
type server struct {
	Name    string
	Address netip.AddrPort
}

// notInName is what HAProxy takes in no name.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_.:-]+`)

// servers makes HAProxy's servers of the known instances: sorted, named after their node, and without those that make no sense (what is in
// Consul comes from outside).
func servers(instances []*rolev1.Instance) []server {
	byAddress := map[netip.AddrPort]server{}
	for _, i := range instances {
		addr, err := netip.ParseAddr(i.GetAddress())
		if i.GetService() != parts.VoteService || err != nil || !addr.Is4() || i.GetPort() < 1 || i.GetPort() > 65535 {
			continue
		}
		s := server{Name: notInName.ReplaceAllString(i.GetNode(), "-"), Address: netip.AddrPortFrom(addr, uint16(i.GetPort()))}
		if s.Name == "" || len(s.Name) > 64 {
			s.Name = notInName.ReplaceAllString(s.Address.String(), "-")
		}
		if known, twice := byAddress[s.Address]; !twice || s.Name < known.Name {
			byAddress[s.Address] = s
		}
	}
	list := make([]server, 0, len(byAddress))
	for _, s := range byAddress {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b server) int { return a.Address.Compare(b.Address) })
	names := map[string]bool{}
	for i := range list {
		for n, base := 2, list[i].Name; names[list[i].Name]; n++ {
			list[i].Name = fmt.Sprintf("%s-%d", base, n)
		}
		names[list[i].Name] = true
	}
	slices.SortFunc(list, func(a, b server) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// haproxyConfig renders haproxy.cfg.
func haproxyConfig(list []server) (string, error) {
	tmpl, err := template.New("haproxy.cfg").Delims("<<", ">>").Option("missingkey=error").Parse(configTemplate)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = tmpl.Execute(&out, map[string]any{"Servers": list, "Backend": parts.VoteService, "PageFile": pageFile})
	return out.String(), err
}
