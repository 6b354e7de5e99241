package interlock

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/roles/interlock/haproxy"
)

// notInName is what HAProxy takes in no name.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_.:-]+`)

// servers makes HAProxy's servers of the known instances: sorted, named after their node, and without those that make no sense (what is in
// Consul comes from outside).
func servers(instances []*rolev1.Instance) []haproxy.Server {
	byAddress := map[netip.AddrPort]haproxy.Server{}
	for _, i := range instances {
		addr, err := netip.ParseAddr(i.GetAddress())
		if i.GetService() != contract.VoteApp || err != nil || !addr.Is4() || i.GetPort() < 1 || i.GetPort() > 65535 {
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

// config is HAProxy's on the node. The agent puts the hash of the password in.
func (r *Role) config(list []haproxy.Server) haproxy.Config {
	return haproxy.Config{
		Bind: ":80", Backend: contract.VoteApp, PageFile: pageFile, Password: fmt.Sprintf("{{sha512crypt %q}}", contract.StatsPassword),
		Times: r.times, Servers: list, Files: r.files,
	}
}

// fewConnections says so where the limit of open files lets HAProxy serve fewer voters at a time than usual; "" elsewhere.
func (r *Role) fewConnections() string {
	connections := r.config(nil).Connections()
	if connections == haproxy.MaxConnections {
		return ""
	}
	return fmt.Sprintf("at most %d connections at a time instead of %d: the limit of open files is %d on this node; "+
		"raise it for the Docker engine of the host (ulimits, LimitNOFILE)", connections, haproxy.MaxConnections, r.files)
}

// openFiles is how many files a process of this node may have open at most: the hard limit, which the containers of its engine have, too.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0 // unknown: as usual
	}
	return limit.Max
}
