// Package docker asks the host's Docker engine about the containers, volumes and networks of labs, and removes them.
//
// It uses the docker command, not Docker's library: the command knows contexts, Docker Desktop and remote hosts, and
// the library is confined to the agents. It finds things by the labels that the Vagrantfile gives them and knows
// nothing of what runs inside a node.
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// Labels that each container, volume and network of a lab carries.
const (
	LabelLab    = "swarmlab.lab"
	LabelFolder = "swarmlab.folder"
	LabelNode   = "swarmlab.node"
)

// Container is one container of the host's engine.
type Container struct {
	ID     string
	Name   string
	Labels map[string]string
	// State in Docker's words: "created", "running", "paused", "restarting", "exited", "dead".
	State string
	// HostPorts that it publishes.
	HostPorts []string
}

// Network is one network of the host's engine.
type Network struct {
	ID      string
	Name    string
	Labels  map[string]string
	Subnets []string
}

// Engine is the docker command.
type Engine struct{}

// Error is a docker command that failed.
type Error struct {
	Args []string
	// Output is what the command wrote to its standard error.
	Output string
	cause  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("docker %s: %s", strings.Join(e.Args, " "), strings.TrimSpace(e.Output))
}

func (e *Error) Unwrap() error { return e.cause }

func (Engine) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		output := stderr.String()
		if strings.TrimSpace(output) == "" {
			output = err.Error()
		}
		return nil, &Error{Args: args, Output: output, cause: err}
	}
	return stdout.Bytes(), nil
}

// Containers returns the containers, also the stopped ones, of all labs (lab "") or of one.
func (e Engine) Containers(ctx context.Context, lab string) ([]Container, error) {
	ids, err := e.ids(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+filter(lab))
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var raw []struct {
		ID     string `json:"Id"`
		Name   string
		Config struct{ Labels map[string]string }
		State  struct{ Status string }

		HostConfig struct {
			PortBindings map[string][]struct{ HostPort string }
		}
	}
	if err := e.inspect(ctx, "container", ids, &raw); err != nil {
		return nil, err
	}
	containers := make([]Container, len(raw))
	for i, r := range raw {
		containers[i] = Container{ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Labels: r.Config.Labels, State: r.State.Status}
		for _, bindings := range r.HostConfig.PortBindings {
			for _, b := range bindings {
				if b.HostPort != "" {
					containers[i].HostPorts = append(containers[i].HostPorts, b.HostPort)
				}
			}
		}
	}
	return containers, nil
}

// Networks returns all networks, also those that belong to no lab.
func (e Engine) Networks(ctx context.Context) ([]Network, error) {
	ids, err := e.ids(ctx, "network", "ls", "--quiet", "--no-trunc")
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var raw []struct {
		ID     string `json:"Id"`
		Name   string
		Labels map[string]string
		IPAM   struct {
			Config []struct{ Subnet string }
		}
	}
	if err := e.inspect(ctx, "network", ids, &raw); err != nil {
		return nil, err
	}
	networks := make([]Network, len(raw))
	for i, r := range raw {
		networks[i] = Network{ID: r.ID, Name: r.Name, Labels: r.Labels}
		for _, c := range r.IPAM.Config {
			if c.Subnet != "" {
				networks[i].Subnets = append(networks[i].Subnets, c.Subnet)
			}
		}
	}
	return networks, nil
}

// Volume is one named volume of the host's engine.
type Volume struct {
	Name   string
	Labels map[string]string
}

// Volumes returns the volumes of all labs (lab "") or of one.
func (e Engine) Volumes(ctx context.Context, lab string) ([]Volume, error) {
	names, err := e.ids(ctx, "volume", "ls", "--quiet", "--filter", "label="+filter(lab))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var volumes []Volume
	if err := e.inspect(ctx, "volume", names, &volumes); err != nil {
		return nil, err
	}
	return volumes, nil
}

// Kill ends a container's processes at once, unasked.
func (e Engine) Kill(ctx context.Context, container string) error {
	_, err := e.run(ctx, "kill", "--signal", "KILL", container)
	return err
}

// Start starts a container that does not run.
func (e Engine) Start(ctx context.Context, container string) error {
	_, err := e.run(ctx, "start", container)
	return err
}

// CgroupVersion is that of the cgroups on the engine's host, "1" or "2".
func (e Engine) CgroupVersion(ctx context.Context) (string, error) {
	out, err := e.run(ctx, "info", "--format", "{{.CgroupVersion}}")
	return strings.TrimSpace(string(out)), err
}

// Exec runs a command in a container.
func (e Engine) Exec(ctx context.Context, container string, command ...string) error {
	_, err := e.run(ctx, append([]string{"exec", container}, command...)...)
	return err
}

// Pause freezes the processes of a container.
func (e Engine) Pause(ctx context.Context, container string) error {
	_, err := e.run(ctx, "pause", container)
	return err
}

// Unpause lets frozen containers run again.
func (e Engine) Unpause(ctx context.Context, containers ...string) error {
	_, err := e.run(ctx, append([]string{"unpause"}, containers...)...)
	return err
}

// RemoveContainers kills and removes containers, all at once. One that is gone already is no error.
func (e Engine) RemoveContainers(ctx context.Context, ids []string) error {
	return e.removeEach(ctx, ids, "rm", "--force", "--volumes")
}

// RemoveVolumes removes named volumes with all that is on them. One that is gone already is no error.
func (e Engine) RemoveVolumes(ctx context.Context, names []string) error {
	return e.removeEach(ctx, names, "volume", "rm", "--force")
}

// RemoveNetworks removes networks. One that is gone already is no error.
func (e Engine) RemoveNetworks(ctx context.Context, ids []string) error {
	return e.removeEach(ctx, ids, "network", "rm")
}

func (e Engine) removeEach(ctx context.Context, what []string, command ...string) error {
	errs := make([]error, len(what))
	var wg sync.WaitGroup
	for i, one := range what {
		wg.Go(func() {
			_, err := e.run(ctx, append(append([]string(nil), command...), one)...)
			if err != nil && !gone(err) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func filter(lab string) string {
	if lab == "" {
		return LabelLab
	}
	return LabelLab + "=" + lab
}

func (e Engine) ids(ctx context.Context, args ...string) ([]string, error) {
	out, err := e.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// inspect decodes what the engine has on the named objects, those that vanished since they were listed left out.
func (e Engine) inspect(ctx context.Context, kind string, names []string, into any) error {
	cmd := exec.CommandContext(ctx, "docker", append([]string{kind, "inspect"}, names...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && (stdout.Len() == 0 || !vanished(stderr.String())) {
		return &Error{Args: []string{kind, "inspect"}, Output: stderr.String(), cause: err}
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		return fmt.Errorf("docker %s inspect: %w", kind, err)
	}
	return nil
}

func gone(err error) bool {
	var e *Error
	return errors.As(err, &e) && (vanished(e.Output) || strings.Contains(e.Output, "already in progress"))
}

func vanished(output string) bool {
	return strings.Contains(strings.ToLower(output), "no such") || strings.Contains(output, "not found")
}
