package doctor

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// parseCPUInfo reads /proc/cpuinfo. The first processor speaks for all.
func parseCPUInfo(text string) Processor {
	var p Processor
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != "flags" {
			continue
		}
		p.Tells = true
		for flag := range strings.FieldsSeq(value) {
			switch flag {
			case "vmx", "svm":
				p.Extension = flag
			case "hypervisor":
				p.Guest = true
			}
		}
		return p
	}
	return p
}

// libvirtError tells apart why virsh has no connection, by its words, of which it gives no code.
func libvirtError(text string) error {
	said := libvirtReason(text)
	lower := strings.ToLower(said)
	switch {
	case strings.Contains(lower, "permission denied"), strings.Contains(lower, "authentication unavailable"),
		strings.Contains(lower, "authentication failed"), strings.Contains(lower, "access denied"):
		return fmt.Errorf("%w: %s", ErrPermission, said)
	case strings.Contains(lower, "failed to connect socket"), strings.Contains(lower, "connection refused"),
		strings.Contains(lower, "no such file or directory"), strings.Contains(lower, "cannot recv data"):
		return fmt.Errorf("%w: %s", ErrStopped, said)
	case strings.Contains(lower, "timed out"), strings.Contains(lower, "timeout"):
		return fmt.Errorf("%w: %s", ErrNoAnswer, said)
	}
	return errors.New(said)
}

// libvirtReason is the last of virsh's errors: the first one only says that there is another.
func libvirtReason(text string) string {
	said := strings.TrimSpace(text)
	for line := range strings.Lines(text) {
		if reason, ok := strings.CutPrefix(strings.TrimSpace(line), "error: "); ok {
			said = reason
		}
	}
	return said
}

// parseVirshVersion reads `virsh version`, whose last line names the hypervisor: "Running hypervisor: QEMU 7.2.22".
func parseVirshVersion(out string) string {
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Running hypervisor: "); ok {
			return name
		}
	}
	return ""
}

// parseVirshNames reads lists of `--name` and of `--uuid`: one on each line, and an empty line in the end.
func parseVirshNames(out string) []string {
	var names []string
	for line := range strings.Lines(out) {
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// parseDomains reads `virsh list --uuid --name`: both on each line.
func parseDomains(out string) []Machine {
	var machines []Machine
	for line := range strings.Lines(out) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			machines = append(machines, Machine{ID: id, Name: strings.TrimSpace(name)})
		}
	}
	return machines
}

// parseLibvirtNetwork reads `virsh net-dumpxml`. A network without an IPv4 address of the host, as a bridged one, has no
// prefix.
func parseLibvirtNetwork(out string) (MachineNetwork, error) {
	var n struct {
		XMLName xml.Name `xml:"network"`
		Name    string   `xml:"name"`
		Bridge  struct {
			Name string `xml:"name,attr"`
		} `xml:"bridge"`
		IPs []struct {
			Family  string `xml:"family,attr"`
			Address string `xml:"address,attr"`
			Netmask string `xml:"netmask,attr"`
			Prefix  string `xml:"prefix,attr"`
		} `xml:"ip"`
	}
	if err := readXML(out, &n); err != nil {
		return MachineNetwork{}, fmt.Errorf("libvirt's network is not in its form: %w", err)
	}
	if n.Name == "" {
		return MachineNetwork{}, errors.New("libvirt's network has no name")
	}
	network := MachineNetwork{Name: n.Name, Bridge: n.Bridge.Name}
	for _, ip := range n.IPs {
		if ip.Family != "" && ip.Family != "ipv4" {
			continue
		}
		// libvirt writes the one that the network was defined by.
		p, err := netip.ParsePrefix(ip.Address + "/" + ip.Prefix)
		ok := err == nil
		if ip.Netmask != "" {
			p, ok = maskedPrefix(ip.Address, ip.Netmask)
		}
		if ok && p.Addr().Is4() {
			network.Prefix = p.Masked()
			break
		}
	}
	return network, nil
}

// maskedPrefix reads an IPv4 address with its mask in the same notation: 192.168.45.1, 255.255.255.0.
func maskedPrefix(address, mask string) (netip.Prefix, bool) {
	addr, err := netip.ParseAddr(address)
	m, maskErr := netip.ParseAddr(mask)
	if err != nil || maskErr != nil || !addr.Is4() || !m.Is4() {
		return netip.Prefix{}, false
	}
	ones, bits := net.IPMask(m.AsSlice()).Size()
	if bits == 0 || ones == 0 { // no mask, or one of everything
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, ones).Masked(), true
}

// parseLibvirtPool reads `virsh pool-dumpxml`.
func parseLibvirtPool(out string) (path string, err error) {
	var p struct {
		XMLName xml.Name `xml:"pool"`
		Path    string   `xml:"target>path"`
	}
	if err := readXML(out, &p); err != nil {
		return "", fmt.Errorf("libvirt's storage pool is not in its form: %w", err)
	}
	path = strings.TrimSpace(p.Path)
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("libvirt's storage pool default is not in a folder, but at %q", path)
	}
	return path, nil
}

func readXML(text string, into any) error {
	decoder := xml.NewDecoder(strings.NewReader(text))
	// Never asked for another file or network: a charset that is not UTF-8 is passed on as it is.
	decoder.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	return decoder.Decode(into)
}

// vagrantSource is the clone's folder in the description that Vagrant gives to libvirt's machines, as `virsh desc` prints
// it: "Source: /home/ada/swarmlab/Vagrantfile".
func vagrantSource(description string) string {
	file, ok := strings.CutPrefix(strings.TrimSpace(description), "Source: ")
	if !ok || filepath.Base(file) != "Vagrantfile" || !filepath.IsAbs(file) {
		return ""
	}
	return filepath.Dir(file)
}

// parseVBoxVersion reads `VBoxManage --version`, which says what is wrong with the installation, at length, before it
// says its version.
func parseVBoxVersion(out string) (string, bool) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if last == "" || !isDigit(rune(last[0])) || strings.ContainsAny(last, " \t") {
		return "", false
	}
	return last, strings.Contains(last, ".")
}

// parseVBoxList reads blocks such as `VBoxManage list hostonlyifs` prints: lines of a key and a value, and an empty line
// between blocks, but also within some. A block ends where its first key comes again. Indented lines are details.
func parseVBoxList(out string) []map[string]string {
	var blocks []map[string]string
	first := ""
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok || key == "" || strings.TrimLeft(key, " \t") != key {
			continue
		}
		if first == "" {
			first = key
		}
		if key == first {
			blocks = append(blocks, map[string]string{})
		}
		blocks[len(blocks)-1][key] = strings.TrimSpace(value)
	}
	return blocks
}

// parseHostOnly reads `VBoxManage list hostonlyifs` and, of macOS, `list hostonlynets`.
func parseHostOnly(out string) []MachineNetwork {
	var networks []MachineNetwork
	for _, block := range parseVBoxList(out) {
		address := block["IPAddress"]
		if address == "" {
			address = block["LowerIP"]
		}
		p, ok := maskedPrefix(address, block["NetworkMask"])
		if !ok || block["Name"] == "" {
			continue // it has no address yet
		}
		n := MachineNetwork{Name: block["Name"], Prefix: p, Active: block["Status"] == "Up" || block["State"] == "Enabled"}
		if block["IPAddress"] != "" {
			n.Bridge = n.Name
		}
		networks = append(networks, n)
	}
	return networks
}

// parseVBoxDHCP reads `VBoxManage list dhcpservers`; those that are switched off do not count.
func parseVBoxDHCP(out string) []DHCPServer {
	var servers []DHCPServer
	for _, block := range parseVBoxList(out) {
		address := block["Dhcpd IP"]
		lower, upper := block["LowerIPAddress"], block["UpperIPAddress"]
		if address == "" { // before 6.1
			address, lower, upper = block["IP"], block["lowerIPAddress"], block["upperIPAddress"]
		}
		addr, err1 := netip.ParseAddr(address)
		low, err2 := netip.ParseAddr(lower)
		high, err3 := netip.ParseAddr(upper)
		if errors.Join(err1, err2, err3) == nil && block["Enabled"] == "Yes" && block["NetworkName"] != "" {
			servers = append(servers, DHCPServer{Network: block["NetworkName"], Address: addr, Lower: low, Upper: high})
		}
	}
	return servers
}

// parseVBoxMachines reads `VBoxManage list vms`, or `list runningvms`: lines of "name" {uuid}.
func parseVBoxMachines(out string) []Machine {
	var machines []Machine
	for line := range strings.Lines(out) {
		name, id, ok := cutLast(strings.TrimSpace(line), " {")
		if !ok || len(name) < 2 || name[0] != '"' || name[len(name)-1] != '"' || !strings.HasSuffix(id, "}") {
			continue
		}
		if id = strings.TrimSuffix(id, "}"); id != "" {
			machines = append(machines, Machine{ID: id, Name: name[1 : len(name)-1]})
		}
	}
	return machines
}

// parseRecordID reads an id file of Vagrant.
func parseRecordID(text []byte) string {
	return string(bytes.TrimSpace(text))
}

// markRunning marks those machines that are in another list of the same.
func markRunning(all, running []Machine) {
	for i := range all {
		all[i].Running = slices.ContainsFunc(running, func(m Machine) bool { return m.ID == all[i].ID })
	}
}
