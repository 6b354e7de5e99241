package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

const topologyFile = `subnet: 192.168.33.0/24
roles: [juggler]
nodes:
  - {name: manager,   role: manager,   octet: 11}
  - {name: interlock, role: interlock, octet: 12}
  - {name: frontend,  role: frontend,  octet: 20, count: 2}
  - {name: worker,    role: worker,    octet: 200, count: 1}
  - {name: store,     role: store,     octet: 250}
  - {name: extra,     role: juggler,   octet: 30}
`

func newLab(t *testing.T, env map[string]string) *settings.Lab {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "vagrant"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vagrant", "topology.yaml"), []byte(topologyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir, env)
}

func reopen(t *testing.T, dir string, env map[string]string) *settings.Lab {
	t.Helper()
	lab, err := settings.Open(dir, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

func all(string) bool  { return true }
func none(string) bool { return false }

// tree reads every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func changed(before, after map[string]string) []string {
	var names []string
	for name, content := range after {
		if before[name] != content {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, "-"+name)
		}
	}
	slices.Sort(names)
	return names
}

func TestPrepareLayout(t *testing.T) {
	t.Parallel()
	lab := newLab(t, nil)
	if err := pki.Prepare(lab, time.Now(), none); err != nil {
		t.Fatal(err)
	}
	files := tree(t, lab.StateDir())
	want := []string{
		"pki/ca.crt", "pki/ca.key", "pki/observe.crt", "pki/observe.key", "pki/operate.crt", "pki/operate.key",
		"secrets/consul-management-token", "secrets/consul-node-token", "secrets/postgres-password", "secrets/redis-password",
		"secrets/redis-users.acl", "secrets/stats-password", "secrets/voter-key",
	}
	for node, secrets := range map[string][]string{
		"manager":    {"consul-node-token", "consul-management-token"},
		"interlock":  {"consul-node-token", "stats-password"},
		"frontend01": {"consul-node-token", "redis-password", "redis-users.acl", "voter-key"},
		"frontend02": {"consul-node-token", "redis-password", "redis-users.acl", "voter-key"},
		"worker01":   {"consul-node-token", "redis-password", "postgres-password"},
		"store":      {"consul-node-token", "postgres-password"},

		"extra": {"consul-node-token"},
	} {
		for _, f := range []string{"agent.yaml", "pki/ca.crt", "pki/node.crt", "pki/node.key"} {
			want = append(want, "nodes/"+node+"/"+f)
		}
		for _, s := range secrets {
			want = append(want, "nodes/"+node+"/secrets/"+s)
			if files["nodes/"+node+"/secrets/"+s] != files["secrets/"+s] {
				t.Errorf("%s of %s is not the lab's", s, node)
			}
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Error(diff)
	}
	for name, pattern := range map[string]string{
		"secrets/voter-key":         `^[0-9a-f]{64}$`,
		"secrets/redis-password":    `^[A-Z0-9]{26,}$`,
		"secrets/redis-users.acl":   `^user default on #[0-9a-f]{64} ~\* &\* \+@all\n$`,
		"secrets/consul-node-token": `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`,
	} {
		if !regexp.MustCompile(pattern).MatchString(files[name]) {
			t.Errorf("%s does not match %s", name, pattern)
		}
	}
	wantYAML := `lab: swarmlab
subnet: 192.168.33.0/24
stage: application
node: frontend02
listen: 0.0.0.0:7400
nodes:
- name: manager
  role: manager
  address: 192.168.33.11
  ordinal: 1
`
	if got := files["nodes/frontend02/agent.yaml"]; !strings.HasPrefix(got, wantYAML) {
		t.Errorf("agent.yaml:\n%s", got)
	}
}

func TestPrepareKeeps(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lab := newLab(t, nil)
	if err := pki.Prepare(lab, now, none); err != nil {
		t.Fatal(err)
	}
	before := tree(t, lab.StateDir())
	prepare := func(lab *settings.Lab, at time.Time, exists func(string) bool) []string {
		t.Helper()
		if err := pki.Prepare(lab, at, exists); err != nil {
			t.Fatal(err)
		}
		after := tree(t, lab.StateDir())
		diff := changed(before, after)
		before = after
		return diff
	}
	if diff := prepare(lab, now.Add(time.Hour), all); diff != nil {
		t.Errorf("a second run changed %v", diff)
	}

	other := reopen(t, lab.Dir, map[string]string{"LAB_STAGE": "cluster"})
	if diff := prepare(other, now, func(n string) bool { return n != "store" }); !slices.Equal(diff, []string{"nodes/store/agent.yaml"}) {
		t.Errorf("another stage changed %v, want only the new node's", diff)
	}
	prepare(lab, now, none)

	fewer := reopen(t, lab.Dir, map[string]string{"LAB_FRONTENDS": "1"})
	for _, name := range prepare(fewer, now, all) {
		if !strings.HasPrefix(name, "-nodes/frontend02/") && !strings.HasSuffix(name, "/agent.yaml") {
			t.Errorf("a frontend less changed %s", name)
		}
	}
	prepare(lab, now, all)

	for _, name := range []string{"nodes/store/secrets/voter-key", "nodes/store/pki/.unfinished-1"} {
		if err := os.WriteFile(lab.Path(name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := prepare(lab, now, all); diff != nil {
		t.Errorf("strangers in a node's folder: %v", diff)
	}

	moved := reopen(t, lab.Dir, map[string]string{"LAB_SUBNET": "192.168.34.0/24"})
	diff := prepare(moved, now, all)
	if !slices.Contains(diff, "nodes/store/pki/node.crt") || slices.Contains(diff, "pki/ca.crt") || slices.Contains(diff, "pki/operate.crt") {
		t.Errorf("other addresses changed %v", diff)
	}
	later := now.Add(pki.LeafLifetime - pki.RenewBefore + time.Hour)
	diff = prepare(moved, later, all)
	if !slices.Contains(diff, "nodes/store/pki/node.crt") || !slices.Contains(diff, "pki/operate.crt") || slices.Contains(diff, "pki/ca.crt") {
		t.Errorf("shortly before the end of the certificates' life %v changed", diff)
	}
	diff = prepare(moved, now.Add(pki.CALifetime), all)
	if !slices.Contains(diff, "pki/ca.crt") || !slices.Contains(diff, "nodes/store/pki/ca.crt") || slices.Contains(diff, "secrets/voter-key") {
		t.Errorf("at the end of the authority's life %v changed", diff)
	}
}

func TestPrepareRepairs(t *testing.T) {
	t.Parallel()
	lab := newLab(t, nil)
	if err := pki.Prepare(lab, time.Now(), none); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pki/operate.crt", "nodes/store/pki/node.key", "nodes/worker01/agent.yaml"} {
		if err := os.WriteFile(lab.Path(name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := pki.Prepare(lab, time.Now(), all); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.ClientConfig(lab.Path("pki"), pki.UnitOperate, "store"); err != nil {
		t.Error(err)
	}
	if _, err := tls.LoadX509KeyPair(lab.Path("nodes/store/pki/node.crt"), lab.Path("nodes/store/pki/node.key")); err != nil {
		t.Error(err)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	lab := newLab(t, nil)
	if err := pki.Prepare(lab, time.Now(), none); err != nil {
		t.Fatal(err)
	}
	read := func(name string) *x509.Certificate {
		t.Helper()
		data, err := os.ReadFile(lab.Path(name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	roots := x509.NewCertPool()
	roots.AddCert(read("pki/ca.crt"))
	verify := func(c *x509.Certificate, name string, usage x509.ExtKeyUsage) error {
		_, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	node := read("nodes/frontend01/pki/node.crt")
	for _, name := range []string{"frontend01", "localhost", "192.168.33.20", "127.0.0.1"} {
		if err := verify(node, name, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if verify(node, "store", x509.ExtKeyUsageServerAuth) == nil {
		t.Error("frontend01 passes for store")
	}
	if err := verify(node, "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if got := node.Subject.OrganizationalUnit; !slices.Equal(got, []string{"node"}) || node.Subject.CommonName != "frontend01" {
		t.Errorf("subject %v", node.Subject)
	}
	host := read("pki/observe.crt")
	if err := verify(host, "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(host, "", x509.ExtKeyUsageServerAuth) == nil {
		t.Error("a host's certificate passes for a server's")
	}
	if got := host.Subject.OrganizationalUnit; !slices.Equal(got, []string{"observe"}) || host.Subject.CommonName != "lab" {
		t.Errorf("subject %v", host.Subject)
	}
}

// TestHandshake: what Prepare writes is what two ends of a connection accept, and only from their own lab.
func TestHandshake(t *testing.T) {
	t.Parallel()
	lab, foreign := newLab(t, nil), newLab(t, nil)
	for _, l := range []*settings.Lab{lab, foreign} {
		if err := pki.Prepare(l, time.Now(), none); err != nil {
			t.Fatal(err)
		}
	}
	handshake := func(client *settings.Lab, name string) error {
		pair, err := tls.LoadX509KeyPair(lab.Path("nodes/store/pki/node.crt"), lab.Path("nodes/store/pki/node.key"))
		if err != nil {
			return err
		}
		ca, err := os.ReadFile(lab.Path("nodes/store/pki/ca.crt"))
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		config, err := pki.ClientConfig(client.Path("pki"), pki.UnitOperate, name)
		if err != nil {
			return err
		}
		here, there := net.Pipe()
		defer here.Close()
		server := tls.Server(there, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		done := make(chan error, 1)
		go func() {
			defer there.Close()
			done <- server.HandshakeContext(t.Context())
		}()
		if err := tls.Client(here, config).HandshakeContext(t.Context()); err != nil {
			return err
		}
		return <-done
	}
	if err := handshake(lab, "store"); err != nil {
		t.Errorf("own lab: %v", err)
	}
	if handshake(lab, "manager") == nil {
		t.Error("store passes for manager")
	}
	if handshake(foreign, "store") == nil {
		t.Error("another lab's host is let in")
	}
}
