package bench

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/agents/roles/interlock/haproxy"
)

// The files of HAProxy as its container sees them.
const (
	haproxyDir  = "/usr/local/etc/haproxy"
	haproxyPage = "unavailable.html"
)

// balancerConfig is the lab's own configuration of HAProxy, but for its address. Nobody can log in to its statistics.
func balancerConfig(bind string, times haproxy.Times, servers []haproxy.Server) (string, error) {
	return haproxy.Config{
		Bind: bind, Backend: "web-vote-app", PageFile: haproxyDir + "/" + haproxyPage, Times: times, Servers: servers,
		Password: "$6$labsalt$G7iWEvzejTe/xBSwtH9gD9FfIsFWk4Xfy5GItCgWbAHbleGj502.Wo68eTVbRDczBzl0th4.4gbBOIeLoOcse1",
	}.Render()
}

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // read by everybody
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (-update writes it): got\n%s\nwant\n%s", path, got, want)
	}
}

// The benchmarks themselves need a build tag: without this test, a change of the lab's configuration could break them unseen.
func TestBalancerConfig(t *testing.T) {
	times := haproxy.Times{Connect: time.Second, Server: 3 * time.Second, Check: 700 * time.Millisecond, Interval: 500 * time.Millisecond, Hurried: 250 * time.Millisecond}
	text, err := balancerConfig("127.0.0.1:4711", times, []haproxy.Server{
		{Name: "frontend01", Address: netip.MustParseAddrPort("127.0.0.1:5001")}, {Name: "frontend02", Address: netip.MustParseAddrPort("127.0.0.1:5002")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "<<") || strings.Contains(text, "{{") {
		t.Error("something is left for somebody else to fill in")
	}
	golden(t, "haproxy.cfg", text)
}
