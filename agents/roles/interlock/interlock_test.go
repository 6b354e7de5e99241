package interlock

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

func instance(id, node, address string, port uint32) *rolev1.Instance {
	return &rolev1.Instance{Service: "web-vote-app", Id: id, Node: node, Address: address, Port: port}
}

// unlimited is the role on a node whose processes may have as many files open as they like.
func unlimited() *Role {
	r := New()
	r.files = 0
	return r
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, instances := range map[string][]*rolev1.Instance{
		"none": nil,
		"two": {
			instance("frontend02/web-vote-app", "frontend02", "192.168.33.21", 5000),
			instance("frontend01/web-vote-app", "frontend01", "192.168.33.20", 5000),
		},
	} {
		facts := roletest.Facts("interlock", 1)
		facts.Instances = instances
		plan := roletest.Plan(t, unlimited(), facts)
		roletest.GoldenText(t, name+".haproxy.cfg", roletest.File(t, plan, "interlock", configFile))
		if name == "two" {
			roletest.Golden(t, "plan", plan)
		}
	}
}

// The promise to voters: a server that says that it cannot work is out within 2 s, and back in within 2 s of its recovery. HAProxy checks as
// often as its configuration says; how many checks it takes TestSickServers sees.
func TestSickServersAreSoonOut(t *testing.T) {
	t.Parallel()
	config := roletest.File(t, roletest.Plan(t, unlimited(), roletest.Facts("interlock", 1)), "interlock", configFile)
	var inter, fastinter, downinter, fall, rise int
	_, line, _ := strings.Cut(config, "default-server check ")
	if _, err := fmt.Sscanf(line, "inter %dms fastinter %dms downinter %dms fall %d rise %d", &inter, &fastinter, &downinter, &fall, &rise); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if out, back := inter+(fall-1)*fastinter, downinter+(rise-1)*fastinter; out > 1500 || back > 1500 || fall != 2 || rise != 1 {
		t.Errorf("out after %d ms (%d checks), back after %d ms (%d)", out, fall, back, rise)
	}
}

// What Consul lists was written by somebody: nothing of it may end up as a line of configuration of its own.
func TestServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   []*rolev1.Instance
		want []string
	}{
		"order":        {[]*rolev1.Instance{instance("b", "b", "10.0.0.2", 1), instance("a", "a", "10.0.0.9", 2)}, []string{"a 10.0.0.9:2", "b 10.0.0.2:1"}},
		"same address": {[]*rolev1.Instance{instance("x", "b", "10.0.0.2", 1), instance("y", "a", "10.0.0.2", 1)}, []string{"a 10.0.0.2:1"}},
		"same node":    {[]*rolev1.Instance{instance("x", "n", "10.0.0.2", 1), instance("y", "n", "10.0.0.2", 2)}, []string{"n 10.0.0.2:1", "n-2 10.0.0.2:2"}},
		"no address":   {[]*rolev1.Instance{instance("x", "n", "", 1), instance("y", "n", "host", 1), instance("z", "n", "::1", 1)}, nil},
		"no port":      {[]*rolev1.Instance{instance("x", "n", "10.0.0.2", 0), instance("y", "n", "10.0.0.2", 65536)}, nil},
		"injection":    {[]*rolev1.Instance{instance("x", "n 1.2.3.4:80\nfrontend x", "10.0.0.2", 1)}, []string{"n-1.2.3.4:80-frontend-x 10.0.0.2:1"}},
		"no name":      {[]*rolev1.Instance{instance("x", "", "10.0.0.2", 1)}, []string{"10.0.0.2:1 10.0.0.2:1"}},
		"long name":    {[]*rolev1.Instance{instance("x", strings.Repeat("n", 65), "10.0.0.2", 1)}, []string{"10.0.0.2:1 10.0.0.2:1"}},
		"other service": {
			[]*rolev1.Instance{{Service: "results-app", Id: "x", Node: "store", Address: "10.0.0.2", Port: 80}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range servers(c.in) {
				got = append(got, s.Name+" "+s.Address.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("want %q, got %q", c.want, got)
			}
			slices.Reverse(c.in)
			if again := servers(c.in); len(again) != len(got) || len(got) == 1 && again[0].Name+" "+again[0].Address.String() != got[0] {
				t.Errorf("the order of instances matters: %v, then %v", got, again)
			}
		})
	}
}

const header = "# pxname,svname,qcur,status,\n"

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stats-password"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		page    string
		healthy bool
		want    string
		up, all float64
	}{
		"both":     {header + "votes,FRONTEND,,OPEN,\nweb-vote-app,f1,0,UP,\nweb-vote-app,f2,0,UP 1/2,\nweb-vote-app,BACKEND,0,UP,\n", true, "voters reach f1, f2", 2, 2},
		"one":      {header + "web-vote-app,f1,0,DOWN,\nweb-vote-app,f2,0,UP,\n", true, "voters reach f2; down: f1", 1, 2},
		"all down": {header + "web-vote-app,f1,0,DOWN,\nweb-vote-app,f2,0,DOWN 1/2,\n", false, "all frontends are down: f1, f2", 0, 2},
		"none":     {header + "web-vote-app,BACKEND,0,UP,\n", false, "Consul has told of no frontend yet", 0, 0},
		"html":     {"<html>", false, "no table of statistics", 0, 0},
		"column":   {"# a,b\n1,2\n", false, "no column pxname", 0, 0},
		"damaged":  {header + "\"", false, "statistics", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, password, _ := r.BasicAuth()
				if user != "stats" || password != "s3cret" || r.URL.RequestURI() != "/haproxy?stats;csv" {
					http.Error(w, "<html>", http.StatusUnauthorized)
					return
				}
				_, _ = w.Write([]byte(c.page))
			}))
			defer srv.Close()
			r := unlimited()
			r.probe.Within = roletest.Patience
			r.haproxy = srv.Listener.Addr().String()
			health, err := r.Check(t.Context(), nil, dir)
			if err != nil {
				t.Fatal(err)
			}
			if health.GetHealthy() != c.healthy || !strings.Contains(health.GetMessage(), c.want) {
				t.Errorf("want healthy=%v, %q; got %v", c.healthy, c.want, health)
			}
			if m := health.GetMeasures(); m["servers_up"] != c.up || m["servers_total"] != c.all {
				t.Errorf("measures %v", m)
			}
		})
	}
	r := unlimited()
	r.probe.Within = roletest.Patience
	r.haproxy = roletest.FreePort(t)
	health, err := r.Check(t.Context(), nil, dir)
	if err != nil || health.GetHealthy() || !strings.Contains(health.GetMessage(), "nothing listens on "+r.haproxy) {
		t.Errorf("without HAProxy: %v, %v", health, err)
	}
	if _, err := r.Check(t.Context(), nil, t.TempDir()); err == nil {
		t.Error("without its password the role can tell")
	}
}

// HAProxy does not start where it may not have as many files open as its configuration asks for.
func TestLimitOfOpenFiles(t *testing.T) {
	t.Parallel()
	for files, want := range map[uint64]string{
		0: "maxconn 4000\n", 1 << 30: "maxconn 4000\n", 8200: "maxconn 4000\n",
		8199: "maxconn 3999\n", 4096: "maxconn 1948\n", 1024: "maxconn 412\n", 100: "maxconn 1\n",
	} {
		r := unlimited()
		r.files = files
		config := roletest.File(t, roletest.Plan(t, r, roletest.Facts("interlock", 1)), "interlock", configFile)
		if !strings.Contains(config, want) {
			t.Errorf("with %d files: no line %q", files, want)
		}
		r.haproxy, r.probe.Within = roletest.FreePort(t), roletest.Patience
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "stats-password"), []byte("s3cret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		health, err := r.Check(t.Context(), nil, dir)
		if err != nil {
			t.Fatal(err)
		}
		named := strings.Contains(health.GetMessage(), fmt.Sprintf("the limit of open files is %d on this node", files))
		if named != !strings.Contains(want, "4000") {
			t.Errorf("with %d files: %s", files, health.GetMessage())
		}
	}
}
