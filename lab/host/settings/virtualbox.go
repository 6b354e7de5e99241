package settings

import (
	"net/netip"
	"os"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// networksConf is where VirtualBox keeps which networks its host-only interfaces may have: see its manual, "Host-Only
// Networking". The path is the same on Linux and macOS; on Windows there is no such limit.
const networksConf = "/etc/vbox/networks.conf"

// virtualBox returns the network at 192.168.56.0 of the given length: its /21 is what VirtualBox allows by default, its
// /24 the lab's subnet where VirtualBox does not allow the one of the topology file.
func virtualBox(bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 56, 0}), bits)
}

// HostOnlyNetworks reads the content of VirtualBox's networks.conf: "* 192.168.0.0/16 10.0.0.0/8". Other lines, and what
// is no network, do not count.
func HostOnlyNetworks(conf string) []netip.Prefix {
	networks := []netip.Prefix{}
	for line := range strings.Lines(conf) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "*")
		if !ok {
			continue
		}
		for field := range strings.FieldsSeq(rest) {
			if p, err := netip.ParsePrefix(field); err == nil {
				networks = append(networks, p.Masked())
			}
		}
	}
	return networks
}

// hostOnly returns the networks that VirtualBox allows by the file at path, or by default.
func hostOnly(path string) []netip.Prefix {
	conf, err := os.ReadFile(path)
	if err != nil {
		return []netip.Prefix{virtualBox(21)}
	}
	return HostOnlyNetworks(string(conf))
}

// defaultSubnet returns the subnet that replaces the topology file's where nobody chose one; none where it may stay.
func (l *Lab) defaultSubnet(path string, provider string) netip.Prefix {
	if provider != providerVirtualBox {
		return netip.Prefix{}
	}
	subnet, err := topology.LoadSubnet(path)
	if err != nil {
		return netip.Prefix{} // whoever reads the file next tells of it
	}
	for _, p := range hostOnly(l.networksConf) {
		if p.Bits() <= subnet.Bits() && p.Contains(subnet.Addr()) {
			return netip.Prefix{}
		}
	}
	return virtualBox(24)
}
