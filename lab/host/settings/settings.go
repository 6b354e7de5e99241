// Package settings says which lab a clone has: its name, subnet, ports, node counts, provider and stage.
//
// A value comes from the environment (LAB_NAME, LAB_SUBNET, LAB_PORT_BASE, LAB_FRONTENDS, LAB_WORKERS, LAB_STAGE,
// PROVIDER), else from .lab/settings.json, where `lab up` keeps what the running lab was made with, else from
// vagrant/topology.yaml and the defaults here. A remembered subnet does not outlive a change of provider: VirtualBox does
// not allow every one. The Vagrantfile follows the same rules (vagrant/topology.rb); a test holds the two together. The package reads and judges; it starts nothing and knows nothing of agents or engines.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/owner"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Names of the environment variables.
const (
	EnvName      = "LAB_NAME"
	EnvSubnet    = "LAB_SUBNET"
	EnvPortBase  = "LAB_PORT_BASE"
	EnvFrontends = "LAB_FRONTENDS"
	EnvWorkers   = "LAB_WORKERS"
	EnvStage     = "LAB_STAGE"
	EnvProvider  = "PROVIDER"
)

// Defaults of what the topology file does not say.
const (
	DefaultName     = "swarmlab"
	DefaultPortBase = 19000
	DefaultStage    = StageApplication
	DefaultProvider = ProviderDocker
)

// ProviderDocker is the one provider whose nodes are containers.
const ProviderDocker = "docker"

const providerVirtualBox = "virtualbox"

// Range of LAB_PORT_BASE; the highest port of a lab is base+881.
const (
	minPortBase = 1024
	maxPortBase = 64000
)

// MaxCount is how many frontends, or workers, a lab may have.
const MaxCount = 99

var labName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,20}$`)

// Providers returns the Vagrant providers that the Vagrantfile knows.
func Providers() []string {
	return []string{ProviderDocker, "libvirt", providerVirtualBox, "vmware_desktop", "parallels"}
}

// Settings describe one lab. The JSON form is the content of .lab/settings.json.
type Settings struct {
	Name      string       `json:"name"`
	Subnet    netip.Prefix `json:"subnet"`
	PortBase  int          `json:"port_base"`
	Frontends int          `json:"frontends"`
	Workers   int          `json:"workers"`
	Provider  string       `json:"provider"`
	// Stage is the one last asked for, by `lab up`, `lab stage` or `lab reset`.
	Stage Stage `json:"stage"`
}

// AgentPort is the port on 127.0.0.1 at which a node's agent answers.
func (s Settings) AgentPort(n topology.Node) int { return s.PortBase + n.Octet }

// VotingPort is the port on 127.0.0.1 of the load balancer, so of the voting app.
func (s Settings) VotingPort() int {
	if s.PortBase == DefaultPortBase {
		return 8080
	}
	return s.PortBase + 880
}

// ResultsPort is the port on 127.0.0.1 of the results app.
func (s Settings) ResultsPort() int {
	if s.PortBase == DefaultPortBase {
		return 8081
	}
	return s.PortBase + 881
}

// Environ returns the environment variables that make another program (Vagrant) see these settings.
func (s Settings) Environ() []string {
	return []string{
		EnvName + "=" + s.Name,
		EnvSubnet + "=" + s.Subnet.String(),
		EnvPortBase + "=" + strconv.Itoa(s.PortBase),
		EnvFrontends + "=" + strconv.Itoa(s.Frontends),
		EnvWorkers + "=" + strconv.Itoa(s.Workers),
		EnvStage + "=" + s.Stage.String(),
		EnvProvider + "=" + s.Provider,
	}
}

// VotingURL is the page on which people vote.
func (s Settings) VotingURL() string { return url(s.VotingPort()) }

// ResultsURL is the page that shows the results.
func (s Settings) ResultsURL() string { return url(s.ResultsPort()) }

func url(port int) string { return fmt.Sprintf("http://127.0.0.1:%d/", port) }

// Lab is a clone's folder with the settings and nodes that hold for it.
type Lab struct {
	// Dir is the clone's folder, absolute.
	Dir string
	Settings
	Topology *topology.Topology
	// Saved are the settings of the lab that was brought up last; nil when there is none.
	Saved *Settings
	// StageAsked: the stage was given by the environment, not remembered or defaulted.
	StageAsked bool

	networksConf string
}

// Owner is the clone as it stands now in the labels of what is made of it.
func (l *Lab) Owner() owner.Clone { return owner.Of(l.Dir) }

// Keyless reports whether what its agents were given to know the lab by is not there.
func (l *Lab) Keyless() bool {
	_, err := os.Stat(l.Path("pki"))
	return errors.Is(err, fs.ErrNotExist)
}

// Whose tells to whom something with these labels belongs. With its keys a lab is not forsaken: only the note of the clone's identity was lost.
func (l *Lab) Whose(labels map[string]string) owner.Whose {
	whose := l.Owner().Whose(owner.MarkOf(labels))
	if whose == owner.Forsaken && !l.Keyless() {
		return owner.Ours
	}
	return whose
}

// ErrNoClone says that no swarmlab clone is at or above the folder.
var ErrNoClone = errors.New("not inside a clone of swarmlab: no vagrant/topology.yaml here or in a folder above; cd into the clone")

// FindDir returns the clone's folder that holds dir, by its real path: Vagrant knows it by that, too, however it was reached.
func FindDir(dir string) (string, error) {
	found, err := findDir(dir)
	if err != nil {
		// A link into the clone has other folders above it than what it leads to.
		real, unknown := filepath.EvalSymlinks(dir)
		if unknown != nil {
			return "", err
		}
		if found, err = findDir(real); err != nil {
			return "", err
		}
	}
	if real, err := filepath.EvalSymlinks(found); err == nil {
		found = real
	}
	return found, nil
}

func findDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the clone's folder: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "vagrant", "topology.yaml")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s: %w", dir, ErrNoClone)
		}
	}
}

// Open reads the settings and the topology of the clone in dir. getenv is os.Getenv outside tests; an empty variable
// counts as unset.
func Open(dir string, getenv func(string) string) (*Lab, error) {
	return open(dir, getenv, networksConf)
}

func open(dir string, getenv func(string) string, networksConf string) (*Lab, error) {
	lab := &Lab{Dir: dir, networksConf: networksConf}
	if err := owner.Check(dir); err != nil {
		return nil, err
	}
	owner.Renew(dir)
	saved, err := load(lab.SettingsFile())
	if err != nil {
		return nil, err
	}
	lab.Saved = saved
	asked, err := fromEnvironment(getenv)
	if err != nil {
		return nil, err
	}
	lab.StageAsked = asked.Stage != StageUnspecified
	s := merge(asked, saved)
	if err := lab.resolve(s); err != nil {
		return nil, err
	}
	return lab, nil
}

// WithCounts returns the same lab with other numbers of frontends and workers.
func (l *Lab) WithCounts(frontends, workers int) (*Lab, error) {
	s := l.Settings
	s.Frontends, s.Workers = frontends, workers
	other := &Lab{Dir: l.Dir, Saved: l.Saved, StageAsked: l.StageAsked, networksConf: l.networksConf}
	if err := other.resolve(s); err != nil {
		return nil, err
	}
	return other, nil
}

// resolve fills in what the topology file says and checks the whole.
func (l *Lab) resolve(s Settings) error {
	path := filepath.Join(l.Dir, "vagrant", "topology.yaml")
	if !s.Subnet.IsValid() {
		s.Subnet = l.defaultSubnet(path, s.Provider)
	}
	over := topology.Overrides{Subnet: s.Subnet, Counts: map[string]int{}}
	if s.Frontends > 0 {
		over.Counts[topology.RoleFrontend] = s.Frontends
	}
	if s.Workers > 0 {
		over.Counts[topology.RoleWorker] = s.Workers
	}
	top, err := topology.Load(path, over)
	if err != nil {
		var errs topology.Errors
		if errors.As(err, &errs) {
			for i := range errs {
				errs[i].File = "vagrant/topology.yaml"
			}
			return fmt.Errorf("%w\n(with %s)", errs, describe(over))
		}
		return err
	}
	s.Subnet = top.Subnet
	s.Frontends, s.Workers = len(top.OfRole(topology.RoleFrontend)), len(top.OfRole(topology.RoleWorker))
	l.Settings, l.Topology = s, top
	return nil
}

func describe(o topology.Overrides) string {
	said := []string{}
	if o.Subnet.IsValid() {
		said = append(said, "subnet "+o.Subnet.String())
	}
	for _, role := range []string{topology.RoleFrontend, topology.RoleWorker} {
		if n, ok := o.Counts[role]; ok {
			said = append(said, fmt.Sprintf("%d %ss", n, role))
		}
	}
	if len(said) == 0 {
		return "the counts and the subnet of the file"
	}
	return strings.Join(said, ", ") + " from the environment or .lab/settings.json"
}

// merge prefers what was asked, then what was saved, then the defaults that the topology file does not hold.
func merge(asked Settings, saved *Settings) Settings {
	s := Settings{Name: DefaultName, PortBase: DefaultPortBase, Provider: DefaultProvider, Stage: DefaultStage}
	for _, over := range []*Settings{saved, &asked} {
		if over == nil {
			continue
		}
		if over.Name != "" {
			s.Name = over.Name
		}
		if over.Subnet.IsValid() {
			s.Subnet = over.Subnet
		}
		if over.PortBase != 0 {
			s.PortBase = over.PortBase
		}
		if over.Frontends != 0 {
			s.Frontends = over.Frontends
		}
		if over.Workers != 0 {
			s.Workers = over.Workers
		}
		if over.Provider != "" {
			s.Provider = over.Provider
		}
		if over.Stage != StageUnspecified {
			s.Stage = over.Stage
		}
	}
	if saved != nil && saved.Provider != "" && saved.Provider != s.Provider {
		s.Subnet = asked.Subnet
	}
	return s
}

// load reads settings.json; nil without error when the file is not there.
func load(path string) (*Settings, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the lab's settings: %w", err)
	}
	var s Settings
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; remove it, then give the lab's name and ports by environment and run `make down`", path, err)
	}
	if err := s.check(func(field string) string { return path + ": " + field }); err != nil {
		return nil, err
	}
	return &s, nil
}

// Save writes the lab's settings where the next command, and Vagrant, find them.
func (l *Lab) Save() error { return l.save(l.Settings) }

// SaveStage remembers another stage for the lab that is up, and nothing else of what the environment may say.
func (l *Lab) SaveStage(stage Stage) error {
	if l.Saved == nil {
		return errors.New("no lab is up in this clone")
	}
	s := *l.Saved
	s.Stage = stage
	l.Stage = stage
	return l.save(s)
}

func (l *Lab) save(s Settings) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the lab's settings: %w", err)
	}
	if err := os.MkdirAll(l.StateDir(), 0o700); err != nil {
		return fmt.Errorf("save the lab's settings: %w", err)
	}
	tmp := l.SettingsFile() + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("save the lab's settings: %w", err)
	}
	if err := os.Rename(tmp, l.SettingsFile()); err != nil {
		return fmt.Errorf("save the lab's settings: %w", err)
	}
	l.Saved = &s
	return nil
}

// Forget removes the saved settings: the lab is down.
func (l *Lab) Forget() error {
	if err := os.Remove(l.SettingsFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the lab's settings: %w", err)
	}
	l.Saved = nil
	return nil
}

func fromEnvironment(getenv func(string) string) (Settings, error) {
	var s Settings
	var errs []error
	fail := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s=%s: %s", name, getenv(name), fmt.Sprintf(format, args...)))
	}
	number := func(name string, low, high int) int {
		v := getenv(name)
		if v == "" {
			return 0
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < low || n > high || strconv.Itoa(n) != v {
			fail(name, "not a number in %d…%d", low, high)
			return 0
		}
		return n
	}
	if s.Name = getenv(EnvName); s.Name != "" && !labName.MatchString(s.Name) {
		fail(EnvName, "%s", badName)
	}
	if v := getenv(EnvSubnet); v != "" {
		prefix, err := netip.ParsePrefix(v)
		if err != nil {
			fail(EnvSubnet, "not a network in CIDR notation, for example 192.168.33.0/24")
		} else if err := topology.CheckSubnet(prefix); err != nil {
			fail(EnvSubnet, "%s", err)
		}
		s.Subnet = prefix
	}
	s.PortBase = number(EnvPortBase, minPortBase, maxPortBase)
	s.Frontends = number(EnvFrontends, 1, MaxCount)
	s.Workers = number(EnvWorkers, 1, MaxCount)
	if v := getenv(EnvStage); v != "" {
		stage, err := ParseStage(v)
		if err != nil {
			fail(EnvStage, "%s", err)
		}
		s.Stage = stage
	}
	if s.Provider = getenv(EnvProvider); s.Provider != "" && !slices.Contains(Providers(), s.Provider) {
		fail(EnvProvider, "unknown provider; known: %s", strings.Join(Providers(), ", "))
	}
	return s, errors.Join(errs...)
}

const badName = "not a lab name: a small letter first, then small letters, digits or dashes, 21 at most"

// check judges settings that were read from a file; missing values are fine.
func (s Settings) check(where func(field string) string) error {
	switch {
	case s.Name != "" && !labName.MatchString(s.Name):
		return fmt.Errorf("%s: %q: %s", where("name"), s.Name, badName)
	case s.PortBase != 0 && (s.PortBase < minPortBase || s.PortBase > maxPortBase):
		return fmt.Errorf("%s: %d is out of range %d…%d", where("port_base"), s.PortBase, minPortBase, maxPortBase)
	case s.Provider != "" && !slices.Contains(Providers(), s.Provider):
		return fmt.Errorf("%s: %q is unknown; known: %s", where("provider"), s.Provider, strings.Join(Providers(), ", "))
	case s.Frontends < 0 || s.Workers < 0:
		return fmt.Errorf("%s: a count is negative", where("frontends, workers"))
	}
	if s.Subnet.IsValid() {
		if err := topology.CheckSubnet(s.Subnet); err != nil {
			return fmt.Errorf("%s: %w", where("subnet"), err)
		}
	}
	return nil
}
