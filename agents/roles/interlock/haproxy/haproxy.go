// Package haproxy renders HAProxy's configuration: for the node that voters reach, and for the benchmarks, which measure the same HAProxy on
// the host. It takes values and returns text; it knows neither Consul nor the plugin that plans the container.
package haproxy

import (
	_ "embed" // for the template and the page
	"fmt"
	"net/netip"
	"strings"
	"text/template"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// The template's own delimiters are not {{ }}: those are for the agent, which puts the secrets in.
//
//go:embed haproxy.cfg.tmpl
var configTemplate string

//go:embed unavailable.html
var unavailable string

// Unavailable is the HTML page that HAProxy shows while no server is up.
func Unavailable() string { return unavailable }

// Config is what differs between one HAProxy and another.
type Config struct {
	// Bind is the address that voters reach, as ":80".
	Bind string
	// Backend names the servers as a whole.
	Backend string
	// PageFile is the path of the page [Unavailable], as HAProxy sees it.
	PageFile string
	// Password is that of the user stats as crypt(3) hashes it, or what an agent replaces by that.
	Password string
	Times    Times
	Servers  []Server
	// Files is how many files HAProxy's process may have open at most; 0 where that is no limit.
	Files uint64
}

// MaxConnections is how many voters are served at the same time where the limit of open files allows it; more wait in the kernel's queue.
const MaxConnections = 4000

// ownFiles is more than what HAProxy has open besides connections: its listeners, checks, pipes and logs.
const ownFiles = 200

// Connections is how many voters are served at the same time: at most [MaxConnections], and no more than the limit of open files allows, with two
// for each, one to the voter and one to the server. HAProxy does not start where that is not so.
func (c Config) Connections() int {
	if c.Files == 0 || c.Files >= 2*MaxConnections+ownFiles {
		return MaxConnections
	}
	return max(1, (int(c.Files)-ownFiles)/2)
}

// Server is one of those that requests are spread over.
type Server struct {
	Name    string
	Address netip.AddrPort
}

// Times are what HAProxy waits, and how often it looks.
type Times struct{ Connect, Server, Check, Interval, Hurried time.Duration }

// MachineTimes are the times for this machine: a slow one takes longer for everything.
func MachineTimes() Times {
	return Times{
		Connect:  min(timescale.Scale(time.Second), 3*time.Second),
		Server:   timescale.BalancerTimeout(),
		Check:    timescale.Scale(700 * time.Millisecond),
		Interval: timescale.Scale(500 * time.Millisecond),
		Hurried:  timescale.Scale(250 * time.Millisecond),
	}
}

// Render returns the text of haproxy.cfg.
func (c Config) Render() (string, error) {
	tmpl, err := template.New("haproxy.cfg").Delims("<<", ">>").Funcs(template.FuncMap{"ms": milliseconds}).Option("missingkey=error").Parse(configTemplate)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = tmpl.Execute(&out, c)
	return out.String(), err
}

// milliseconds is a time as HAProxy reads it.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
