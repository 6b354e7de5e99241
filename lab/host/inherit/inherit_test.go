package inherit

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnviron(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ environ, additions, want []string }{
		"another project of Vagrant's": {environ: []string{
			"VAGRANT_CWD=/other", "VAGRANT_DOTFILE_PATH=/other/.vagrant", "VAGRANT_VAGRANTFILE=Other", "VAGRANT_DEFAULT_PROVIDER=x",
			"VAGRANT_NO_PLUGINS=1", "VAGRANT_ALIAS_FILE=/a", "VAGRANT_LOG=debug", "VAGRANT_HOME=/vagrant", "PATH=/bin",
		}, want: []string{"VAGRANT_HOME=/vagrant", "PATH=/bin"}},
		"what changes a tool": {environ: []string{
			"GOFLAGS=-mod=vendor", "GOOS=plan9", "GOWORK=/go.work", "GO111MODULE=off", "GOROOT=/x", "GOTOOLCHAIN=go1.2", "CGO_ENABLED=1", "GODEBUG=x=1",
			"MAKEFLAGS=n", "MAKEFILES=/x", "MAKELEVEL=1", "MFLAGS=-n",
			"BASH_ENV=/x", "ENV=/x", "CDPATH=/x", "SHELLOPTS=xtrace", "BASHOPTS=x", "IFS=/", "BASH_FUNC_cd%%=() { :; }", "POSIXLY_CORRECT=1", "GREP_OPTIONS=-v",
			"DOCKER_DEFAULT_PLATFORM=linux/s390x", "DOCKER_API_VERSION=1.1", "DOCKER_BUILDKIT=0", "DOCKER_CONTENT_TRUST=1", "COMPOSE_FILE=x",
			"GIT_DIR=/x", "GIT_WORK_TREE=/x", "GIT_CONFIG_COUNT=1",
			"RUBYOPT=-rx", "RUBYLIB=/x", "GEM_HOME=/x", "GEM_PATH=/x", "BUNDLE_GEMFILE=/x",
			"LD_PRELOAD=/x", "LD_LIBRARY_PATH=/x", "PYTHONPATH=/x", "PERL5LIB=/x", "PGPORT=1", "TAR_OPTIONS=-v", "SSH_ASKPASS=/x", "VIRSH_DEFAULT_CONNECT_URI=test:///",
		}},
		"a user's own": {
			environ:   []string{"HOME=/h", "DOCKER_HOST=ssh://x", "LC_ALL=C", "SSH_AUTH_SOCK=/s", "GOPROXY=https://p", "LAB_NAME=blue", "PROVIDER=libvirt"},
			additions: []string{"LAB_NAME=red"},
			want:      []string{"HOME=/h", "DOCKER_HOST=ssh://x", "LC_ALL=C", "SSH_AUTH_SOCK=/s", "GOPROXY=https://p", "LAB_NAME=blue", "PROVIDER=libvirt", "LAB_NAME=red"},
		},
		"nobody else's lock": {environ: []string{Held + "=1", HeldFile + "=3"}, additions: []string{Held + "=1"}, want: []string{Held + "=1"}},
		"a proxy is not for this host": {
			environ: []string{"https_proxy=http://proxy:3128"},
			want:    []string{"https_proxy=http://proxy:3128", "NO_PROXY=127.0.0.1,::1,localhost", "no_proxy=127.0.0.1,::1,localhost"},
		},
		"nor for whom it was not for": {
			environ: []string{"no_proxy=.example.org, 127.0.0.1", "HTTP_PROXY=http://proxy:3128"},
			want:    []string{"HTTP_PROXY=http://proxy:3128", "NO_PROXY=.example.org,127.0.0.1,::1,localhost", "no_proxy=.example.org,127.0.0.1,::1,localhost"},
		},
		"no proxy": {environ: []string{"HTTP_PROXY=", "NO_PROXY=x"}, want: []string{"HTTP_PROXY="}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, Environ(tt.environ, tt.additions...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRubySaysTheSame holds the Vagrantfile's list to this one.
func TestRubySaysTheSame(t *testing.T) {
	t.Parallel()
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("ruby is not installed")
	}
	script, err := filepath.Abs("../../../vagrant/inherit.rb")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), ruby, "-r", script, "-e",
		"puts Swarmlab::Inherit::NAMES, Swarmlab::Inherit::PREFIXES, Swarmlab::Inherit::PROXIES, Swarmlab::Inherit::HERE, Swarmlab::Inherit::LOCKS").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(Names(), Prefixes(), Proxies(), Here(), []string{Held, HeldFile})
	got := strings.Fields(string(out))
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
