package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func vagrant(ctx context.Context) (string, error) {
	out, err := output(ctx, "vagrant", "--version")
	if err != nil {
		return "", err
	}
	home, err := vagrantHome()
	if err == nil {
		err = canBeMade(home)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoHome, err)
	}
	return strings.TrimPrefix(strings.TrimSpace(out), "Vagrant "), nil
}

// errNoHome: Vagrant has no folder to keep its things in. It would end with an error of Ruby's.
var errNoHome = errors.New("no folder for Vagrant")

// vagrantHome is where Vagrant keeps what is not of one clone.
func vagrantHome() (string, error) {
	if home := os.Getenv("VAGRANT_HOME"); home != "" {
		return home, nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(user, ".vagrant.d"), nil
}

// canBeMade reports why nothing can be written in a folder, which need not be there yet: the first one above it that is there decides.
func canBeMade(folder string) error {
	for {
		info, err := os.Stat(folder)
		switch above := filepath.Dir(folder); {
		case errors.Is(err, fs.ErrNotExist) && above != folder:
			folder = above
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is no folder", folder)
		}
		return writable(folder)
	}
}

// plugins are those that a user installed and those that Debian packages bring. Vagrant itself would take seconds to
// list them.
func plugins(context.Context) ([]string, error) {
	home, err := vagrantHome()
	if err != nil {
		return nil, err
	}
	var installed struct {
		Installed map[string]json.RawMessage `json:"installed"`
	}
	text, err := os.ReadFile(filepath.Join(home, "plugins.json"))
	if err == nil {
		err = json.Unmarshal(text, &installed)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for name := range installed.Installed {
		names = append(names, name)
	}
	for _, pattern := range []string{
		"/usr/share/rubygems-integration/all/specifications/vagrant-*.gemspec",
		"/usr/share/vagrant-plugins/plugins.d/*.json",
	} {
		files, _ := filepath.Glob(pattern) // fails on a bad pattern only
		for _, file := range files {
			names = append(names, pluginName(filepath.Base(file)))
		}
	}
	return unique(names), nil
}

var pluginFile = regexp.MustCompile(`^(?:\d+-)?(.*?)(?:-\d[^-]*)?\.(?:gemspec|json)$`)

// pluginName takes the order and the version off: 01-vagrant-libvirt.json, vagrant-libvirt-0.11.2.gemspec.
func pluginName(file string) string {
	if m := pluginFile.FindStringSubmatch(file); m != nil {
		return m[1]
	}
	return file
}

// goVersion asks the Go that make would use; where it had to fetch one, that stands under .lab.
func (s *sources) goVersion(ctx context.Context) (string, error) {
	command := filepath.Join(s.Root, ".lab", "go", "bin", "go")
	if _, err := os.Stat(command); err != nil {
		command = "go"
	}
	// Local: asked in a folder whose go.mod wants another, it would fetch that one first.
	out, err := outputEnv(ctx, []string{"GOTOOLCHAIN=local"}, command, "env", "GOVERSION")
	return strings.TrimPrefix(strings.TrimSpace(out), "go"), err
}

func (s *sources) goNeeded(context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.Root, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "go "); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", errors.New("go.mod names no version of Go")
}

// builder looks for what builds images without a registry, in the way the builds do.
func (s *sources) builder(ctx context.Context) (string, error) {
	path, err := exec.LookPath("mmdebstrap")
	if err != nil {
		return "", ErrMissing
	}
	if s.host.UID != 0 {
		_, err := output(ctx, "sudo", "-n", "true")
		if errors.Is(err, ErrNoAnswer) {
			return "", err
		}
		if err != nil {
			return "", ErrNotRoot
		}
	}
	return path, nil
}

func interfaces(context.Context) ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []Interface
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				found = append(found, Interface{Name: i.Name, Prefix: p})
			}
		}
	}
	return found, nil
}

// state looks at what must be its owner's alone: .lab itself, and the keys and secrets in it.
func (s *sources) state(context.Context) ([]StateFile, error) {
	if s.host.OS == "windows" {
		return nil, ErrNotLooked
	}
	var found []StateFile
	for _, pattern := range []string{
		".lab", ".lab/pki", ".lab/pki/*.key", ".lab/secrets", ".lab/secrets/*", ".lab/ssh", ".lab/ssh/nodes",
		".lab/nodes/*/pki/*.key", ".lab/nodes/*/secrets/*",
	} {
		files, _ := filepath.Glob(filepath.Join(escapeGlob(s.Root), pattern)) // fails on a bad pattern only
		for _, file := range files {
			info, err := os.Lstat(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(s.Root, file)
			if err != nil {
				return nil, err
			}
			found = append(found, StateFile{Path: name, Mode: info.Mode(), UID: uidOf(info, s.host.UID)})
		}
	}
	// Glob is silent about folders that it may not read.
	if f, err := os.Open(filepath.Join(s.Root, ".lab")); err == nil {
		f.Close() //nolint:errcheck // nothing was written
	} else if !errors.Is(err, fs.ErrNotExist) && !slices.ContainsFunc(found, func(f StateFile) bool { return f.UID != s.host.UID }) {
		return nil, err
	}
	return found, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// bindable is the last resort for ports: try whether they can be had. By whom they are held it cannot tell.
func (s *sources) bindable(ctx context.Context) ([]Listener, error) {
	var taken []Listener
	lab := Facts{Settings: s.Settings, Topology: s.Topology}
	for _, port := range lab.ports() {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port.number))
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", at.String())
		if err != nil {
			taken = append(taken, Listener{Addr: at})
			continue
		}
		l.Close() //nolint:errcheck // nobody connected
	}
	return taken, nil
}
