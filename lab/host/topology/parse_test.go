package topology_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/swarmlab/swarmlab/lab/host/topology"
)

const standard = `subnet: 192.168.33.0/24
nodes:
  - {name: manager,   role: manager,   octet: 11,  memory: 512, cpus: 1}
  - {name: interlock, role: interlock, octet: 12,  memory: 384, cpus: 1}
  - {name: frontend,  role: frontend,  octet: 20,  memory: 512, cpus: 1, count: 2}
  - {name: worker,    role: worker,    octet: 200, memory: 512, cpus: 1, count: 1}
  - {name: store,     role: store,     octet: 250, memory: 768, cpus: 1}
`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := topology.Parse("topology.yaml", []byte(standard), topology.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	node := func(name, role, address string, octet, memory, ordinal int) topology.Node {
		return topology.Node{
			Name: name, Role: role, Octet: octet, Address: netip.MustParseAddr(address),
			MemoryMiB: memory, CPUs: 1, Ordinal: ordinal,
		}
	}
	want := &topology.Topology{
		Subnet: netip.MustParsePrefix("192.168.33.0/24"),
		Roles:  topology.BuiltinRoles(),
		Nodes: []topology.Node{
			node("manager", "manager", "192.168.33.11", 11, 512, 1),
			node("interlock", "interlock", "192.168.33.12", 12, 384, 1),
			node("frontend01", "frontend", "192.168.33.20", 20, 512, 1),
			node("frontend02", "frontend", "192.168.33.21", 21, 512, 2),
			node("worker01", "worker", "192.168.33.200", 200, 512, 1),
			node("store", "store", "192.168.33.250", 250, 768, 1),
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseOverrides(t *testing.T) {
	t.Parallel()
	got, err := topology.Parse("topology.yaml", []byte(standard), topology.Overrides{
		Subnet: netip.MustParsePrefix("172.30.0.0/16"),
		Counts: map[string]int{"frontend": 4, "worker": 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.OfRole("frontend")); n != 4 {
		t.Errorf("%d frontends, want 4", n)
	}
	n, ok := got.Node("worker03")
	if !ok || n.Address.String() != "172.30.0.202" || n.Ordinal != 3 {
		t.Errorf("worker03 = %+v, %t", n, ok)
	}
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) string {
		if !strings.Contains(standard, old) {
			t.Fatalf("%q is not in the standard topology", old)
		}
		return strings.Replace(standard, old, with, 1)
	}
	counts := func(role string, n int) topology.Overrides {
		return topology.Overrides{Counts: map[string]int{role: n}}
	}
	tests := []struct {
		name string
		text string
		over topology.Overrides
		want string // one of the errors
	}{
		{"unknown role", replace("role: worker", "role: wroker"), topology.Overrides{}, `t.yaml:6: node worker: unknown role "wroker" (known: manager, interlock, frontend, worker, store; declare others under roles)`},
		{"double octet", replace("octet: 12", "octet: 11"), topology.Overrides{}, "t.yaml:4: node interlock: octet 11 is taken by manager (line 3)"},
		{"double name", replace("name: interlock", "name: manager"), topology.Overrides{}, "t.yaml:4: node manager: the name is taken by the node of line 3"},
		{"octet of the gateway", replace("octet: 11", "octet: 1"), topology.Overrides{}, "t.yaml:3: node manager: octet 1 is out of range 2…254"},
		{"octet too high", replace("octet: 250", "octet: 255"), topology.Overrides{}, "t.yaml:7: node store: octet 255 is out of range 2…254"},
		{"octet missing", replace("octet: 11,", ""), topology.Overrides{}, "t.yaml:3: node manager: octet is missing"},
		{"name missing", replace("name: manager,", ""), topology.Overrides{}, "t.yaml:3: a node without name"},
		{"role empty", replace("role: manager,", "role: ,"), topology.Overrides{}, "t.yaml:3: role: expected a word, found nothing"},
		{"bad number", replace("memory: 384", "memory: much"), topology.Overrides{}, `t.yaml:4: node interlock: memory: "much" is no number; expected 128…1048576`},
		{"octal number", replace("octet: 12", "octet: 014"), topology.Overrides{}, `t.yaml:4: node interlock: octet: "014" is no number; expected 2…254`},
		{"hexadecimal number", replace("octet: 12", "octet: 0xc"), topology.Overrides{}, `t.yaml:4: node interlock: octet: "0xc" is no number; expected 2…254`},
		{"negative number", replace("cpus: 1", "cpus: -1"), topology.Overrides{}, `t.yaml:3: node manager: cpus: "-1" is no number; expected 1…256`},
		{"too little memory", replace("memory: 384", "memory: 3"), topology.Overrides{}, "t.yaml:4: node interlock: memory 3 is out of range 128…1048576"},
		{"count of zero", replace("count: 2", "count: 0"), topology.Overrides{}, "t.yaml:5: node frontend: count 0 is out of range 1…99"},
		{"count runs into a neighbour", standard, counts("worker", 51), "t.yaml:7: node store: octet 250 is taken by worker51 (line 6)"},
		{"count beyond the subnet", replace("octet: 250", "octet: 240"), counts("worker", 60), "t.yaml:6: node worker56 (count 60): octet 255 is out of range 2…254"},
		{"count for nobody", standard, counts("juggler", 3), "t.yaml:3: a count of 3 is asked for role juggler, but no node has it"},
		{"unknown field", replace("cpus: 1", "cores: 1"), topology.Overrides{}, `t.yaml:3: unknown field "cores" in a node (known: name, role, octet, memory, cpus, count)`},
		{"unknown top field", "subnets: 1\n" + standard, topology.Overrides{}, `t.yaml:1: unknown field "subnets" in the topology (known: subnet, nodes, roles)`},
		{"subnet missing", replace("subnet: 192.168.33.0/24\n", ""), topology.Overrides{}, "t.yaml:1: subnet is missing"},
		{"subnet no prefix", replace("192.168.33.0/24", "192.168.33.0"), topology.Overrides{}, `t.yaml:1: subnet: "192.168.33.0" is no network in CIDR notation, for example 192.168.33.0/24`},
		{"subnet with host bits", replace("33.0/24", "33.7/24"), topology.Overrides{}, "t.yaml:1: subnet 192.168.33.7/24 has bits set behind its prefix: write 192.168.33.0/24"},
		{"subnet too small", replace("33.0/24", "33.0/25"), topology.Overrides{}, "t.yaml:1: subnet 192.168.33.0/25 is too small: 128 addresses, and node worker01 has octet 200; take a /24"},
		{"subnet public", replace("192.168.33.0", "8.8.8.0"), topology.Overrides{}, "t.yaml:1: subnet 8.8.8.0/24 is not private: take one within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"},
		{"subnet IPv6", replace("192.168.33.0/24", `"fd00::/64"`), topology.Overrides{}, "t.yaml:1: subnet fd00::/64 is not IPv4"},
		{"subnet of docker0", replace("192.168.33.0", "172.17.0.0"), topology.Overrides{}, "t.yaml:1: subnet 172.17.0.0/24 overlaps 172.17.0.0/16, docker0, the bridge of the engine on each node"},
		{"subnet of the overlay", replace("192.168.33.0", "10.0.1.0"), topology.Overrides{}, "t.yaml:1: subnet 10.0.1.0/24 overlaps 10.0.0.0/16, the overlay networks of the swarm (Docker hands them out from 10.0.0.0 on)"},
		{"two managers", replace("role: interlock", "role: manager"), topology.Overrides{}, "t.yaml:3: 2 nodes have the role manager; a lab has exactly one, which the others join"},
		{"two stores", replace("role: interlock", "role: store"), topology.Overrides{}, "t.yaml:3: 2 nodes have the role store; at most one can, its page is published on one port of the host"},
		{"no nodes", "subnet: 192.168.33.0/24\n", topology.Overrides{}, "t.yaml:1: nodes is missing"},
		{"empty nodes", "subnet: 192.168.33.0/24\nnodes: []\n", topology.Overrides{}, "t.yaml:2: nodes: expected a list of at least one node, found an empty list"},
		{"node is a word", "subnet: 192.168.33.0/24\nnodes:\n  - manager\n", topology.Overrides{}, `t.yaml:3: expected a node as {name: …, role: …, octet: …}, found "manager"`},
		{"empty file", "", topology.Overrides{}, "t.yaml: holds 0 YAML documents; expected one with subnet and nodes"},
		{"two documents", standard + "---\n" + standard, topology.Overrides{}, "t.yaml: holds 2 YAML documents; expected one with subnet and nodes"},
		{"a list", "- 1\n", topology.Overrides{}, "t.yaml:1: expected a mapping with subnet and nodes, found a list"},
		{"bad role name", "roles: [Juggler]\n" + standard, topology.Overrides{}, `t.yaml:1: roles: "Juggler" is no role name: small letters, digits and dashes, a letter first`},
		{"role twice", "roles: [store]\n" + standard, topology.Overrides{}, "t.yaml:1: roles: store is declared twice or built in"},
		{"bad node name", replace("name: store", "name: The_Store"), topology.Overrides{}, `t.yaml:7: node name "The_Store" is no host name: small letters, digits and dashes, a letter first, 32 at most`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := topology.Parse("t.yaml", []byte(tt.text), tt.over)
			var errs topology.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("error %v is no topology.Errors", err)
			}
			for _, e := range errs {
				if e.Error() == tt.want {
					return
				}
			}
			t.Errorf("got\n%v\nwant\n%s", err, tt.want)
		})
	}
}

func TestParseSyntax(t *testing.T) {
	t.Parallel()
	_, err := topology.Parse("t.yaml", []byte("subnet: 192.168.33.0/24\nnodes:\n  - {name: a\n"), topology.Overrides{})
	if err == nil || !strings.Contains(err.Error(), "not valid YAML") {
		t.Errorf("got %v", err)
	}
	_, err = topology.Parse("t.yaml", []byte("subnet: 192.168.33.0/24\nsubnet: 192.168.34.0/24\nnodes: []\n"), topology.Overrides{})
	if err == nil || !strings.HasPrefix(err.Error(), "t.yaml:2: not valid YAML") {
		t.Errorf("double key: got %v", err)
	}
}

func TestParseBlockStyle(t *testing.T) {
	t.Parallel()
	const text = "subnet: 10.77.0.0/24\nroles: [juggler]\nnodes:\n  - name: manager\n    role: manager\n    octet: 11\n" +
		"  - name: ball\n    role: juggler\n    octet: 30\n    count: 3\n"
	got, err := topology.Parse("t.yaml", []byte(text), topology.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"manager", "ball01", "ball02", "ball03"}, got.Names()); diff != "" {
		t.Error(diff)
	}
	_, err = topology.Parse("t.yaml", []byte(strings.Replace(text, "octet: 30", "octet: 3000", 1)), topology.Overrides{})
	if err == nil || !strings.HasPrefix(err.Error(), "t.yaml:9: node ball: octet 3000") {
		t.Errorf("got %v, want line 9", err)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	t.Parallel()
	if _, err := topology.Load("no/such/topology.yaml", topology.Overrides{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: whatever the bytes, Parse returns errors with a line inside the file, or a topology that keeps its
// promises.
func FuzzParse(f *testing.F) {
	f.Add([]byte(standard), 2)
	f.Add([]byte("subnet: 10.1.0.0/16\nnodes:\n- name: manager\n  role: manager\n  octet: 2\n"), 99)
	f.Add([]byte("nodes: [{}, {name: }]\nroles: [a, a]\n"), 1)
	f.Add([]byte("? [a]\n: &x {<<: *x}\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, frontends int) {
		got, err := topology.Parse("t.yaml", data, topology.Overrides{Counts: map[string]int{"frontend": frontends}})
		if err != nil {
			var errs topology.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("error %v is no topology.Errors", err)
			}
			for _, e := range errs {
				if e.Line < 0 || e.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+1 || e.Reason == "" {
					t.Errorf("%+v is not in the file", e)
				}
			}
			return
		}
		names, addresses := map[string]bool{}, map[netip.Addr]bool{}
		for _, n := range got.Nodes {
			if names[n.Name] || addresses[n.Address] || !got.Subnet.Contains(n.Address) || n.Ordinal < 1 {
				t.Errorf("%+v breaks a promise in %+v", n, got)
			}
			names[n.Name], addresses[n.Address] = true, true
		}
	})
}

// Six virtual machines fit a laptop of 8 GiB beside what else is open there.
func TestCommittedTopologyNeedsFourGiBAtMost(t *testing.T) {
	t.Parallel()
	top, err := topology.Load(filepath.Join("..", "..", "..", "vagrant", "topology.yaml"), topology.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, n := range top.Nodes {
		sum += n.MemoryMiB
	}
	if len(top.Nodes) != 6 || sum > 4096 {
		t.Errorf("%d nodes need %d MiB", len(top.Nodes), sum)
	}
}
