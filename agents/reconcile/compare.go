package reconcile

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/agents/engine"
)

// Differences names, in words for people, in what a container started manually falls short of the plan's contract: image,
// command, environment, published ports, mounts, networks with the names on them, restart policy and read-only root.
// What goes beyond the contract (more environment, another label, a limit) is nobody's business. Values of environment
// variables are shown as planned only: what a hand typed there may be a secret.
func Differences(want, have engine.Spec) []string {
	var out []string
	differ := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !engine.SameReference(want.Image, have.Image) {
		differ("its image is %s, not %s", have.Image, want.Image)
	}
	if want.Command != nil && !slices.Equal(want.Command, have.Command) {
		differ("its command is %q, not %q", strings.Join(have.Command, " "), strings.Join(want.Command, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(want.Env)) {
		switch value, ok := have.Env[name]; {
		case !ok:
			differ("the environment variable %s=%s is missing", name, want.Env[name])
		case value != want.Env[name]:
			differ("the environment variable %s is not %s", name, want.Env[name])
		}
	}
	for _, p := range want.Ports {
		if !slices.Contains(have.Ports, p) {
			differ("port %d is not published on %s:%d", p.ContainerPort, p.HostAddress, p.HostPort)
		}
	}
	for _, p := range have.Ports {
		if !slices.Contains(want.Ports, p) {
			differ("port %d is published on %s:%d, which the plan does not have", p.ContainerPort, p.HostAddress, p.HostPort)
		}
	}
	for _, m := range want.Mounts {
		out = append(out, mountDifference(m, have.Mounts)...)
	}
	for _, n := range want.Networks {
		out = append(out, networkDifference(n, have)...)
	}
	for _, n := range have.Networks {
		if !slices.ContainsFunc(want.Networks, func(w engine.Attachment) bool { return w.Network == n.Network }) {
			differ("it is on network %s, which the plan does not have", n.Network)
		}
	}
	if d := restartDifference(want.Restart, have.Restart); d != "" {
		out = append(out, d)
	}
	if want.Hardened && !have.Hardened {
		differ("its root file system is not read-only")
	}
	return out
}

func mountDifference(want engine.Mount, have []engine.Mount) []string {
	name := func(m engine.Mount) string {
		if m.Volume != "" {
			return "volume " + m.Volume
		}
		return m.Source
	}
	for _, m := range have {
		if path.Clean(m.Target) != path.Clean(want.Target) {
			continue
		}
		switch {
		case m.Volume != want.Volume || path.Clean(m.Source) != path.Clean(want.Source):
			return []string{fmt.Sprintf("at %s it has %s, not %s", want.Target, name(m), name(want))}
		case want.ReadOnly && !m.ReadOnly:
			return []string{fmt.Sprintf("%s at %s is writable", name(m), want.Target)}
		}
		return nil
	}
	if want.Optional {
		return nil
	}
	return []string{fmt.Sprintf("%s is not mounted at %s", name(want), want.Target)}
}

func networkDifference(want engine.Attachment, have engine.Spec) []string {
	at := slices.IndexFunc(have.Networks, func(n engine.Attachment) bool { return n.Network == want.Network })
	if at < 0 {
		return []string{fmt.Sprintf("it is not on network %s", want.Network)}
	}
	var out []string
	for _, alias := range want.Aliases {
		// A container's own name resolves on every network but the default bridge, where aliases do not exist.
		if alias != have.Name && !slices.Contains(have.Networks[at].Aliases, alias) {
			out = append(out, fmt.Sprintf("it has not the name %s on network %s", alias, want.Network))
		}
	}
	return out
}

// restartDifference compares what the policies mean for the lab. Without a policy the agent mends a crash itself, so
// "no" is as good as any. A policy that starts the container when the engine boots is not, where the plan has none:
// joining an overlay at that moment may hang the whole engine.
func restartDifference(want, have engine.Restart) string {
	if have == engine.RestartNo || have == want {
		return ""
	}
	if want == engine.RestartUnlessStopped && have == engine.RestartAlways {
		return ""
	}
	return fmt.Sprintf("its restart policy is %s, not %s", have, want)
}
