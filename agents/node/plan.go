package node

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// planner turns what a role wants into what the agent does: it puts in what only the node knows, namely where secrets
// and rendered files lie, what is in them, and what the app folders hash to. Its errors tell the role's author what is
// wrong.
type planner struct {
	lab  string
	role string
	// renderedRoot is where the rendered files of all containers lie.
	renderedRoot string
	// clock is the folder with the offset of the node's clock.
	clock   string
	secrets secrets
	// hash returns the hash of an app folder.
	hash func(folder string) (string, error)
}

type secrets interface {
	Path(name string) (string, error)
	Render(name, text string) ([]byte, error)
}

var containerRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func (p planner) containers(plan *rolev1.PlanResponse) ([]reconcile.Container, error) {
	out := make([]reconcile.Container, 0, len(plan.GetContainers()))
	for _, c := range plan.GetContainers() {
		container, err := p.container(c)
		if err != nil {
			return nil, fmt.Errorf("container %s of role %s: %w", c.GetName(), p.role, err)
		}
		out = append(out, container)
	}
	desired := reconcile.Desired{Containers: out}
	if err := desired.Check(); err != nil {
		return nil, fmt.Errorf("role %s: %w", p.role, err)
	}
	return out, nil
}

func (p planner) container(in *rolev1.Container) (reconcile.Container, error) {
	out := reconcile.Container{
		Stage: in.GetStage(), Build: in.GetImage().GetBuild(), Needs: in.GetNeeds(),
		Spec: engine.Spec{
			Name: in.GetName(), Image: in.GetImage().GetReference(), Hostname: in.GetHostname(),
			Env: in.GetEnv(), StopSignal: in.GetStopSignal(), StopTimeout: in.GetStopTimeout().AsDuration(),
			User: in.GetUser(), Hardened: in.GetHardened(), CapAdd: in.GetCapAdd(), Tmpfs: in.GetTmpfs(),
		},
	}
	if !containerRE.MatchString(in.GetName()) {
		return out, fmt.Errorf("%q is no name of a container", in.GetName())
	}
	if len(in.GetCommand()) > 0 {
		out.Spec.Command = in.GetCommand()
	}
	if out.Stage == rolev1.Stage_STAGE_UNSPECIFIED {
		out.Stage = rolev1.Stage_STAGE_APPLICATION
	}
	switch in.GetRestart() {
	case rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE:
		out.Spec.Restart = engine.RestartOnFailure
	case rolev1.RestartPolicy_RESTART_POLICY_UNLESS_STOPPED:
		out.Spec.Restart = engine.RestartUnlessStopped
	default:
		out.Spec.Restart = engine.RestartNo
	}
	for _, n := range in.GetNetworks() {
		out.Spec.Networks = append(out.Spec.Networks, engine.Attachment{Network: n.GetNetwork(), Aliases: n.GetAliases()})
	}
	for _, port := range in.GetPorts() {
		published, err := publish(port)
		if err != nil {
			return out, err
		}
		out.Spec.Ports = append(out.Spec.Ports, published)
	}
	if err := p.mounts(&out, in.GetMounts()); err != nil {
		return out, err
	}
	if out.Build != "" {
		if !filepath.IsLocal(out.Build) {
			return out, fmt.Errorf("its image is built from %q, which is no folder below the app directory", out.Build)
		}
		hash, err := p.hash(out.Build)
		if err != nil {
			return out, err
		}
		out.Context = hash
	}
	out.Spec.Labels = map[string]string{
		reconcile.LabelLab: p.lab, reconcile.LabelRole: p.role, reconcile.LabelSpec: out.Hash(),
	}
	return out, nil
}

func publish(in *rolev1.PublishedPort) (engine.Port, error) {
	const most = 1<<16 - 1
	address := in.GetHostAddress()
	if address == "" {
		address = "0.0.0.0"
	}
	if _, err := netip.ParseAddr(address); err != nil {
		return engine.Port{}, fmt.Errorf("it publishes a port on %q, which is no address", in.GetHostAddress())
	}
	for _, port := range []uint32{in.GetHostPort(), in.GetContainerPort()} {
		if port == 0 || port > most {
			return engine.Port{}, fmt.Errorf("%d is no port to publish", port)
		}
	}
	return engine.Port{
		HostAddress: address, HostPort: uint16(in.GetHostPort()), ContainerPort: uint16(in.GetContainerPort()),
	}, nil
}

// mounts adds a container's mounts. A file that is reloaded by signal must be seen to change by a running container, and a mounted
// file is an inode that never changes its place; so the directory around it is mounted, and becomes the rendered files' own.
func (p planner) mounts(out *reconcile.Container, in []*rolev1.Mount) error {
	root := filepath.Join(p.renderedRoot, out.Spec.Name)
	directories := map[string]bool{}
	for _, m := range in {
		target := path.Clean(m.GetTarget())
		if !path.IsAbs(target) || target == "/" {
			return fmt.Errorf("a mount's target is %q; it must be an absolute path", m.GetTarget())
		}
		switch source := m.GetSource().(type) {
		case *rolev1.Mount_Volume:
			out.Spec.Mounts = append(out.Spec.Mounts, engine.Mount{Volume: source.Volume, Target: target})
		case *rolev1.Mount_Secret:
			file, err := p.secrets.Path(source.Secret)
			if err != nil {
				return err
			}
			out.Spec.Mounts = append(out.Spec.Mounts, engine.Mount{Source: file, Target: target, ReadOnly: true})
		case *rolev1.Mount_File:
			file := source.File
			if file.GetName() == "" || file.GetName() != filepath.Base(file.GetName()) || strings.HasPrefix(file.GetName(), ".") {
				return fmt.Errorf("%q is no name of a rendered file", file.GetName())
			}
			content, err := p.secrets.Render(file.GetName(), file.GetContent())
			if err != nil {
				return err
			}
			rendered := reconcile.File{Path: filepath.Join(root, file.GetName()), Content: content, Signal: file.GetReloadSignal()}
			mount := engine.Mount{Source: rendered.Path, Target: target, ReadOnly: true}
			if rendered.Signal != "" {
				directory := path.Dir(target)
				if slices.Contains(systemDirectories(), directory) {
					return fmt.Errorf("file %s is reloaded by signal, so the directory of its target, %s, is taken over: "+
						"give it a directory of its own", file.GetName(), directory)
				}
				own := filepath.Join(root, url.PathEscape(strings.TrimPrefix(directory, "/")))
				rendered.Path = filepath.Join(own, path.Base(target))
				mount = engine.Mount{Source: own, Target: directory, ReadOnly: true}
			}
			out.Files = append(out.Files, rendered)
			if directories[mount.Target] {
				continue
			}
			directories[mount.Target] = true
			out.Spec.Mounts = append(out.Spec.Mounts, mount)
		case *rolev1.Mount_ClockOffset:
			out.Spec.Mounts = append(out.Spec.Mounts, engine.Mount{Source: p.clock, Target: target, ReadOnly: true, Optional: true})
		default:
			return fmt.Errorf("the mount at %s has no source", target)
		}
	}
	return nil
}

// systemDirectories are those that no image can do without.
func systemDirectories() []string {
	return []string{
		"/", "/bin", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp",
		"/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/etc", "/usr/local/lib", "/usr/local/sbin",
		"/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/log", "/var/run",
	}
}

func membership(plan *rolev1.PlanResponse) reconcile.Membership {
	switch plan.GetSwarm() {
	case rolev1.SwarmMembership_SWARM_MEMBERSHIP_WORKER:
		return reconcile.MembershipWorker
	case rolev1.SwarmMembership_SWARM_MEMBERSHIP_MANAGER:
		return reconcile.MembershipManager
	}
	return reconcile.MembershipNone
}
