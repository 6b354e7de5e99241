package pki

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// agentConfig is agent.yaml, read by agents/node.
type agentConfig struct {
	Lab    string      `yaml:"lab"`
	Subnet string      `yaml:"subnet"`
	Stage  string      `yaml:"stage"`
	Node   string      `yaml:"node"`
	Listen string      `yaml:"listen"`
	Nodes  []agentNode `yaml:"nodes"`
}

type agentNode struct {
	Name    string `yaml:"name"`
	Role    string `yaml:"role"`
	Address string `yaml:"address"`
	Ordinal int    `yaml:"ordinal"`
}

// Prepare makes all that is missing or no longer good, for the host and for each node of the lab, and removes the
// folders of nodes that the lab no longer has. exists says whether a node was brought up before: the stage in its
// agent.yaml is only looked at by a new node, so that of an existing one stays as it is.
func Prepare(lab *settings.Lab, now time.Time, exists func(node string) bool) error {
	pkiDir, secretsDir, nodesDir := lab.Path("pki"), lab.Path("secrets"), lab.Path("nodes")
	for _, dir := range []string{lab.StateDir(), pkiDir, secretsDir, nodesDir} {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	ca, err := authority(pkiDir, lab.Name, now)
	if err != nil {
		return err
	}
	for _, unit := range []string{UnitOperate, UnitObserve} {
		leaf := Leaf{CommonName: "lab", Unit: unit, Lifetime: LeafLifetime}
		if err := ca.keep(pkiDir, unit, leaf, now); err != nil {
			return err
		}
	}
	values, err := keepSecrets(secretsDir)
	if err != nil {
		return err
	}
	for _, n := range lab.Topology.Nodes {
		if err := prepareNode(lab, ca, n, values, now, exists(n.Name)); err != nil {
			return fmt.Errorf("prepare node %s: %w", n.Name, err)
		}
	}
	return removeOthers(nodesDir, lab.Topology.Names())
}

// RemoveNode removes a node's folder.
func RemoveNode(lab *settings.Lab, node string) error {
	if err := os.RemoveAll(lab.NodeDir(node)); err != nil {
		return fmt.Errorf("remove what node %s was given: %w", node, err)
	}
	return nil
}

func prepareNode(lab *settings.Lab, ca *Authority, n topology.Node, values map[string]string, now time.Time, exists bool) error {
	dir := lab.NodeDir(n.Name)
	certs, secretsDir := filepath.Join(dir, "pki"), filepath.Join(dir, "secrets")
	for _, d := range []string{certs, secretsDir} {
		if err := makeDir(d); err != nil {
			return err
		}
	}
	leaf := Leaf{
		CommonName: n.Name, Unit: UnitNode, Server: true, Lifetime: LeafLifetime,
		DNS: []string{n.Name, "localhost"},
		IPs: []net.IP{n.Address.AsSlice(), net.IPv4(127, 0, 0, 1)},
	}
	if err := ca.keep(certs, "node", leaf, now); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(certs, "ca.crt"), ca.Certificate()); err != nil {
		return err
	}
	names := secretsOf(n.Role)
	for _, name := range names {
		if err := writeFile(filepath.Join(secretsDir, name), []byte(values[name])); err != nil {
			return err
		}
	}
	config, err := agentYAML(lab, n, exists)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "agent.yaml"), config); err != nil {
		return err
	}
	for d, keep := range map[string][]string{
		certs:      {"ca.crt", "node.crt", "node.key"},
		secretsDir: names,
	} {
		if err := removeOthers(d, keep); err != nil {
			return err
		}
	}
	return nil
}

func agentYAML(lab *settings.Lab, n topology.Node, exists bool) ([]byte, error) {
	config := agentConfig{
		Lab:    lab.Name,
		Subnet: lab.Subnet.String(),
		Stage:  lab.Stage.String(),
		Node:   n.Name,
		Listen: fmt.Sprintf("0.0.0.0:%d", contract.AgentPort),
	}
	if exists {
		var old agentConfig
		if data, err := os.ReadFile(filepath.Join(lab.NodeDir(n.Name), "agent.yaml")); err == nil {
			// A damaged file is replaced, so its error does not matter.
			if err := yaml.Unmarshal(data, &old); err == nil && slices.Contains(settings.StageNames(), old.Stage) {
				config.Stage = old.Stage
			}
		}
	}
	for _, o := range lab.Topology.Nodes {
		config.Nodes = append(config.Nodes, agentNode{Name: o.Name, Role: o.Role, Address: o.Address.String(), Ordinal: o.Ordinal})
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode agent.yaml: %w", err)
	}
	return data, nil
}
