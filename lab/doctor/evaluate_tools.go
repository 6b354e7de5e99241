package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// The first Vagrant whose docker provider was seen to make these nodes is 2.3; older ones may.
func testedVagrant() version { return version{2, 3} }

func (j *evaluation) vagrant() {
	const check = "vagrant"
	have, known := j.Vagrant.Get()
	switch err := j.Vagrant.Err(); {
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
	case errors.Is(err, errNoHome):
		j.block(check, "export VAGRANT_HOME=/a/folder/of/yours", "Vagrant keeps boxes and locks in a folder of yours, and it cannot be made: %s", reason(err))
		return
	case errors.Is(err, ErrNoAnswer):
		j.unknown(check, "whether vagrant, which is there, is recent enough", err)
		return
	case !known:
		j.fail(check, "reinstall Vagrant: https://developer.hashicorp.com/vagrant/install", "vagrant does not run: %s", reason(err))
		return
	}
	if v, ok := parseVersion(have); ok && v.less(testedVagrant()) {
		j.warn(check, "upgrade it: https://developer.hashicorp.com/vagrant/install", "Vagrant %s is older than what the lab is tested with (2.3)", have)
		return
	}
	j.ok(check, "Vagrant %s", have)
}

// The first Go that fetches a newer one when it needs it.
func oldestFetchingGo() version { return version{1, 21} }

func (j *evaluation) goVersion() {
	const check = "go"
	needed := cmp.Or(j.GoNeeded.seen(), "1.26")
	version, known := j.Go.Get()
	switch err := j.Go.Err(); {
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
	case !known:
		j.unknown(check, "which version of Go there is", err)
		return
	}
	have, _ := parseVersion(version)
	want, _ := parseVersion(needed)
	switch {
	case !have.less(want):
		j.ok(check, "Go %s", version)
	case have.less(oldestFetchingGo()):
		j.fail(check, "https://go.dev/doc/install", "Go %s is too old: building the lab needs Go %s", version, needed)
	default:
		j.warn(check, "https://go.dev/doc/install", "Go %s is older than %s and will fetch the newer one when it builds; that needs a network", version, needed)
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

// missingImages are those that were seen neither in the engine nor in the bundle.
func (f *Facts) missingImages() []string {
	var missing []string
	for _, s := range stockImages() {
		if !slices.Contains(f.Images.seen(), s.reference) && !slices.Contains(f.Bundle.seen(), s.name) {
			missing = append(missing, s.name)
		}
	}
	return missing
}

// missingNodeImage: container nodes need an image that the engine does not have.
func (f *Facts) missingNodeImage() bool {
	images, known := f.Images.Get()
	node, named := f.NodeImage.Get()
	return f.containerNodes() && known && named && !slices.Contains(images, node)
}

// images: each comes from the engine, the bundle, a registry, or is built from Debian packages.
func (j *evaluation) images() {
	const check = "images"
	var missing []string
	if j.missingNodeImage() {
		missing = append(missing, "node")
	}
	missing = append(missing, j.missingImages()...)
	unseen := j.Images.open() || j.Bundle.open()
	switch {
	case j.containerNodes() && !j.Engine.known():
		j.skip(check, "the engine's images are not known")
		return
	case unseen && (j.containerNodes() || len(missing) > 0):
		j.unknown(check, "which images are missing", why(j.Images.Err(), j.Bundle.Err()))
		return
	case j.containerNodes() && errors.Is(j.NodeImage.Err(), ErrNoAnswer):
		j.unknown(check, "which node image the lab needs", j.NodeImage.Err())
	case j.containerNodes() && !j.NodeImage.known():
		j.warn(check, "git -C "+quote(j.Root)+" status   # vagrant/node/build.sh must be there and run", "which node image the lab needs is not known: %s", reason(j.NodeImage.Err()))
	}
	registry := j.Registry.seen()
	// A registry that was too slow for the doctor may be good enough for the lab; and without an engine, which machines do
	// not need, it is not known which registries there are.
	none := !errors.Is(j.Registry.Err(), ErrNoAnswer) && !errors.Is(j.Registry.Err(), ErrNotLooked)
	switch {
	case len(missing) == 0:
		j.ok(check, "all there, in the engine or in .lab/bundle")
	case registry != "":
		j.ok(check, "%s missing here; the registry %s answers", console.List(missing), registry)
	case j.Builder.known():
		j.ok(check, "%s missing here; built from Debian packages", console.List(missing))
	case errors.Is(j.Builder.Err(), ErrNoAnswer):
		j.unknown(check, fmt.Sprintf("whether %s, which are missing here, can be had", console.List(missing)), why(j.Builder.Err(), j.Registry.Err()))
	case errors.Is(j.Builder.Err(), ErrNotRoot):
		j.blockIf(j.containerNodes() && none, check, "sudo -v   # lets the builds use sudo for a while; or bring a registry into reach",
			"%s missing: no registry answers (%s), and building them from Debian packages takes root", console.List(missing), j.noRegistry())
	default:
		blocking := j.missingNodeImage() || j.Settings.Stage == settings.StageUnspecified || j.Settings.Stage >= settings.StageImages
		blocking = blocking && j.containerNodes() && none
		fix := j.install("mmdebstrap", "")
		if j.Host.OS != "linux" {
			fix = "bring a registry into reach, or copy .lab/bundle from a clone that has it"
		}
		j.blockIf(blocking, check, fix, "%s missing: no registry answers (%s), and mmdebstrap, which builds them without one, is not here",
			console.List(missing), j.noRegistry())
	}
}

func (j *evaluation) noRegistry() string {
	err := j.Registry.Err()
	if err == nil {
		return "none known"
	}
	return strings.TrimSpace(reason(err))
}
