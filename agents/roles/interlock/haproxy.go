package interlock

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/roles/interlock/haproxy"
	"github.com/swarmlab/swarmlab/agents/roles/internal/parts"
)

// notInName is what HAProxy takes in no name.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_.:-]+`)

// servers makes HAProxy's servers of the known instances: sorted, named after their node, and without those that make no sense (what is in
// Consul comes from outside).
func servers(instances []*rolev1.Instance) []haproxy.Server {
	byAddress := map[netip.AddrPort]haproxy.Server{}
	for _, i := range instances {
		addr, err := netip.ParseAddr(i.GetAddress())
		if i.GetService() != parts.VoteService || err != nil || !addr.Is4() || i.GetPort() < 1 || i.GetPort() > 65535 {
			continue
		}
		s := haproxy.Server{Name: notInName.ReplaceAllString(i.GetNode(), "-"), Address: netip.AddrPortFrom(addr, uint16(i.GetPort()))}
		if s.Name == "" || len(s.Name) > 64 {
			s.Name = notInName.ReplaceAllString(s.Address.String(), "-")
		}
		if known, twice := byAddress[s.Address]; !twice || s.Name < known.Name {
			byAddress[s.Address] = s
		}
	}
	list := make([]haproxy.Server, 0, len(byAddress))
	for _, s := range byAddress {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b haproxy.Server) int { return a.Address.Compare(b.Address) })
	names := map[string]bool{}
	for i := range list {
		for n, base := 2, list[i].Name; names[list[i].Name]; n++ {
			list[i].Name = fmt.Sprintf("%s-%d", base, n)
		}
		names[list[i].Name] = true
	}
	slices.SortFunc(list, func(a, b haproxy.Server) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// haproxyConfig renders haproxy.cfg for the node. The agent puts the hash of the password in.
func haproxyConfig(list []haproxy.Server, times haproxy.Times) (string, error) {
	return haproxy.Config{
		Bind: ":80", Backend: parts.VoteService, PageFile: pageFile, Password: fmt.Sprintf("{{sha512crypt %q}}", parts.StatsPassword),
		Times: times, Servers: list,
	}.Render()
}
