// Package docker asks the host's Docker engine about the containers, volumes and networks of labs, and removes them.
//
// It uses the docker command, not Docker's library: the command knows contexts, Docker Desktop and remote hosts, and
// the library is confined to the agents. It finds things by the labels that the Vagrantfile gives them and knows
// nothing of what runs inside a node.
package docker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/inherit"
	"github.com/swarmlab/swarmlab/lab/host/owner"
)

// LabelNode is carried, beside those that say whose it is (package owner), by what belongs to one node.
const LabelNode = "swarmlab.node"

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

// ErrNoAnswer says that the engine was asked and did not answer in time. What it was asked about may be there or not:
// nothing may be concluded, and nothing removed or made.
var ErrNoAnswer = errors.New("the Docker engine did not answer")

// How long the engine may take to answer a question, at first and when it is asked again. A busy one takes seconds.
const (
	quickTime   = 10 * time.Second
	patientTime = time.Minute
)

// Engine is the docker command.
type Engine struct {
	// Quick and Patient are how long an answer is waited for at first and the second time; 0 for the usual.
	Quick, Patient time.Duration
}

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

// run runs a command. What it printed is returned along with an error: an inspection tells what there is, and fails of what
// is not.
func (Engine) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stdout, stderr bytes.Buffer
	cmd.Env = inherit.Environ(os.Environ())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a helper of the command may keep its output open
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		// What was cut off says nothing.
		return nil, &Error{Args: args, Output: ctx.Err().Error(), cause: ctx.Err()}
	}
	output := stderr.String()
	if strings.TrimSpace(output) == "" {
		output = err.Error()
	}
	return stdout.Bytes(), &Error{Args: args, Output: output, cause: err}
}

// ask runs a command that changes nothing, and once more, with more patience, if it had no answer in time. what is what
// is to be known, for the error that says that it is not.
func (e Engine) ask(ctx context.Context, what string, args ...string) ([]byte, error) {
	patience := cmp.Or(e.Patient, patientTime)
	for _, within := range []time.Duration{cmp.Or(e.Quick, quickTime), patience} {
		asking, cancel := context.WithTimeout(ctx, within)
		out, err := e.run(asking, args...)
		silent := asking.Err() != nil || late(err)
		cancel()
		if !silent || err == nil {
			return out, err
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("could not tell %s: %w in time", what, ErrNoAnswer)
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("could not tell %s: %w within %s; this host is overloaded or the engine hangs: try again when `docker ps` answers",
		what, ErrNoAnswer, patience)
}

// late recognizes that the command, or the engine, gave up waiting.
func late(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, sign := range []string{"deadline exceeded", "i/o timeout", "Client.Timeout", "TLS handshake timeout"} {
		if strings.Contains(e.Output, sign) {
			return true
		}
	}
	return false
}

// Containers returns the containers, also the stopped ones, of all labs (lab "") or of one.
func (e Engine) Containers(ctx context.Context, lab string) ([]Container, error) {
	const what = "which containers there are"
	ids, err := e.ids(ctx, what, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+filter(lab))
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
	if err := e.inspect(ctx, what, "container", ids, &raw); err != nil {
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
	const what = "which networks there are"
	ids, err := e.ids(ctx, what, "network", "ls", "--quiet", "--no-trunc")
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
	if err := e.inspect(ctx, what, "network", ids, &raw); err != nil {
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
	const what = "which volumes there are"
	names, err := e.ids(ctx, what, "volume", "ls", "--quiet", "--filter", "label="+filter(lab))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var volumes []Volume
	if err := e.inspect(ctx, what, "volume", names, &volumes); err != nil {
		return nil, err
	}
	return volumes, nil
}

// ID is what tells the engine from others. It stays with the engine's data.
func (e Engine) ID(ctx context.Context) (string, error) {
	out, err := e.ask(ctx, "which Docker engine this is", "info", "--format", "{{.ID}}")
	return strings.TrimSpace(string(out)), err
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
	out, err := e.ask(ctx, "which cgroups there are", "info", "--format", "{{.CgroupVersion}}")
	return strings.TrimSpace(string(out)), err
}

// Exec runs a command in a container.
func (e Engine) Exec(ctx context.Context, container string, command ...string) error {
	_, err := e.run(ctx, append([]string{"exec", container}, command...)...)
	return err
}

// SourceDeleted reports whether the folder of the host that a running container has mounted at a place was deleted since.
func (e Engine) SourceDeleted(ctx context.Context, container, target string) (bool, error) {
	out, err := e.ask(ctx, "what a container has mounted", "exec", container, "cat", "/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	return sourceDeleted(string(out), target), nil
}

// sourceDeleted reads mountinfo: number, parent, device, the folder within its file system, where it is mounted, …
func sourceDeleted(mountinfo, target string) bool {
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == target {
			return strings.HasSuffix(fields[3], "//deleted")
		}
	}
	return false
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
		return owner.LabelLab
	}
	return owner.LabelLab + "=" + lab
}

func (e Engine) ids(ctx context.Context, what string, args ...string) ([]string, error) {
	out, err := e.ask(ctx, what, args...)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// inspect decodes what the engine has on the named objects, those that vanished since they were listed left out.
func (e Engine) inspect(ctx context.Context, what, kind string, names []string, into any) error {
	out, err := e.ask(ctx, what, append([]string{kind, "inspect"}, names...)...)
	var failed *Error
	if errors.As(err, &failed) {
		failed.Args = failed.Args[:2] // the names are many
		if len(out) > 0 && vanished(failed.Output) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("docker %s inspect: %w", kind, err)
	}
	return nil
}

func gone(err error) bool {
	var e *Error
	return errors.As(err, &e) && (vanished(e.Output) || strings.Contains(e.Output, "already in progress"))
}

// vanished recognizes the engine's word that something is not there. That its socket is not there, or the command, is another
// thing.
func vanished(output string) bool {
	return vanishedObject.MatchString(output)
}

var vanishedObject = regexp.MustCompile(`(?i)no such (object|container|network|volume)|\b(container|network|volume) \S+ not found`)
