package doctor

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var comparable = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), cmpopts.EquateEmpty()}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, comparable, cmp.AllowUnexported(socket{}, Fact[Pool]{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseEngine(t *testing.T) {
	t.Parallel()
	e, err := parseEngine(`{"ServerVersion":"20.10.24+dfsg1","Driver":"overlay2","DriverStatus":[["Supports d_type","true"]],"MemTotal":25276502016,
		"DockerRootDir":"/var/lib/docker","SecurityOptions":["name=seccomp,profile=default"],"RegistryConfig":{"Mirrors":["https://mirror.test/"]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if e.ServerVersion != "20.10.24+dfsg1" || e.MemTotal != 25276502016 || e.DriverStatus[0] != [2]string{"Supports d_type", "true"} ||
		e.RegistryConfig.Mirrors[0] != "https://mirror.test/" {
		t.Errorf("%+v", e)
	}
	for text, want := range map[string]error{
		`{"ServerVersion":"","ServerErrors":["Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"]}`: ErrStopped,
		`{"ServerErrors":["permission denied while trying to connect to the Docker daemon socket"]}`:                              ErrPermission,
		`{"host":{"arch":"amd64"},"store":{}}`: ErrNotDocker,
		`Emulate Docker CLI using podman.`:     ErrNotDocker,
	} {
		if _, err := parseEngine(text); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

func TestParseDocker(t *testing.T) {
	t.Parallel()
	containers, err := parseContainers(`{"name":"blue-store","state":"running","ports":"127.0.0.1:24881->80/tcp, :::24250->7400/tcp","lab":"blue","folder":"/srv/a,b"}
{"name":"web","state":"exited","ports":"","lab":"","folder":""}
`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, containers, []Container{
		{Owner: Owner{Lab: "blue", Folder: "/srv/a,b"}, Name: "blue-store", State: "running", Ports: addrPorts("127.0.0.1:24881", "[::]:24250")},
		{Name: "web", State: "exited"},
	})
	networks, err := parseNetworks(`{"Name":"blue","ID":"41bb4e6d589e758e8d19","Driver":"bridge","IPAM":{"Config":[{"Subnet":"192.168.44.0/24"},{"Subnet":"fd00::/64"}]},"Options":{},"Labels":{"swarmlab.folder":"/srv/a","swarmlab.lab":"blue"}}
{"Name":"bridge","Id":"c5f803336c646eb0","Driver":"bridge","IPAM":{"Config":[{"Subnet":"172.17.0.0/16"}]},"Options":{"com.docker.network.bridge.name":"docker0"},"Labels":null}
{"Name":"host","Id":"f1ff7a8a2923fc99","Driver":"host","IPAM":{"Config":null}}`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, networks, []Network{
		{Owner: Owner{Lab: "blue", Folder: "/srv/a"}, Name: "blue", Driver: "bridge", Bridge: "br-41bb4e6d589e", Subnets: prefixes("192.168.44.0/24", "fd00::/64")},
		{Name: "bridge", Driver: "bridge", Bridge: "docker0", Subnets: prefixes("172.17.0.0/16")},
		{Name: "host", Driver: "host"},
	})
	if _, err := parseVolumes("WARNING: something\n"); err == nil {
		t.Error("a line that is no JSON should fail")
	}
}

func TestParsePublished(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]netip.AddrPort{
		"":                                       nil,
		"443/tcp":                                nil,
		"0.0.0.0:53->53/udp":                     nil,
		"0.0.0.0:8080->80/tcp, [::]:80->80/tcp":  addrPorts("0.0.0.0:8080", "[::]:80"),
		":::8080->80/tcp":                        addrPorts("[::]:8080"),
		"127.0.0.1:8000-8002->80-82/tcp":         addrPorts("127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"),
		"127.0.0.1:x->80/tcp, 127.0.0.1->80/tcp": nil,
	} {
		same(t, parsePublished(in), want)
	}
}

func TestParseRoutes(t *testing.T) {
	t.Parallel()
	routes, err := parseIPRoutes(`[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"172.17.0.0/16","dev":"docker0"},
		{"dst":"10.8.0.1","dev":"tun0","table":"51820"},{"type":"local","dst":"127.0.0.0/8","dev":"lo"},{"type":"unreachable","dst":"10.9.0.0/16"},{"dst":"fe80::/64","dev":"eth0"}]`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, routes, []Route{
		{netip.MustParsePrefix("172.17.0.0/16"), "docker0"}, {netip.MustParsePrefix("10.8.0.1/32"), "tun0"}, {netip.MustParsePrefix("10.9.0.0/16"), "unreachable"},
	})
	same(t, parseProcRoute("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"+
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"+
		"docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"), []Route{{netip.MustParsePrefix("172.17.0.0/16"), "docker0"}})
	same(t, parseNetstatRoutes(`Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
10.1/16            link#20            UCS                 utun3      !
127                127.0.0.1          UCS                   lo0
192.168.33         link#4             UCS                   en0      !
192.168.1.1/32     link#4             UCS                   en0      !
224.0.0/4          link#4             UmCS                  en0      !
`), []Route{
		{netip.MustParsePrefix("10.1.0.0/16"), "utun3"},
		{netip.MustParsePrefix("127.0.0.0/8"), "lo0"},
		{netip.MustParsePrefix("192.168.33.0/24"), "en0"},
		{netip.MustParsePrefix("192.168.1.1/32"), "en0"},
		{netip.MustParsePrefix("224.0.0.0/4"), "en0"},
	})
}

func TestParseSockets(t *testing.T) {
	t.Parallel()
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	same(t, parseProcTCP(head+
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0\n"+
		"   1: 0100007F:1F91 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 12346 1 0 100 0 0 10 0\n"+
		"   2: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12347 1\n"+
		"   3: 0000000000000000FFFF00000100007F:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12348 1\n"),
		[]socket{
			{addrPorts("127.0.0.1:8080")[0], "12345"}, {addrPorts("[::1]:8082")[0], "12347"}, {addrPorts("[::ffff:127.0.0.1]:8083")[0], "12348"},
		})
	same(t, parseLsof("p512\ncnginx\nf6\nn*:8080\nf7\nn[::1]:8081\np600\nccom.docker.backend\nf9\nn127.0.0.1:19011\nnbroken\n"), []Listener{
		{addrPorts("0.0.0.0:8080")[0], Process{PID: 512, Name: "nginx"}},
		{addrPorts("[::1]:8081")[0], Process{PID: 512, Name: "nginx"}},
		{addrPorts("127.0.0.1:19011")[0], Process{PID: 600, Name: "com.docker.backend"}},
	})
	for addr, want := range map[string]bool{"127.0.0.1": true, "0.0.0.0": true, "::": true, "::ffff:127.0.0.1": true, "::1": false, "192.0.2.1": false} {
		if got := binds(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
}

func TestParseMeminfo(t *testing.T) {
	t.Parallel()
	m, err := parseMeminfo("MemTotal:       24684084 kB\nMemFree:        17522000 kB\nMemAvailable:   23676000 kB\nSwapFree:        1024 kB\n")
	if err != nil {
		t.Fatal(err)
	}
	same(t, m, Memory{Total: 24684084 << 10, Available: 23676000 << 10, SwapFree: 1 << 20})
	if _, err := parseMeminfo(""); err == nil {
		t.Error("nothing should be an error")
	}
}

func TestKernelFeatures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		s    kernelSources
		want map[Feature]FeatureState
	}{
		{"silent", kernelSources{}, map[Feature]FeatureState{
			"overlay": FeatureUnknown, "vxlan": FeatureUnknown, "bridge": FeatureUnknown, "veth": FeatureUnknown, "netfilter": FeatureUnknown,
		}},
		{"all built in", kernelSources{
			filesystems: "nodev\toverlay\n",
			config:      "CONFIG_VXLAN=y\nCONFIG_BRIDGE=y\nCONFIG_VETH=y\n# CONFIG_NF_TABLES is not set\nCONFIG_IP_NF_IPTABLES=y\n",
		}, map[Feature]FeatureState{
			"overlay": FeatureThere, "vxlan": FeatureThere, "bridge": FeatureThere, "veth": FeatureThere, "netfilter": FeatureThere,
		}},
		{"modules", kernelSources{
			loaded: map[string]bool{"bridge": true, "nf_tables": true}, modulesDir: true,
			config:  "CONFIG_OVERLAY_FS=m\nCONFIG_VXLAN=m\nCONFIG_BRIDGE=m\nCONFIG_VETH=m\n",
			modules: parseModules("kernel/fs/overlayfs/overlay.ko.xz:\nkernel/net/bridge/bridge.ko.xz: kernel/net/802/stp.ko.xz\nkernel/drivers/net/veth.ko:\n"),
		}, map[Feature]FeatureState{
			"overlay": FeatureLoadable, "vxlan": FeatureAbsent, "bridge": FeatureThere, "veth": FeatureLoadable, "netfilter": FeatureThere,
		}},
		{"upgraded, not rebooted", kernelSources{
			loaded: map[string]bool{"bridge": true, "overlay": true, "veth": true, "ip_tables": true},
			config: "CONFIG_VXLAN=m\n",
		}, map[Feature]FeatureState{
			"overlay": FeatureThere, "vxlan": FeatureLost, "bridge": FeatureThere, "veth": FeatureThere, "netfilter": FeatureThere,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			same(t, kernelFeatures(test.s), test.want)
		})
	}
}

func TestParseSmallThings(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]version{
		"Vagrant 2.3.4": {2, 3, 4}, "20.10.24+dfsg1": {20, 10, 24}, "go1.26-devel": {1, 26, 0}, "1.27rc1": {1, 27, 0}, "28": {28, 0, 0},
	} {
		if got, ok := parseVersion(in); !ok || got != want {
			t.Errorf("%s: %v %t", in, got, ok)
		}
	}
	if _, ok := parseVersion("dev"); ok {
		t.Error("dev is no version")
	}
	for in, want := range map[string]string{"01-vagrant-libvirt.json": "vagrant-libvirt", "vagrant-libvirt-0.11.2.gemspec": "vagrant-libvirt", "x": "x"} {
		if got := pluginName(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	for in, want := range map[string]bool{"ID=debian\n": true, "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n": true, "ID=fedora\nNAME=debian\n": false} {
		if likeDebian(in) != want {
			t.Errorf("%q is like Debian: %t", in, !want)
		}
	}
}

// FuzzDocker: whatever docker says, there is no panic, and what is read makes sense.
func FuzzDocker(f *testing.F) {
	f.Fuzz(func(t *testing.T, out string) {
		facts := sound()
		facts.Engine, facts.Containers = found(parseEngine(out)), found(parseContainers(out))
		facts.Networks, facts.Volumes = found(parseNetworks(out)), found(parseVolumes(out))
		published := sound()
		published.Containers = Known([]Container{{Ports: parsePublished(out)}})
		for _, finding := range append(Evaluate(facts), Evaluate(published)...) {
			if finding.Check == "" || finding.Message == "" {
				t.Errorf("%+v", finding)
			}
		}
	})
}

// FuzzNetwork does the same for what the host says of its networks and sockets.
func FuzzNetwork(f *testing.F) {
	f.Fuzz(func(t *testing.T, out string) {
		routes, _ := parseIPRoutes(out)
		routes = append(append(routes, parseProcRoute(out)...), parseNetstatRoutes(out)...)
		for _, r := range routes {
			if !r.To.IsValid() || !r.To.Addr().Is4() || r.To.Bits() == 0 {
				t.Errorf("%+v", r)
			}
		}
		facts := sound()
		facts.Routes.value = routes
		for _, s := range parseProcTCP(out) {
			if !s.addr.Addr().IsValid() || s.inode == "" {
				t.Errorf("%+v", s)
			}
			facts.Listeners.value = append(facts.Listeners.value, Listener{Addr: s.addr})
		}
		facts.Listeners.value = append(facts.Listeners.value, parseLsof(out)...)
		Evaluate(facts)
	})
}

// FuzzHost does the same for what the host says of itself.
func FuzzHost(f *testing.F) {
	f.Fuzz(func(t *testing.T, out string) {
		if m, err := parseMeminfo(out); err == nil && m.Total == 0 {
			t.Error("no memory at all")
		}
		states := kernelFeatures(kernelSources{filesystems: out, config: out, modules: parseModules(out), modulesDir: strings.Contains(out, "m")})
		if len(states) != len(features()) {
			t.Errorf("%v", states)
		}
		if v, ok := parseVersion(out); ok && v.less(version{}) {
			t.Errorf("%v", v)
		}
		likeDebian(out)
		pluginName(out)
	})
}
