package node

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// Config is agent.yaml: what the host tells a node about the lab.
type Config struct {
	Lab    string
	Subnet netip.Prefix
	// Stage is the desired one as long as nobody has set another.
	Stage  rolev1.Stage
	Listen string
	// Self is this node's entry in Nodes.
	Self *rolev1.Node
	// Nodes of the lab in topology order.
	Nodes []*rolev1.Node
}

// ManagerRole is the role of the node that founds the swarm, by name as in the topology.
const ManagerRole = "manager"

// Manager returns the node that founds the swarm and keeps Consul.
func (c Config) Manager() *rolev1.Node {
	for _, n := range c.Nodes {
		if n.GetRole() == ManagerRole {
			return n
		}
	}
	return nil
}

type configFile struct {
	Lab    string     `yaml:"lab"`
	Subnet string     `yaml:"subnet"`
	Stage  string     `yaml:"stage"`
	Node   string     `yaml:"node"`
	Listen string     `yaml:"listen"`
	Nodes  []nodeFile `yaml:"nodes"`
}

type nodeFile struct {
	Name    string `yaml:"name"`
	Role    string `yaml:"role"`
	Address string `yaml:"address"`
	Ordinal uint32 `yaml:"ordinal"`
}

// ReadConfig reads agent.yaml.
func ReadConfig(path string) (Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the agent's configuration: %w; `vagrant provision` installs it", err)
	}
	config, err := ParseConfig(content)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

// maxConfig bounds agent.yaml, in bytes: a thousand nodes need a tenth of it.
const maxConfig = 1 << 20

// ParseConfig reads the text of agent.yaml. Errors give the line.
func ParseConfig(content []byte) (Config, error) {
	if len(content) > maxConfig {
		return Config{}, fmt.Errorf("it has %d bytes; more than %d make no sense", len(content), maxConfig)
	}
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return Config{}, errors.New(yaml.FormatError(err, false, true))
	}
	var raw configFile
	if err := yaml.UnmarshalWithOptions(content, &raw, yaml.Strict()); err != nil {
		return Config{}, errors.New(yaml.FormatError(err, false, true))
	}
	c := checker{file: file}
	return c.config(raw)
}

// checker turns what was read into what is used, and finds the line of what is wrong.
type checker struct {
	file *ast.File
}

var nameRE = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

func (c checker) config(raw configFile) (Config, error) {
	if !nameRE.MatchString(raw.Lab) {
		return Config{}, c.wrong("$.lab", "%q is no name of a lab: lower-case letters, digits and dashes", raw.Lab)
	}
	subnet, err := netip.ParsePrefix(raw.Subnet)
	if err != nil || !subnet.Addr().Is4() {
		return Config{}, c.wrong("$.subnet", "%q is no IPv4 subnet such as 192.168.33.0/24", raw.Subnet)
	}
	stage, err := ParseStage(raw.Stage)
	if err != nil {
		return Config{}, c.wrong("$.stage", "%v", err)
	}
	if _, err := netip.ParseAddrPort(raw.Listen); err != nil {
		return Config{}, c.wrong("$.listen", "%q is no address with a port such as 0.0.0.0:7400", raw.Listen)
	}
	config := Config{Lab: raw.Lab, Subnet: subnet.Masked(), Stage: stage, Listen: raw.Listen}
	seen := map[string]bool{}
	for i, n := range raw.Nodes {
		at := fmt.Sprintf("$.nodes[%d]", i)
		switch address, err := netip.ParseAddr(n.Address); {
		case !nameRE.MatchString(n.Name):
			return Config{}, c.wrong(at+".name", "%q is no name of a node", n.Name)
		case seen[n.Name]:
			return Config{}, c.wrong(at+".name", "there are two nodes %s", n.Name)
		case !nameRE.MatchString(n.Role):
			return Config{}, c.wrong(at+".role", "%q is no name of a role", n.Role)
		case err != nil || !subnet.Contains(address):
			return Config{}, c.wrong(at+".address", "%q is no address in %s", n.Address, subnet)
		case seen[n.Address]:
			return Config{}, c.wrong(at+".address", "two nodes have the address %s", n.Address)
		case n.Ordinal == 0:
			return Config{}, c.wrong(at+".ordinal", "ordinals of %s start at 1", n.Role)
		case seen[fmt.Sprint(n.Role, " ", n.Ordinal)]:
			return Config{}, c.wrong(at+".ordinal", "two nodes are number %d of role %s", n.Ordinal, n.Role)
		}
		seen[n.Name], seen[n.Address], seen[fmt.Sprint(n.Role, " ", n.Ordinal)] = true, true, true
		node := &rolev1.Node{Name: n.Name, Role: n.Role, Address: n.Address, Ordinal: n.Ordinal}
		config.Nodes = append(config.Nodes, node)
		if n.Name == raw.Node {
			config.Self = node
		}
	}
	if config.Manager() == nil {
		return Config{}, c.wrong("$.nodes", "none of the nodes has the role %s", ManagerRole)
	}
	if config.Self == nil {
		return Config{}, c.wrong("$.node", "this node, %q, is not among the nodes", raw.Node)
	}
	return config, nil
}

func (c checker) wrong(path, format string, args ...any) error {
	text := fmt.Sprintf("%s: %s", strings.TrimPrefix(path, "$."), fmt.Sprintf(format, args...))
	if line := c.line(path); line > 0 {
		return fmt.Errorf("line %d: %s", line, text)
	}
	return errors.New(text + " (the entry is missing)")
}

// line of the entry at a path; 0 when there is none.
func (c checker) line(path string) int {
	p, err := yaml.PathString(path)
	if err != nil {
		return 0
	}
	found, err := p.FilterFile(c.file)
	if err != nil || found == nil || found.GetToken() == nil || found.GetToken().Position == nil {
		return 0
	}
	return found.GetToken().Position.Line
}

// ParseStage reads a stage's name as people write it: "network".
func ParseStage(name string) (rolev1.Stage, error) {
	if number, ok := rolev1.Stage_value["STAGE_"+strings.ToUpper(name)]; ok && number != 0 && name == strings.ToLower(name) {
		return rolev1.Stage(number), nil
	}
	return 0, fmt.Errorf("%q is no stage; the stages are infrastructure, cluster, network, images, application", name)
}

// StageName is a stage's name as people write it.
func StageName(stage rolev1.Stage) string {
	return strings.ToLower(strings.TrimPrefix(stage.String(), "STAGE_"))
}
