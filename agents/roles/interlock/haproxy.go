package interlock

import (
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/pace"
	"github.com/swarmlab/swarmlab/agents/roles/internal/parts"
)

// The template's own delimiters are not {{ }}: those are for the agent, which puts the secrets in.
//
//go:embed haproxy.cfg.tmpl
var configTemplate string

//go:embed unavailable.html
var unavailablePage string

// times are what HAProxy waits, and how often it looks.
type times struct{ Connect, Server, Check, Interval, Hurried time.Duration }

// theTimes are this machine's.
var theTimes = times{
	Connect:  min(pace.Stretch(time.Second), 3*time.Second),
	Server:   pace.BalancerWaits(),
	Check:    pace.Stretch(700 * time.Millisecond),
	Interval: pace.Stretch(500 * time.Millisecond),
	Hurried:  pace.Stretch(250 * time.Millisecond),
}

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
func haproxyConfig(list []server, t times) (string, error) {
	tmpl, err := template.New("haproxy.cfg").Delims("<<", ">>").Funcs(template.FuncMap{"ms": milliseconds}).Option("missingkey=error").Parse(configTemplate)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = tmpl.Execute(&out, map[string]any{"Servers": list, "Backend": parts.VoteService, "PageFile": pageFile, "Times": t})
	return out.String(), err
}

// milliseconds is a time as HAProxy reads it.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
