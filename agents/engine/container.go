package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

// Restart is a container's restart policy in Docker's words.
type Restart string

// Docker's restart policies.
const (
	RestartNo            Restart = "no"
	RestartOnFailure     Restart = "on-failure"
	RestartUnlessStopped Restart = "unless-stopped"
	RestartAlways        Restart = "always"
)

// Spec is what a container is created from.
type Spec struct {
	Name     string
	Image    string
	Hostname string
	// Command replaces the image's command; nil keeps it.
	Command []string
	Env     map[string]string
	Labels  map[string]string
	Ports   []Port
	Mounts  []Mount
	// Networks: the first is joined at creation, the others before the first start.
	Networks   []Attachment
	Restart    Restart
	StopSignal string
	// StopTimeout, in whole seconds; 0 is the engine's default of 10 s.
	StopTimeout time.Duration
	User        string
	// Hardened: root file system read-only, no capabilities but CapAdd, no new privileges.
	Hardened bool
	CapAdd   []string
	Tmpfs    []string
}

// Port publishes a container's TCP port on an address of the node.
type Port struct {
	HostAddress   string
	HostPort      uint16
	ContainerPort uint16
}

func (p Port) String() string {
	return fmt.Sprintf("%s:%d:%d", p.HostAddress, p.HostPort, p.ContainerPort)
}

// Mount is a named volume (Volume set) or a file or directory of the node (Source set).
type Mount struct {
	Volume   string
	Source   string
	Target   string
	ReadOnly bool
	// Optional: a container without it is as good. It says nothing of one that exists.
	Optional bool `json:",omitempty"`
}

// Attachment joins a container to a network.
type Attachment struct {
	Network string
	Aliases []string
}

// State is a container's state in Docker's words.
type State string

// Docker's container states.
const (
	StateCreated    State = "created"
	StateRunning    State = "running"
	StatePaused     State = "paused"
	StateRestarting State = "restarting"
	StateRemoving   State = "removing"
	StateExited     State = "exited"
	StateDead       State = "dead"
)

// Container is a container as the engine has it.
type Container struct {
	ID      string
	Created time.Time
	State   State
	// Error is the engine's own error about the last start, for example that a network could not be joined.
	Error      string
	ExitCode   int
	OOMKilled  bool
	StartedAt  time.Time
	FinishedAt time.Time
	PID        int
	Restarts   int
	// ImageID is what the reference meant when the container was created.
	ImageID string
	// Endpoints by network name; a container that does not run keeps its endpoints without addresses.
	Endpoints map[string]Endpoint
	// Spec is what the engine reports of what the container was created from. A network in it without an endpoint is one
	// that the container has lost, its aliases with it.
	Spec Spec
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	NetworkID  string
	EndpointID string
	// Address is empty while the container is not attached.
	Address string
}

// Listed is an entry of the engine's list of containers.
type Listed struct {
	ID    string
	Name  string
	State State
}

// Containers lists all containers, running or not. Unlike Container it never waits for one that is busy.
func (e *Engine) Containers(ctx context.Context) ([]Listed, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, failed("list the containers", "", err)
	}
	out := make([]Listed, 0, len(list))
	for _, c := range list {
		entry := Listed{ID: c.ID, State: State(c.State)}
		for _, name := range c.Names {
			// Names of links have a second slash.
			if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
				entry.Name = name
			}
		}
		out = append(out, entry)
	}
	return out, nil
}

// Container returns a container by id or name. The engine answers only when no other operation holds the container:
// during a start that waits for an overlay network this takes as long as the start, so callers set a deadline.
func (e *Engine) Container(ctx context.Context, id string) (Container, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return Container{}, failed("inspect container", id, err)
	}
	return containerOf(c), nil
}

// Create creates a container without starting it and returns its id. Its image must be there; its named volumes are
// created by the engine when missing.
func (e *Engine) Create(ctx context.Context, spec Spec) (string, error) {
	config := &container.Config{
		Hostname:     spec.Hostname,
		Image:        spec.Image,
		Cmd:          spec.Command,
		User:         spec.User,
		Labels:       spec.Labels,
		StopSignal:   spec.StopSignal,
		ExposedPorts: nat.PortSet{},
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Env)) {
		config.Env = append(config.Env, name+"="+spec.Env[name])
	}
	if spec.StopTimeout > 0 {
		seconds := int(spec.StopTimeout.Round(time.Second) / time.Second)
		config.StopTimeout = &seconds
	}
	host := &container.HostConfig{
		PortBindings:  nat.PortMap{},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(spec.Restart)},
		CapAdd:        spec.CapAdd,
	}
	for _, p := range spec.Ports {
		port := nat.Port(strconv.Itoa(int(p.ContainerPort)) + "/tcp")
		config.ExposedPorts[port] = struct{}{}
		host.PortBindings[port] = append(host.PortBindings[port],
			nat.PortBinding{HostIP: p.HostAddress, HostPort: strconv.Itoa(int(p.HostPort))})
	}
	for _, m := range spec.Mounts {
		if m.Volume != "" {
			host.Mounts = append(host.Mounts,
				mount.Mount{Type: mount.TypeVolume, Source: m.Volume, Target: m.Target, ReadOnly: m.ReadOnly})
			continue
		}
		host.Mounts = append(host.Mounts,
			mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	if spec.Hardened {
		host.ReadonlyRootfs = true
		host.CapDrop = []string{"ALL"}
		host.SecurityOpt = []string{"no-new-privileges:true"}
	}
	for _, path := range spec.Tmpfs {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		host.Tmpfs[path] = ""
	}
	networking := &network.NetworkingConfig{}
	host.NetworkMode = network.NetworkNone
	if len(spec.Networks) > 0 {
		first := spec.Networks[0]
		host.NetworkMode = container.NetworkMode(first.Network)
		networking.EndpointsConfig = map[string]*network.EndpointSettings{
			first.Network: {Aliases: first.Aliases},
		}
	}
	created, err := e.api.ContainerCreate(ctx, config, host, networking, nil, spec.Name)
	if err != nil {
		return "", failed("create container", spec.Name, err)
	}
	for _, n := range spec.Networks[min(1, len(spec.Networks)):] {
		if err := e.Connect(ctx, created.ID, n); err != nil {
			return created.ID, err
		}
	}
	return created.ID, nil
}

// Start starts a container; one that runs already is left as it is.
func (e *Engine) Start(ctx context.Context, id string) error {
	return failed("start container", id, e.api.ContainerStart(ctx, id, container.StartOptions{}))
}

// Stop sends a container its stop signal and, when it did not end within its stop timeout, kills it.
func (e *Engine) Stop(ctx context.Context, id string) error {
	return failed("stop container", id, e.api.ContainerStop(ctx, id, container.StopOptions{}))
}

// Pause freezes a container's processes.
func (e *Engine) Pause(ctx context.Context, id string) error {
	return failed("pause container", id, e.api.ContainerPause(ctx, id))
}

// Unpause lets a paused container go on.
func (e *Engine) Unpause(ctx context.Context, id string) error {
	return failed("unpause container", id, e.api.ContainerUnpause(ctx, id))
}

// Remove removes a container together with its anonymous volumes, killing it when it runs. Named volumes stay.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	return failed("remove container", id, err)
}

func containerOf(in container.InspectResponse) Container {
	c := Container{Endpoints: map[string]Endpoint{}}
	if in.ContainerJSONBase == nil {
		return c
	}
	c.ID, c.ImageID, c.Restarts = in.ID, in.Image, in.RestartCount
	c.Created = parseTime(in.Created)
	c.Spec.Name = strings.TrimPrefix(in.Name, "/")
	if s := in.State; s != nil {
		c.State, c.Error, c.ExitCode = State(s.Status), s.Error, s.ExitCode
		c.OOMKilled, c.PID = s.OOMKilled, s.Pid
		c.StartedAt, c.FinishedAt = parseTime(s.StartedAt), parseTime(s.FinishedAt)
	}
	if in.Config != nil {
		configOf(&c.Spec, in.Config)
	}
	if in.HostConfig != nil {
		hostOf(&c.Spec, in.HostConfig)
	}
	for _, m := range in.Mounts {
		switch m.Type {
		case mount.TypeVolume:
			c.Spec.Mounts = append(c.Spec.Mounts, Mount{Volume: m.Name, Target: m.Destination, ReadOnly: !m.RW})
		case mount.TypeBind:
			c.Spec.Mounts = append(c.Spec.Mounts, Mount{Source: m.Source, Target: m.Destination, ReadOnly: !m.RW})
		}
	}
	if in.NetworkSettings != nil {
		for _, name := range slices.Sorted(maps.Keys(in.NetworkSettings.Networks)) {
			n := in.NetworkSettings.Networks[name]
			if n == nil {
				continue
			}
			c.Endpoints[name] = Endpoint{NetworkID: n.NetworkID, EndpointID: n.EndpointID, Address: n.IPAddress}
			aliases := slices.Concat(n.Aliases, n.DNSNames)
			slices.Sort(aliases)
			c.Spec.Networks = append(c.Spec.Networks, Attachment{Network: name, Aliases: slices.Compact(aliases)})
		}
	}
	if len(c.Endpoints) == 0 && in.HostConfig != nil && in.HostConfig.NetworkMode.IsUserDefined() {
		// A node that leaves its swarm takes its containers off the overlay; what they were made for still stands.
		c.Spec.Networks = []Attachment{{Network: in.HostConfig.NetworkMode.NetworkName()}}
	}
	return c
}

func configOf(spec *Spec, config *container.Config) {
	spec.Image, spec.Hostname, spec.User = config.Image, config.Hostname, config.User
	spec.Command, spec.Labels, spec.StopSignal = config.Cmd, config.Labels, config.StopSignal
	spec.Env = make(map[string]string, len(config.Env))
	for _, entry := range config.Env {
		name, value, _ := strings.Cut(entry, "=")
		spec.Env[name] = value
	}
	if config.StopTimeout != nil {
		spec.StopTimeout = time.Duration(*config.StopTimeout) * time.Second
	}
}

func hostOf(spec *Spec, host *container.HostConfig) {
	spec.Restart = Restart(host.RestartPolicy.Name)
	if spec.Restart == "" {
		spec.Restart = RestartNo
	}
	spec.Hardened = host.ReadonlyRootfs
	spec.CapAdd = host.CapAdd
	spec.Tmpfs = slices.Sorted(maps.Keys(host.Tmpfs))
	for port, bindings := range host.PortBindings {
		for _, b := range bindings {
			number, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil || port.Proto() != "tcp" {
				continue // an ephemeral or non-TCP port is nobody's contract
			}
			address := b.HostIP
			if address == "" {
				address = "0.0.0.0"
			}
			spec.Ports = append(spec.Ports,
				Port{HostAddress: address, HostPort: uint16(number), ContainerPort: uint16(port.Int())})
		}
	}
	slices.SortFunc(spec.Ports, func(a, b Port) int { return strings.Compare(a.String(), b.String()) })
}

// parseTime reads Docker's times; its zero time comes back as Go's.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
