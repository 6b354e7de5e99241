package topology

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of the numbers in the file.
const (
	minOctet = 2 // .1 is the gateway: the host's own address on the lab's network
	maxOctet = 254
	maxCount = 99 // two digits in the node's name
	minMiB   = 128
	maxMiB   = 1 << 20
	maxCPUs  = 256
)

var (
	nodeName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)
	decimal  = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)
)

// private are the networks of RFC 1918.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
}

// reserved are private networks that exist inside every node, so that a lab subnet among them would be shadowed there.
var reserved = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("10.0.0.0/16"), "the overlay networks of the swarm (Docker hands them out from 10.0.0.0 on)"},
	{netip.MustParsePrefix("172.17.0.0/16"), "docker0, the bridge of the engine on each node"},
	{netip.MustParsePrefix("172.18.0.0/16"), "docker_gwbridge, which each node of a swarm has"},
}

// CheckSubnet says why a prefix cannot be a lab's subnet, nil when it can. Whether the nodes' octets fit into it and
// whether the host uses it already are other questions.
func CheckSubnet(p netip.Prefix) error {
	switch {
	case !p.Addr().Is4():
		return fmt.Errorf("subnet %s is not IPv4", p)
	case p != p.Masked():
		return fmt.Errorf("subnet %s has bits set behind its prefix: write %s", p, p.Masked())
	case !slices.ContainsFunc(private, func(all netip.Prefix) bool { return all.Bits() <= p.Bits() && all.Contains(p.Addr()) }):
		return fmt.Errorf("subnet %s is not private: take one within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16", p)
	}
	for _, r := range reserved {
		if r.prefix.Overlaps(p) {
			return fmt.Errorf("subnet %s overlaps %s, %s", p, r.prefix, r.what)
		}
	}
	return nil
}

// topFields are the fields of the file.
var topFields = []string{"subnet", "nodes", "roles"}

// Parse reads a topology. All mistakes found are returned together, as Errors; file is the name they carry.
func Parse(file string, data []byte, o Overrides) (*Topology, error) {
	p := &reader{file: file, over: o}
	root := p.root(data)
	if root != nil {
		p.document(root)
	}
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b Error) int { return cmp.Compare(a.Line, b.Line) })
		return nil, p.errs
	}
	return &p.topology, nil
}

// reader walks the syntax tree instead of decoding into structs: a decoder forgets on which line a value stood.
type reader struct {
	file     string
	over     Overrides
	errs     Errors
	topology Topology
}

// group is one entry under `nodes`, before its count is expanded.
type group struct {
	name, role                 string
	octet, memory, cpus, count int
	// counted: the count was given, so that names carry a number even when it is 1.
	counted         bool
	line, countLine int
}

func (p *reader) errorf(line int, format string, args ...any) {
	p.errs = append(p.errs, Error{File: p.file, Line: line, Reason: fmt.Sprintf(format, args...)})
}

func (p *reader) root(data []byte) *ast.MappingNode {
	text, ok := p.plain(data)
	if !ok {
		return nil
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		line, reason := 0, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			reason = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
		}
		p.errorf(line, "not valid YAML: %s", reason)
		return nil
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.NullType && d.Body.Type() != ast.CommentType {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) != 1 {
		p.errorf(0, "holds %d YAML documents; expected one with subnet and nodes", len(bodies))
		return nil
	}
	root, ok := mapping(bodies[0])
	if !ok {
		p.errorf(line(bodies[0]), "expected a mapping with subnet and nodes, found %s", kind(bodies[0]))
		return nil
	}
	return root
}

func (p *reader) document(root *ast.MappingNode) {
	fields := p.fields(root, "the topology", topFields...)
	p.topology.Roles = BuiltinRoles()
	if n, ok := fields["roles"]; ok {
		p.roles(n)
	}
	subnetLine := p.subnet(root, fields["subnet"])
	n, ok := fields["nodes"]
	if !ok {
		p.errorf(line(root), "nodes is missing")
		return
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok || len(seq.Values) == 0 {
		p.errorf(line(n), "nodes: expected a list of at least one node, found %s", kind(n))
		return
	}
	groups := make([]group, 0, len(seq.Values))
	for _, v := range seq.Values {
		if g, ok := p.group(v); ok {
			groups = append(groups, g)
		}
	}
	p.expand(groups, subnetLine)
	p.required(line(n))
}

func (p *reader) roles(n ast.Node) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.errorf(line(n), "roles: expected a list of names, found %s", kind(n))
		return
	}
	for _, v := range seq.Values {
		name, ok := text(v)
		switch {
		case !ok || !nodeName.MatchString(name):
			p.errorf(line(v), "roles: %q is no role name: small letters, digits and dashes, a letter first", v.String())
		case slices.Contains(p.topology.Roles, name):
			p.errorf(line(v), "roles: %s is declared twice or built in", name)
		default:
			p.topology.Roles = append(p.topology.Roles, name)
		}
	}
}

// subnet sets the topology's subnet and returns the line to blame when nodes do not fit into it, 0 when the subnet was
// overridden.
func (p *reader) subnet(root *ast.MappingNode, n ast.Node) int {
	if n == nil {
		if !p.over.Subnet.IsValid() {
			p.errorf(line(root), "subnet is missing")
		}
	} else {
		s, ok := text(n)
		prefix, err := netip.ParsePrefix(s)
		switch {
		case !ok || err != nil:
			p.errorf(line(n), "subnet: %q is no network in CIDR notation, for example 192.168.33.0/24", n.String())
		default:
			if err := CheckSubnet(prefix); err != nil {
				p.errorf(line(n), "%s", err)
				break
			}
			p.topology.Subnet = prefix
		}
	}
	if p.over.Subnet.IsValid() {
		p.topology.Subnet = p.over.Subnet
		return 0
	}
	if n == nil {
		return line(root)
	}
	return line(n)
}

func (p *reader) group(n ast.Node) (group, bool) {
	m, ok := mapping(n)
	if !ok {
		p.errorf(line(n), "expected a node as {name: …, role: …, octet: …}, found %s", kind(n))
		return group{}, false
	}
	before := len(p.errs)
	fields := p.fields(m, "a node", "name", "role", "octet", "memory", "cpus", "count")
	g := group{line: line(m), memory: 512, cpus: 1, count: 1}
	g.name = p.string(m, fields, "name")
	g.role = p.string(m, fields, "role")
	if g.name != "" && !nodeName.MatchString(g.name) {
		p.errorf(line(fields["name"]), "node name %q is no host name: small letters, digits and dashes, a letter first, 32 at most", g.name)
	}
	if g.role != "" && !slices.Contains(p.topology.Roles, g.role) {
		p.errorf(line(fields["role"]), "node %s: unknown role %q (known: %s; declare others under roles)",
			g.name, g.role, strings.Join(p.topology.Roles, ", "))
	}
	if _, ok := fields["octet"]; !ok {
		p.errorf(g.line, "node %s: octet is missing", g.name)
	}
	g.octet = p.number(fields, g.name, "octet", minOctet, maxOctet, 0)
	g.memory = p.number(fields, g.name, "memory", minMiB, maxMiB, g.memory)
	g.cpus = p.number(fields, g.name, "cpus", 1, maxCPUs, g.cpus)
	if c, ok := fields["count"]; ok {
		g.counted, g.countLine = true, line(c)
		g.count = p.number(fields, g.name, "count", 1, maxCount, 1)
		if n, ok := p.over.Counts[g.role]; ok {
			g.count = n
		}
		if g.count < 1 || g.count > maxCount {
			p.errorf(g.countLine, "node %s: a count of %d is out of range 1…%d", g.name, g.count, maxCount)
		}
	}
	return g, len(p.errs) == before
}

func (p *reader) expand(groups []group, subnetLine int) {
	type owner struct {
		name string
		line int
	}
	octets, names, ordinals := map[int]owner{}, map[string]owner{}, map[string]int{}
	for _, g := range groups {
		for i := range g.count {
			n := Node{Name: g.name, Role: g.role, Octet: g.octet + i, MemoryMiB: g.memory, CPUs: g.cpus}
			at, because := g.line, ""
			if g.counted {
				n.Name = fmt.Sprintf("%s%02d", g.name, i+1)
				if g.count > 1 {
					at, because = g.countLine, fmt.Sprintf(" (count %d)", g.count)
				}
			}
			if other, taken := names[n.Name]; taken {
				p.errorf(at, "node %s%s: the name is taken by the node of line %d", n.Name, because, other.line)
				break
			}
			if n.Octet > maxOctet {
				p.errorf(at, "node %s%s: octet %d is out of range %d…%d", n.Name, because, n.Octet, minOctet, maxOctet)
				break
			}
			if other, taken := octets[n.Octet]; taken {
				p.errorf(at, "node %s%s: octet %d is taken by %s (line %d)", n.Name, because, n.Octet, other.name, other.line)
				break
			}
			names[n.Name], octets[n.Octet] = owner{n.Name, g.line}, owner{n.Name, g.line}
			ordinals[n.Role]++
			n.Ordinal = ordinals[n.Role]
			p.topology.Nodes = append(p.topology.Nodes, n)
		}
	}
	if p.topology.Subnet.IsValid() {
		p.address(subnetLine)
	}
}

// address gives the nodes their addresses and complains once when the subnet is too small for the highest of them.
func (p *reader) address(subnetLine int) {
	subnet := p.topology.Subnet
	size := 1 << (32 - subnet.Bits())
	base := subnet.Addr().As4()
	low := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	for i := range p.topology.Nodes {
		n := &p.topology.Nodes[i]
		if n.Octet >= size-1 { // the last address is the broadcast's
			p.errorf(subnetLine, "subnet %s is too small: %d addresses, and node %s has octet %d; take a /24",
				subnet, size, n.Name, n.Octet)
			return
		}
		a := low + uint32(n.Octet)
		n.Address = netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
	}
}

// required checks the roles of which a lab needs, or bears, only one.
func (p *reader) required(at int) {
	if len(p.errs) > 0 {
		return // a node that was dropped for a mistake must not be reported as missing too
	}
	counts := map[string]int{}
	for _, n := range p.topology.Nodes {
		counts[n.Role]++
	}
	if counts[RoleManager] != 1 {
		p.errorf(at, "%d nodes have the role manager; a lab has exactly one, which the others join", counts[RoleManager])
	}
	for _, role := range []string{RoleInterlock, RoleStore} {
		if counts[role] > 1 {
			p.errorf(at, "%d nodes have the role %s; at most one can, its page is published on one port of the host",
				counts[role], role)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(p.over.Counts)) {
		if counts[role] == 0 {
			p.errorf(at, "a count of %d is asked for role %s, but no node has it", p.over.Counts[role], role)
		}
	}
}

// fields returns the values of a mapping by key and complains about keys that are not known.
func (p *reader) fields(m *ast.MappingNode, what string, known ...string) map[string]ast.Node {
	fields := make(map[string]ast.Node, len(m.Values))
	for _, v := range m.Values {
		key := v.Key.String()
		if s, ok := v.Key.(*ast.StringNode); ok {
			key = s.Value
		}
		if !slices.Contains(known, key) {
			p.errorf(line(v.Key), "unknown field %q in %s (known: %s)", key, what, strings.Join(known, ", "))
			continue
		}
		fields[key] = v.Value
	}
	return fields
}

func (p *reader) string(m *ast.MappingNode, fields map[string]ast.Node, key string) string {
	n, ok := fields[key]
	if !ok {
		p.errorf(line(m), "a node without %s", key)
		return ""
	}
	s, ok := text(n)
	if !ok || s == "" {
		p.errorf(line(n), "%s: expected a word, found %s", key, kind(n))
		return ""
	}
	return s
}

func (p *reader) number(fields map[string]ast.Node, node, key string, low, high, missing int) int {
	n, ok := fields[key]
	if !ok {
		return missing
	}
	// Only plain decimals: YAML's octal, hexadecimal and underscored integers read differently in Ruby and in Go.
	i, ok := n.(*ast.IntegerNode)
	if !ok || !decimal.MatchString(i.Token.Value) {
		p.errorf(line(n), "node %s: %s: %q is no number; expected %d…%d", node, key, n.String(), low, high)
		return missing
	}
	value, err := strconv.Atoi(i.Token.Value)
	if err != nil || value < low || value > high {
		p.errorf(line(n), "node %s: %s %s is out of range %d…%d", node, key, i.Token.Value, low, high)
		return missing
	}
	return value
}

// mapping also accepts the single-pair form, for which the parser has a type of its own.
func mapping(n ast.Node) (*ast.MappingNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n, true
	case *ast.MappingValueNode:
		return &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: n.GetToken(), Values: []*ast.MappingValueNode{n}}, true
	}
	return nil, false
}

func text(n ast.Node) (string, bool) {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, true
	}
	return "", false
}

func line(n ast.Node) int {
	if n == nil {
		return 0
	}
	// A block mapping's own token is the colon of its first pair; its key comes before it, maybe lines before.
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return line(m.Values[0].Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func kind(n ast.Node) string {
	if n == nil {
		return "nothing"
	}
	switch n.Type() {
	case ast.NullType:
		return "nothing"
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		if len(n.(*ast.SequenceNode).Values) == 0 {
			return "an empty list"
		}
		return "a list"
	default:
		return strconv.Quote(n.String())
	}
}
