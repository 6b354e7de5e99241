//go:build integration

package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// machines is what differs between nodes that are containers and nodes that are virtual machines.
type machines interface {
	// onNode runs a command on a node as its root, as a learner does after vagrant ssh.
	onNode(ctx context.Context, node string, args ...string) (string, error)
	// suspend freezes all nodes, resume lets them go on.
	suspend(ctx context.Context) error
	resume(ctx context.Context) error
}

// containers are nodes of the docker provider.
type containers struct{ lab *settings.Lab }

func (c containers) name(node string) string { return c.lab.Name + "-" + node }

func (c containers) onNode(ctx context.Context, node string, args ...string) (string, error) {
	return host(ctx, "docker", append([]string{"exec", c.name(node)}, args...)...)
}

func (c containers) suspend(ctx context.Context) error { return c.all(ctx, "pause") }
func (c containers) resume(ctx context.Context) error  { return c.all(ctx, "unpause") }

func (c containers) all(ctx context.Context, command string) error {
	args := []string{command}
	for _, n := range c.lab.Topology.Nodes {
		args = append(args, c.name(n.Name))
	}
	_, err := host(ctx, "docker", args...)
	return err
}

// virtual are virtual machines.
type virtual struct {
	lab *settings.Lab
	dir string
	mu  sync.Mutex
	// configs are the files, within dir, that say how ssh reaches a node: Vagrant takes seconds to tell.
	configs map[string]string
}

func (v *virtual) sshConfig(ctx context.Context, node string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if path, ok := v.configs[node]; ok {
		return path, nil
	}
	text, err := v.vagrant(ctx, "ssh-config", node)
	if err != nil {
		return "", err
	}
	path := filepath.Join(v.dir, node)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	v.configs[node] = path
	return path, nil
}

func (v *virtual) vagrant(ctx context.Context, args ...string) (string, error) {
	return host(ctx, "env", append([]string{"-C", v.lab.Dir, "vagrant"}, args...)...)
}

func (v *virtual) onNode(ctx context.Context, node string, args ...string) (string, error) {
	config, err := v.sshConfig(ctx, node)
	if err != nil {
		return "", err
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return host(ctx, "ssh", "-F", config, node, "sudo -- "+strings.Join(quoted, " "))
}

func (v *virtual) suspend(ctx context.Context) error {
	_, err := v.vagrant(ctx, "suspend")
	return err
}

func (v *virtual) resume(ctx context.Context) error {
	_, err := v.vagrant(ctx, "resume")
	return err
}
