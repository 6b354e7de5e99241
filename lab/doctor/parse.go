package doctor

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/owner"
)

// Parsers of what other programs and the kernel say. They skip lines that they do not understand: a new kind of route or
// socket must not blind the doctor to the others. They fail where nothing would be left.

// Templates for docker's --format. The labels are asked for by name because a list of all of them cannot be taken
// apart again: it is separated by commas, which may be part of a folder's name.
const (
	ownerFormat     = `"lab":{{json (.Label "swarmlab.lab")}},"folder":{{json (.Label "swarmlab.folder")}},"clone":{{json (.Label "swarmlab.clone")}},"inode":{{json (.Label "swarmlab.inode")}}`
	containerFormat = `{"id":{{json .ID}},"name":{{json .Names}},"state":{{json .State}},"ports":{{json .Ports}},` + ownerFormat + `}`
	volumeFormat    = `{"name":{{json .Name}},` + ownerFormat + `}`
	jsonFormat      = `{{json .}}`
	imageFormat     = `{{.Repository}}:{{.Tag}}`
)

func parseEngine(out string) (Engine, error) {
	var info struct {
		Engine
		ServerErrors []string
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return Engine{}, fmt.Errorf("%w: `docker info` is not in its form: %w", ErrNotDocker, err)
	}
	if len(info.ServerErrors) > 0 {
		return Engine{}, engineError(strings.Join(info.ServerErrors, "; "))
	}
	if info.ServerVersion == "" {
		return Engine{}, fmt.Errorf("%w: `docker info` names no server version", ErrNotDocker)
	}
	return info.Engine, nil
}

// engineError reads the reason from docker's words, which have been stable for ten years; there is no status to go by.
func engineError(text string) error {
	text = strings.TrimSpace(text)
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "permission denied"):
		return fmt.Errorf("%w: %s", ErrPermission, text)
	case strings.Contains(lower, "cannot connect to the docker daemon"),
		strings.Contains(lower, "is the docker daemon running"),
		strings.Contains(lower, "failed to connect to the docker api"),
		strings.Contains(lower, "connection refused"):
		return fmt.Errorf("%w: %s", ErrStopped, text)
	case strings.Contains(lower, "deadline exceeded"), strings.Contains(lower, "timeout"), strings.Contains(lower, "timed out"):
		return fmt.Errorf("%w: %s", ErrNoAnswer, text)
	}
	return errors.New(text)
}

// eachLine decodes a JSON object from each line.
func eachLine[T any](out string) ([]T, error) {
	var all []T
	for line := range strings.Lines(out) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var one T
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, fmt.Errorf("docker's answer %.80q is not in its form: %w", line, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func parseContainers(out string) ([]Container, error) {
	type row struct {
		Owner
		ID, Name, State, Ports string
	}
	rows, err := eachLine[row](out)
	if err != nil {
		return nil, err
	}
	containers := make([]Container, 0, len(rows))
	for _, r := range rows {
		containers = append(containers, Container{Owner: r.Owner, ID: r.ID, Name: r.Name, State: r.State, Ports: parsePublished(r.Ports)})
	}
	return containers, nil
}

// parsePublished reads the ports of `docker ps`: "127.0.0.1:24011->7400/tcp, [::]:8000-8001->80-81/tcp, 443/tcp". Only
// published TCP ports are of interest.
func parsePublished(s string) []netip.AddrPort {
	var ports []netip.AddrPort
	for entry := range strings.SplitSeq(s, ", ") {
		host, container, published := strings.Cut(entry, "->")
		if !published || !strings.HasSuffix(container, "/tcp") {
			continue
		}
		colon := strings.LastIndexByte(host, ':')
		if colon < 0 {
			continue
		}
		// Engines before 28 write :::80 where newer ones write [::]:80.
		addr, err := netip.ParseAddr(strings.Trim(host[:colon], "[]"))
		if err != nil {
			continue
		}
		from, to, isRange := strings.Cut(host[colon+1:], "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil {
			continue
		}
		for port := first; port <= last; port++ {
			ports = append(ports, netip.AddrPortFrom(addr, uint16(port)))
		}
	}
	return ports
}

func ownerOf(labels map[string]string) Owner {
	mark := owner.MarkOf(labels)
	return Owner{Lab: mark.Lab, Folder: mark.Folder, Clone: mark.Clone, Inode: mark.Inode}
}

func parseNetworks(out string) ([]Network, error) {
	type row struct {
		Name, ID, Driver string
		IPAM             struct{ Config []struct{ Subnet string } }
		Options, Labels  map[string]string
	}
	rows, err := eachLine[row](out)
	if err != nil {
		return nil, err
	}
	networks := make([]Network, 0, len(rows))
	for _, r := range rows {
		n := Network{Name: r.Name, Driver: r.Driver, Owner: ownerOf(r.Labels)}
		for _, c := range r.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil {
				n.Subnets = append(n.Subnets, p.Masked())
			}
		}
		if r.Driver == "bridge" {
			n.Bridge = r.Options["com.docker.network.bridge.name"]
			if n.Bridge == "" && len(r.ID) >= 12 {
				n.Bridge = "br-" + r.ID[:12]
			}
		}
		networks = append(networks, n)
	}
	return networks, nil
}

func parseVolumes(out string) ([]Volume, error) {
	type row struct {
		Owner
		Name string
	}
	rows, err := eachLine[row](out)
	if err != nil {
		return nil, err
	}
	volumes := make([]Volume, 0, len(rows))
	for _, r := range rows {
		volumes = append(volumes, Volume(r))
	}
	return volumes, nil
}

// parseIPRoutes reads `ip -json route show table all`.
func parseIPRoutes(out string) ([]Route, error) {
	var rows []struct{ Type, Dst, Dev string }
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, fmt.Errorf("`ip -json route` is not in its form: %w", err)
	}
	var routes []Route
	for _, r := range rows {
		switch r.Type {
		case "local", "broadcast", "multicast", "anycast":
			continue // the host's own addresses
		}
		if to, ok := parseDestination(r.Dst); ok {
			routes = append(routes, Route{To: to, Dev: cmp.Or(r.Dev, r.Type)})
		}
	}
	return routes, nil
}

// parseDestination reads the destination of a route as ip and netstat write it, which drop what does not matter:
// "10.8.0.1", "10.8/16", "192.168.33". Default routes are none.
func parseDestination(s string) (netip.Prefix, bool) {
	address, bits, hasBits := strings.Cut(s, "/")
	address, _, _ = strings.Cut(address, "%")
	length := 32
	if octets := strings.Count(address, ".") + 1; octets < 4 {
		// netstat: the classless prefix of that many octets.
		address += strings.Repeat(".0", 4-octets)
		length = 8 * octets
	}
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is4() { // the lab's subnet is IPv4
		return netip.Prefix{}, false
	}
	if hasBits {
		if length, err = strconv.Atoi(bits); err != nil {
			return netip.Prefix{}, false
		}
	}
	p, err := addr.Prefix(length)
	return p, err == nil && p.Bits() > 0
}

// parseProcRoute reads /proc/net/route, the main table only.
func parseProcRoute(out string) []Route {
	const dev, destination, mask = 0, 1, 7
	var routes []Route
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) <= mask {
			continue
		}
		to, ok1 := hexIPv4(fields[destination])
		m, ok2 := hexIPv4(fields[mask])
		if !ok1 || !ok2 {
			continue
		}
		octets := m.As4()
		bits := 0
		for v := binary.BigEndian.Uint32(octets[:]); v&(1<<31) != 0; v <<= 1 {
			bits++
		}
		if p, err := to.Prefix(bits); err == nil && bits > 0 {
			routes = append(routes, Route{To: p, Dev: fields[dev]})
		}
	}
	return routes
}

// hexIPv4 reads an address as the kernel prints it: the 32 bits of the network's order as one number of the host's, which
// is little endian on all that the lab runs on.
func hexIPv4(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	slices.Reverse(b)
	return netip.AddrFromSlice(b)
}

// parseNetstatRoutes reads `netstat -rn -f inet` of macOS.
func parseNetstatRoutes(out string) []Route {
	var routes []Route
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		if to, ok := parseDestination(fields[0]); ok {
			routes = append(routes, Route{To: to, Dev: fields[3]})
		}
	}
	return routes
}

// socket is a listening socket of /proc/net/tcp.
type socket struct {
	addr  netip.AddrPort
	inode string
}

// parseProcTCP reads /proc/net/tcp or tcp6 and returns the listening sockets.
func parseProcTCP(out string) []socket {
	const local, state, inode = 1, 3, 9
	const listen = "0A"
	var sockets []socket
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) <= inode || fields[state] != listen {
			continue
		}
		address, port, _ := strings.Cut(fields[local], ":")
		number, err := strconv.ParseUint(port, 16, 16)
		addr, ok := hexAddr(address)
		if err != nil || !ok {
			continue
		}
		sockets = append(sockets, socket{netip.AddrPortFrom(addr, uint16(number)), fields[inode]})
	}
	return sockets
}

// hexAddr reads an IPv4 address, or an IPv6 address, which is four such numbers.
func hexAddr(s string) (netip.Addr, bool) {
	if len(s) == 8 {
		return hexIPv4(s)
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	return netip.AddrFromSlice(b)
}

// parseLsof reads `lsof -nP -iTCP -sTCP:LISTEN -F pcn`: a line for each field, its kind the first letter.
func parseLsof(out string) []Listener {
	var listeners []Listener
	var holder Process
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		switch value := line[1:]; line[0] {
		case 'p':
			pid, _ := strconv.Atoi(value)
			holder = Process{PID: max(pid, 0)}
		case 'c':
			holder.Name = value
		case 'n':
			host, port, ok := cutLast(value, ":")
			number, err := strconv.ParseUint(port, 10, 16)
			if !ok || err != nil {
				continue
			}
			addr := netip.IPv4Unspecified()
			if host != "*" {
				if addr, err = netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
					continue
				}
			}
			listeners = append(listeners, Listener{Addr: netip.AddrPortFrom(addr, uint16(number)), Holder: holder})
		}
	}
	return listeners
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// parseMeminfo reads /proc/meminfo.
func parseMeminfo(out string) (Memory, error) {
	kib := map[string]uint64{}
	for line := range strings.Lines(out) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			// More than this would be no number of bytes.
			if n, err := strconv.ParseUint(fields[0], 10, 54); err == nil {
				kib[name] = n
			}
		}
	}
	m := Memory{Total: kib["MemTotal"] << 10, Available: kib["MemAvailable"] << 10, SwapFree: kib["SwapFree"] << 10}
	if m.Total == 0 {
		return Memory{}, errors.New("/proc/meminfo names no MemTotal")
	}
	return m, nil
}

// kernelSources are where a Linux kernel tells what it can do. Each may be empty.
type kernelSources struct {
	filesystems string              // /proc/filesystems
	config      string              // the kernel's configuration
	loaded      map[string]bool     // /sys/module
	modules     map[string]struct{} // modules.dep and modules.builtin of the running kernel
	builtin     map[string]struct{}
	modulesDir  bool // that folder is there
}

// The features that nodes need, with their modules and configuration names; one of them is enough.
func features() map[Feature]struct{ modules, options []string } {
	return map[Feature]struct{ modules, options []string }{
		"overlay": {[]string{"overlay"}, []string{"CONFIG_OVERLAY_FS"}},
		"vxlan":   {[]string{"vxlan"}, []string{"CONFIG_VXLAN"}},
		"bridge":  {[]string{"bridge"}, []string{"CONFIG_BRIDGE"}},
		"veth":    {[]string{"veth"}, []string{"CONFIG_VETH"}},
		"netfilter": {
			[]string{"nf_tables", "ip_tables"},
			[]string{"CONFIG_NF_TABLES", "CONFIG_IP_NF_IPTABLES", "CONFIG_IP_NF_IPTABLES_LEGACY"},
		},
	}
}

func kernelFeatures(s kernelSources) map[Feature]FeatureState {
	config := parseKernelConfig(s.config)
	states := map[Feature]FeatureState{}
	for feature, names := range features() {
		states[feature] = FeatureUnknown
		for _, module := range names.modules {
			_, builtin := s.builtin[module]
			_, loadable := s.modules[module]
			switch {
			case builtin || s.loaded[module]:
				states[feature] = FeatureThere
			case loadable && states[feature] != FeatureThere:
				states[feature] = FeatureLoadable
			}
		}
		if feature == "overlay" && slices.Contains(strings.Fields(s.filesystems), "overlay") {
			states[feature] = FeatureThere
		}
		if states[feature] == FeatureUnknown && len(config) > 0 {
			states[feature] = configured(config, names.options, s.modulesDir)
		}
	}
	return states
}

// configured judges a feature by the configuration alone: it was found neither loaded nor among the modules.
func configured(config map[string]string, options []string, modulesDir bool) FeatureState {
	state := FeatureAbsent
	for _, option := range options {
		switch config[option] {
		case "y":
			return FeatureThere
		case "m":
			// With a folder of modules that lacks it: left out of the package, as in Ubuntu's linux-modules-extra.
			if !modulesDir {
				state = FeatureLost
			}
		}
	}
	return state
}

func parseKernelConfig(text string) map[string]string {
	config := map[string]string{}
	for line := range strings.Lines(text) {
		if option, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(option, "CONFIG_") {
			config[option] = value
		}
	}
	return config
}

// parseModules reads modules.dep or modules.builtin: "kernel/net/vxlan/vxlan.ko.zst: …".
func parseModules(text string) map[string]struct{} {
	modules := map[string]struct{}{}
	for line := range strings.Lines(text) {
		path, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		file := path[strings.LastIndexByte(path, '/')+1:]
		if name, _, ok := strings.Cut(file, ".ko"); ok {
			modules[strings.ReplaceAll(name, "-", "_")] = struct{}{}
		}
	}
	return modules
}

// parseVersion finds the first number with dots in a text: "Vagrant 2.3.4", "go version go1.26.0 linux/amd64".
func parseVersion(s string) (version, bool) {
	start := strings.IndexFunc(s, isDigit)
	if start < 0 {
		return version{}, false
	}
	s = s[start:]
	if end := strings.IndexFunc(s, func(r rune) bool { return !isDigit(r) && r != '.' }); end >= 0 {
		s = s[:end]
	}
	var v version
	for i, part := range strings.SplitN(s, ".", len(v)+1) {
		if i == len(v) {
			break
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		v[i] = n
	}
	return v, true
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// version is major, minor, patch.
type version [3]int

func (v version) less(o version) bool { return slices.Compare(v[:], o[:]) < 0 }
