package doctor

import (
	"errors"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/settings"
)

// The first Vagrant whose docker provider was seen to make these nodes is 2.3; older ones may.
func testedVagrant() version { return version{2, 3} }

func (j *judge) vagrant() {
	const check = "vagrant"
	err := j.Vagrant.Err
	switch {
	case errors.Is(err, ErrMissing):
		fix := "https://developer.hashicorp.com/vagrant/install"
		switch {
		case j.Host.OS == "darwin":
			fix = "brew install --cask vagrant"
		case j.Host.Debian:
			fix = "make prerequisites"
		}
		j.block(check, fix, "there is no vagrant command: Vagrant makes the nodes")
		return
	case errors.Is(err, ErrNoAnswer):
		j.skip(check, "vagrant is there, but did not tell its version in time")
		return
	case err != nil:
		j.fail(check, "reinstall Vagrant: https://developer.hashicorp.com/vagrant/install", "vagrant does not run: %s", reason(err))
		return
	}
	if v, ok := parseVersion(j.Vagrant.Value); ok && v.less(testedVagrant()) {
		j.warn(check, "upgrade it: https://developer.hashicorp.com/vagrant/install", "Vagrant %s is older than what the lab is tested with (2.3)", j.Vagrant.Value)
		return
	}
	j.ok(check, "Vagrant %s", j.Vagrant.Value)
}

func (j *judge) goVersion() {
	const check = "go"
	needed := j.GoNeeded.Value
	if needed == "" {
		needed = "1.26"
	}
	err := j.Go.Err
	switch {
	case errors.Is(err, ErrMissing):
		fix := "https://go.dev/doc/install"
		switch {
		case j.Host.OS == "darwin":
			fix = "brew install go"
		case j.Host.Debian:
			fix = "make prerequisites"
		}
		// What is built already runs without.
		j.fail(check, fix, "there is no Go: building the lab needs Go %s", needed)
		return
	case err != nil:
		j.unknown(check, "the version of Go", err)
		return
	}
	have, _ := parseVersion(j.Go.Value)
	want, _ := parseVersion(needed)
	switch {
	case !have.less(want):
		j.ok(check, "Go %s", j.Go.Value)
	case have.less(version{1, 21}):
		j.fail(check, "https://go.dev/doc/install", "Go %s is too old: building the lab needs Go %s", j.Go.Value, needed)
	default:
		j.warn(check, "https://go.dev/doc/install", "Go %s is older than %s and will fetch the newer one when it builds; that needs a network", j.Go.Value, needed)
	}
}

// stockImage is an image that the roles use as its makers publish it.
type stockImage struct{ name, reference string }

func stockImages() []stockImage {
	return []stockImage{
		{"consul", "hashicorp/consul:1.22.0"},
		{"haproxy", "haproxy:3.0"},
		{"postgres", "postgres:17"},
		{"redis", "redis:8.0"},
	}
}

// missingImages are those that are neither in the engine nor in the bundle.
func (f *Facts) missingImages() []string {
	var missing []string
	for _, s := range stockImages() {
		if !slices.Contains(f.Images.Value, s.reference) && !slices.Contains(f.Bundle.Value, s.name) {
			missing = append(missing, s.name)
		}
	}
	return missing
}

// missingNodeImage: container nodes need an image that the engine does not have.
func (f *Facts) missingNodeImage() bool {
	return f.containerNodes() && f.Images.Err == nil && f.NodeImage.Err == nil && !slices.Contains(f.Images.Value, f.NodeImage.Value)
}

// images: each comes from the engine, the bundle, a registry, or is built from Debian packages.
func (j *judge) images() {
	const check = "images"
	var missing []string
	if j.missingNodeImage() {
		missing = append(missing, "node")
	}
	missing = append(missing, j.missingImages()...)
	switch {
	case j.containerNodes() && j.Engine.Err != nil:
		j.skip(check, "the engine's images are not known")
		return
	case j.NodeImage.Err != nil && j.containerNodes():
		j.warn(check, "git -C "+quote(j.Root)+" status   # vagrant/node/build.sh must be there and run", "which node image the lab needs is not known: %s", reason(j.NodeImage.Err))
	}
	registry := j.Registry.Err == nil && j.Registry.Value != ""
	switch {
	case len(missing) == 0:
		j.ok(check, "all there, in the engine or in .lab/bundle")
	case registry:
		j.ok(check, "%s missing here; the registry %s answers", list(missing), j.Registry.Value)
	case j.Builder.Err == nil:
		j.ok(check, "%s missing here; built from Debian packages", list(missing))
	case errors.Is(j.Builder.Err, ErrNotRoot):
		j.blockIf(j.containerNodes(), check, "sudo -v   # lets the builds use sudo for a while; or bring a registry into reach",
			"%s missing: no registry answers (%s), and building them from Debian packages takes root", list(missing), j.noRegistry())
	default:
		blocking := j.missingNodeImage() || j.Settings.Stage == settings.StageUnspecified || j.Settings.Stage >= settings.StageImages
		// A registry that was too slow for the doctor may be good enough for the lab; and without an engine, which
		// machines do not need, it is not known which registries there are.
		blocking = blocking && j.containerNodes() && !errors.Is(j.Registry.Err, ErrNoAnswer) && !errors.Is(j.Registry.Err, ErrNotLooked)
		fix := j.install("mmdebstrap", "")
		if j.Host.OS != "linux" {
			fix = "bring a registry into reach, or copy .lab/bundle from a clone that has it"
		}
		j.blockIf(blocking, check, fix, "%s missing: no registry answers (%s), and mmdebstrap, which builds them without one, is not here",
			list(missing), j.noRegistry())
	}
}

func (j *judge) noRegistry() string {
	if j.Registry.Err == nil {
		return "none known"
	}
	return strings.TrimSpace(reason(j.Registry.Err))
}
