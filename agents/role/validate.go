package role

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// Bridge is the engine's own network. Every other network in a plan is an overlay of the swarm.
const Bridge = "bridge"

var (
	// Docker's rules for the names of containers and volumes.
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
	envName       = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	fileName      = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	signalName    = regexp.MustCompile(`^(SIG)?[A-Z][A-Z0-9+-]*$`)
	// Consul serves names by DNS as well.
	serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	// action is what a rendered file may hold between {{ and }}.
	action = regexp.MustCompile(`^\s*(secret|sha512crypt)\s+"([a-zA-Z0-9][a-zA-Z0-9_.-]*)"\s*$`)
)

// Validate says what is wrong with a plan: everything at once, each with the container it is about. Supervisor does it to every plan,
// so that the agent acts only on those that make sense, whoever wrote the role.
func Validate(plan *Plan) error {
	v := &validation{containers: map[string]int{}, ports: map[string]string{}}
	if plan == nil {
		return errors.New("there is no plan")
	}
	for i, c := range plan.GetContainers() {
		v.container(i, c)
	}
	// Needs may only look back: that is the start order, and rules out circles.
	for i, c := range plan.GetContainers() {
		for _, need := range c.GetNeeds() {
			j, ok := v.containers[need]
			switch {
			case !ok:
				v.addf("container %q needs %q, which the plan lacks", c.GetName(), need)
			case j >= i:
				v.addf("container %q needs %q, which does not come before it", c.GetName(), need)
			case plan.GetContainers()[j].GetStage() > c.GetStage():
				v.addf("container %q needs %q, which belongs to a later stage", c.GetName(), need)
			}
		}
	}
	v.services(plan)
	switch plan.GetSwarm() {
	case rolev1.SwarmMembership_SWARM_MEMBERSHIP_WORKER, rolev1.SwarmMembership_SWARM_MEMBERSHIP_MANAGER:
	case rolev1.SwarmMembership_SWARM_MEMBERSHIP_NONE:
		if v.overlay != "" {
			v.addf("container %q is to join an overlay network, but the node is not to join the swarm", v.overlay)
		}
	default:
		v.addf("swarm membership is not set: NONE, WORKER or MANAGER")
	}
	return errors.Join(v.errs...)
}

// validation collects complaints.
type validation struct {
	errs       []error
	containers map[string]int
	ports      map[string]string // address:port → container
	overlay    string            // a container on an overlay network
}

func (v *validation) addf(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

func (v *validation) container(i int, c *rolev1.Container) {
	name := c.GetName()
	bad := func(format string, args ...any) {
		v.addf("container %q: %s", name, fmt.Sprintf(format, args...))
	}
	if !containerName.MatchString(name) {
		bad("Docker allows no such name")
	}
	if _, twice := v.containers[name]; twice {
		bad("the name is there twice")
	}
	v.containers[name] = i
	if c.GetImage().GetReference() == "" {
		bad("no image")
	}
	if b := c.GetImage().GetBuild(); b != "" && !fileName.MatchString(b) {
		bad("build folder %q is not the name of a folder", b)
	}
	if c.GetStage() < rolev1.Stage_STAGE_CLUSTER || c.GetStage() > rolev1.Stage_STAGE_APPLICATION {
		bad("stage %v: containers belong to CLUSTER or a later stage", c.GetStage())
	}
	for k, value := range c.GetEnv() {
		if !envName.MatchString(k) {
			bad("environment variable %q is not a name", k)
		}
		if strings.Contains(value, "{{") {
			bad("environment variable %s: {{…}} is for rendered files; a secret is mounted, since docker inspect shows the environment", k)
		}
	}
	for _, p := range c.GetPorts() {
		v.port(name, p, bad)
	}
	v.mounts(c, bad)
	v.networks(c, bad)
	if s := c.GetStopSignal(); s != "" && !signalName.MatchString(s) {
		bad("stop signal %q is not the name of a signal", s)
	}
	if t := c.GetStopTimeout(); t != nil && (t.CheckValid() != nil || t.AsDuration() < 0) {
		bad("stop timeout %v is not a time to wait", t.AsDuration())
	}
	for _, t := range c.GetTmpfs() {
		if !path.IsAbs(t) {
			bad("tmpfs %q is not an absolute path", t)
		}
	}
}

func (v *validation) port(name string, p *rolev1.PublishedPort, bad func(string, ...any)) {
	if _, err := netip.ParseAddr(p.GetHostAddress()); err != nil {
		bad("published port %d: host address %q is not an address; 0.0.0.0 means all", p.GetContainerPort(), p.GetHostAddress())
	}
	if !isPort(p.GetHostPort()) || !isPort(p.GetContainerPort()) {
		bad("published port %d → %d: ports go from 1 to 65535", p.GetHostPort(), p.GetContainerPort())
	}
	key := fmt.Sprintf("%s:%d", p.GetHostAddress(), p.GetHostPort())
	if other, taken := v.ports[key]; taken {
		bad("%s is published by %q already", key, other)
	}
	v.ports[key] = name
}

func (v *validation) mounts(c *rolev1.Container, bad func(string, ...any)) {
	targets := map[string]bool{}
	files := map[string]bool{}
	for _, m := range c.GetMounts() {
		target := m.GetTarget()
		if !path.IsAbs(target) || path.Clean(target) != target || target == "/" {
			bad("mount target %q is not an absolute path", target)
		}
		if targets[target] {
			bad("something is mounted on %s already", target)
		}
		targets[target] = true
		switch source := m.GetSource().(type) {
		case *rolev1.Mount_Volume:
			if !containerName.MatchString(source.Volume) {
				bad("mount on %s: volume %q: Docker allows no such name", target, source.Volume)
			}
		case *rolev1.Mount_Secret:
			if !fileName.MatchString(source.Secret) {
				bad("mount on %s: secret %q is not the name of a file", target, source.Secret)
			}
		case *rolev1.Mount_File:
			f := source.File
			if !fileName.MatchString(f.GetName()) {
				bad("mount on %s: file %q is not the name of a file", target, f.GetName())
			}
			if files[f.GetName()] {
				bad("file %q is there twice", f.GetName())
			}
			files[f.GetName()] = true
			if s := f.GetReloadSignal(); s != "" && !signalName.MatchString(s) {
				bad("file %s: reload signal %q is not the name of a signal", f.GetName(), s)
			}
			if err := validTemplate(f.GetContent()); err != nil {
				bad("file %s: %v", f.GetName(), err)
			}
		case *rolev1.Mount_ClockOffset:
			if u, err := url.Parse(source.ClockOffset.GetUrl()); err != nil || u.Scheme != "http" || u.Host == "" {
				bad("mount on %s: %q is not where a container could tell its time", target, source.ClockOffset.GetUrl())
			}
		default:
			bad("mount on %s: no volume, secret, file or clock's offset", target)
		}
	}
}

// validTemplate checks what stands between {{ and }}.
func validTemplate(content string) error {
	for n := 1; ; n++ {
		_, rest, found := strings.Cut(content, "{{")
		if !found {
			return nil
		}
		inner, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return fmt.Errorf("{{ number %d is not closed", n)
		}
		if !action.MatchString(inner) {
			return fmt.Errorf(`{{%s}}: only {{secret "NAME"}} and {{sha512crypt "NAME"}} are known`, clip(inner))
		}
		content = after
	}
}

func (v *validation) networks(c *rolev1.Container, bad func(string, ...any)) {
	seen := map[string]bool{}
	for _, n := range c.GetNetworks() {
		name := n.GetNetwork()
		if !containerName.MatchString(name) {
			bad("network %q: Docker allows no such name", name)
		}
		if seen[name] {
			bad("network %s is there twice", name)
		}
		seen[name] = true
		if name == Bridge {
			if len(n.GetAliases()) > 0 {
				bad("Docker has no aliases on network %s", Bridge)
			}
			continue
		}
		v.overlay = c.GetName()
		if c.GetStage() < rolev1.Stage_STAGE_NETWORK {
			bad("it is to join network %s at stage %v, before networks exist", name, c.GetStage())
		}
		// The engine starts such a container at boot, before it can join the overlay: it hangs, and the engine with it.
		if c.GetRestart() == rolev1.RestartPolicy_RESTART_POLICY_UNLESS_STOPPED {
			bad("on overlay network %s the restart policy must be NO or ON_FAILURE: the agent starts it at boot, once the network is there", name)
		}
	}
	if c.GetRestart() == rolev1.RestartPolicy_RESTART_POLICY_UNSPECIFIED {
		bad("the restart policy is not set")
	}
}

func (v *validation) services(plan *Plan) {
	names := map[string]bool{}
	for _, s := range plan.GetServices() {
		if !serviceName.MatchString(s.GetName()) {
			v.addf("service %q: names are made of a-z, 0-9 and inner dashes", s.GetName())
		}
		if names[s.GetName()] {
			v.addf("service %q is there twice", s.GetName())
		}
		names[s.GetName()] = true
		if _, ok := v.containers[s.GetContainer()]; !ok {
			v.addf("service %q follows container %q, which the plan lacks", s.GetName(), s.GetContainer())
		}
		if !isPort(s.GetPort()) {
			v.addf("service %q: port %d: ports go from 1 to 65535", s.GetName(), s.GetPort())
		}
	}
	for i, f := range plan.GetFollow() {
		if !serviceName.MatchString(f) {
			v.addf("followed service %q: names are made of a-z, 0-9 and inner dashes", f)
		}
		if slices.Contains(plan.GetFollow()[:i], f) {
			v.addf("service %q is followed twice", f)
		}
	}
}

func isPort(n uint32) bool { return n >= 1 && n <= 65535 }
