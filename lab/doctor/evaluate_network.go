package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// name: a lab's machines, or containers, volumes and network, are found by the lab's name, so no other clone may use the
// same.
func (j *evaluation) name() {
	const check = "name"
	if !j.containerNodes() {
		j.namedAlike(check)
		return
	}
	open := why(j.Containers.Err(), j.Networks.Err(), j.Volumes.Err())
	others := j.namesakes()
	for _, owner := range j.owners(others) {
		things := console.List(some(unique(others[owner])))
		if owner.Lab == "" {
			j.block(check, j.elsewhere(), "%s belongs to no lab, but has a name that this one needs", things)
			continue
		}
		j.block(check, takeDown(owner)+"   # or: "+j.elsewhere(),
			"%s has the same name as this one, or one that this one needs (%s)", describe(owner), things)
	}
	switch {
	case len(others) > 0:
	case open != nil:
		j.unknown(check, fmt.Sprintf("whether another clone has a lab %s on this host", j.Settings.Name), open)
	default:
		j.ok(check, "no other clone has a lab %s on this host", j.Settings.Name)
	}
}

// namesakes are whose things have this lab's name, or one that a thing of this lab will have, and what things these are.
func (j *evaluation) namesakes() map[Owner][]string {
	node := map[string]bool{}
	for _, n := range j.Topology.Nodes {
		node[j.Settings.Name+"-"+n.Name] = true
	}
	others := map[Owner][]string{}
	see := func(o Owner, kind, name string, taken bool) {
		if !j.mine(o) && (o.Lab == j.Settings.Name || taken) {
			others[o] = append(others[o], kind+" "+name)
		}
	}
	for _, c := range j.Containers.seen() {
		see(c.Owner, "container", c.Name, node[c.Name])
	}
	for _, n := range j.Networks.seen() {
		see(n.Owner, "network", n.Name, n.Name == j.Settings.Name)
	}
	for _, v := range j.Volumes.seen() {
		see(v.Owner, "volume", v.Name, node[v.Name])
	}
	return others
}

func (j *evaluation) owners(of map[Owner][]string) []Owner {
	var owners []Owner
	for o := range of {
		owners = append(owners, o)
	}
	slices.SortFunc(owners, func(a, b Owner) int { return strings.Compare(a.Folder+a.Lab, b.Folder+b.Lab) })
	return owners
}

// elsewhere is a command that brings the lab up under another name, subnet or ports, for each of them that is somebody
// else's: a fix that mends one clash and runs into the next would be none.
func (j *evaluation) elsewhere() string {
	var words []string
	if n, _ := j.running(); n > 0 {
		words = append(words, "make down &&")
	}
	if len(j.namesakes())+len(j.alikes()) > 0 {
		words = append(words, settings.EnvName+"="+j.freeName())
	}
	if j.subnetTaken() {
		words = append(words, fmt.Sprintf("%s=%s", settings.EnvSubnet, j.freeSubnet()))
	}
	if slices.ContainsFunc(j.ports(), func(p labPort) bool { _, _, taken := j.holder(p.number); return taken }) {
		words = append(words, fmt.Sprintf("%s=%d", settings.EnvPortBase, j.freePortBase()))
	}
	return strings.Join(append(words, "make up"), " ")
}

func (j *evaluation) freeName() string {
	taken := map[string]bool{j.Settings.Name: true}
	for _, c := range j.Containers.seen() {
		taken[c.Lab] = true
	}
	for _, n := range j.Networks.seen() {
		taken[n.Lab], taken[n.Name] = true, true
	}
	for _, m := range j.Machines.seen() {
		lab, _ := j.labOf(m.Name)
		taken[lab] = true
	}
	for i := 2; ; i++ {
		// Names have 21 characters at most.
		if name := fmt.Sprintf("%.18s%d", j.Settings.Name, i); !taken[name] {
			return name
		}
	}
}

// subnetTaken: somebody else has the lab's subnet or a part of it, or contains it.
func (j *evaluation) subnetTaken() bool {
	trial := &evaluation{Facts: j.Facts, trial: true}
	trial.subnet()
	return slices.ContainsFunc(trial.findings, func(f Finding) bool { return f.Status == Fail || f.Status == Warn })
}

// hereabouts: what the host's own network looks like matters to the nodes, for certain. Behind Docker Desktop they have
// another one.
func (j *evaluation) hereabouts() bool {
	here, known := j.engineHere()
	return !j.containerNodes() || here || known && !j.Engine.known()
}

// maybeOurs: the interface may be that of the lab's own network, of which the engine did not tell. Docker names the
// bridges of its networks so.
func (j *evaluation) maybeOurs(dev string) bool {
	return j.containerNodes() && j.Networks.open() && (strings.HasPrefix(dev, "br-") || dev == "docker0")
}

func (j *evaluation) subnet() {
	const check = "subnet"
	before := len(j.findings)
	bridges := map[string]bool{}
	for _, n := range j.Networks.seen() {
		bridges[n.Bridge] = true
		j.dockerNetwork(check, n)
	}
	for _, n := range j.MachineNetworks.seen() {
		if n.Bridge != "" {
			bridges[n.Bridge] = true
		}
		j.machineNetwork(check, n)
	}
	seen := map[string]bool{}
	for _, i := range j.Interfaces.seen() {
		if !bridges[i.Name] && !j.ownHostOnly(i.Name, i.Prefix) {
			seen[i.Name+" "+i.Prefix.Masked().String()] = true
			j.hostNetwork(check, "interface "+i.Name, i.Name, i.Prefix.Masked())
		}
	}
	for _, r := range j.Routes.seen() {
		key := r.Dev + " " + r.To.String()
		if !bridges[r.Dev] && !seen[key] && !j.ownHostOnly(r.Dev, r.To) {
			seen[key] = true
			j.hostNetwork(check, "route to "+r.To.String()+" by "+r.Dev, r.Dev, r.To)
		}
	}
	j.virtualBoxRange(check)
	if !j.trial {
		j.managementTaken(check)
		j.dhcp(check)
	}
	if len(j.findings) > before {
		return
	}
	if err := why(j.Networks.Err(), j.MachineNetworks.Err(), j.Interfaces.Err(), j.Routes.Err()); err != nil {
		j.unknown(check, fmt.Sprintf("whether somebody else uses %s", j.Settings.Subnet), err)
		return
	}
	j.ok(check, "nobody else uses %s", j.Settings.Subnet)
}

// moveSubnet is the fix of a clash.
func (j *evaluation) moveSubnet() string {
	if j.trial {
		return ""
	}
	return j.elsewhere()
}

func (j *evaluation) dockerNetwork(check string, n Network) {
	if j.mine(n.Owner) && j.containerNodes() {
		if len(n.Subnets) > 0 && !slices.Contains(n.Subnets, j.Settings.Subnet) {
			j.block(check, "make down   # then again with the new subnet",
				"this lab is up on %s; it cannot move to %s while it is", n.Subnets[0], j.Settings.Subnet)
		}
		return
	}
	for _, s := range n.Subnets {
		if !s.Overlaps(j.Settings.Subnet) {
			continue
		}
		switch {
		case j.mine(n.Owner):
			j.block(check, "PROVIDER=docker make down", "%s is used by this clone's own lab of containers, Docker network %s", j.Settings.Subnet, n.Name)
		case n.Lab != "":
			j.block(check, takeDown(n.Owner)+"   # or: "+j.moveSubnet(), "%s is used by %s, Docker network %s (%s)",
				j.Settings.Subnet, describe(n.Owner), n.Name, s)
		case n.Name == "bridge":
			j.block(check, j.moveSubnet(), "%s overlaps Docker's default bridge %s (%s)", j.Settings.Subnet, n.Bridge, s)
		default:
			j.block(check, j.moveSubnet()+"   # or, if nobody needs it: docker network rm "+quote(n.Name),
				"%s overlaps the Docker network %s (%s)", j.Settings.Subnet, n.Name, s)
		}
	}
}

// hostNetwork judges a network that the host is on or has a route to.
func (j *evaluation) hostNetwork(check, what, dev string, to netip.Prefix) {
	switch {
	case to.Overlaps(j.Settings.Subnet) && j.maybeOurs(dev):
		j.unknown(check, fmt.Sprintf("whether the %s (%s) is this lab's own network or clashes with %s", what, to, j.Settings.Subnet), j.Networks.Err())
	case to.Overlaps(j.Settings.Subnet) && to.Bits() < j.Settings.Subnet.Bits():
		// The lab's own route is the more exact one and wins, so the lab works.
		j.warn(check, j.moveSubnet(), "%s contains %s%s: while the lab is up, this host does not reach the addresses there", what, j.Settings.Subnet, j.kindOf(dev))
	case to.Overlaps(j.Settings.Subnet):
		j.blockIf(j.hereabouts(), check, j.moveSubnet()+hint(dev), "%s clashes with the %s (%s)%s", j.Settings.Subnet, what, to, j.kindOf(dev))
	}
	if j.trial {
		return
	}
	for _, inner := range j.inside() {
		// A wide route, as many VPNs set, says nothing about who lives there; one as narrow as the inner network does.
		if j.containerNodes() && to.Overlaps(inner.prefix) && to.Bits() >= inner.prefix.Bits() && !to.Overlaps(j.Settings.Subnet) && j.hereabouts() && !j.maybeOurs(dev) {
			j.warn(check, "none needed, unless nodes must reach a registry or proxy there",
				"the %s (%s)%s overlaps %s, %s: nodes cannot reach hosts there", what, to, j.kindOf(dev), inner.prefix, inner.what)
		}
	}
}

type innerNetwork struct {
	prefix netip.Prefix
	what   string
}

// inside are the networks that exist on every node. The lab's own subnet is never among them: lab/host/topology refuses that
// for Docker's bridges, and the agents take the swarm's pool from where the subnet is not.
func (j *evaluation) inside() []innerNetwork {
	inner := []innerNetwork{
		{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17}), 16), "the bridge of each node's engine"},
		{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 18}), 16), "docker_gwbridge of each node"},
	}
	for _, base := range [][4]byte{{10, 33}, {10, 133}, {172, 30}} {
		if pool := netip.PrefixFrom(netip.AddrFrom4(base), 16); !pool.Overlaps(j.Settings.Subnet) {
			return append(inner, innerNetwork{pool, "the pool of the swarm's networks"})
		}
	}
	return inner
}

// ownHostOnly: a hypervisor's network of just this subnet is most likely the lab's own.
func (j *evaluation) ownHostOnly(dev string, p netip.Prefix) bool {
	return !j.containerNodes() && p.Masked() == j.Settings.Subnet &&
		slices.ContainsFunc([]string{"virbr", "vboxnet", "vmnet", "bridge"}, func(kind string) bool { return strings.HasPrefix(dev, kind) })
}

func (j *evaluation) kindOf(dev string) string {
	if strings.HasPrefix(dev, "br-") && j.Networks.open() {
		return ", a bridge, perhaps of a Docker network: " + reason(j.Networks.Err())
	}
	for prefix, kind := range map[string]string{
		"tun": "a VPN", "tap": "a VPN", "utun": "a VPN", "wg": "a VPN, WireGuard", "ppp": "a VPN", "ipsec": "a VPN", "gpd": "a VPN", "cscotun": "a VPN",
		"tailscale": "Tailscale", "zt": "ZeroTier", "virbr": "a network of libvirt", "vboxnet": "a network of VirtualBox",
		"vmnet": "a network of VMware", "lxdbr": "a network of LXD", "cni": "a network of Kubernetes", "flannel": "a network of Kubernetes",
		"podman": "a network of Podman", "br-": "a bridge, perhaps of a Docker network that was removed",
	} {
		if rest, ok := strings.CutPrefix(dev, prefix); ok && (rest == "" || isDigit(rune(rest[0])) || strings.HasSuffix(prefix, "-") || prefix == "zt") {
			return ", " + kind
		}
	}
	return ""
}

func hint(dev string) string {
	switch {
	case strings.HasPrefix(dev, "virbr"):
		return "   # or find the network by `virsh net-list --all` and end it by `virsh net-destroy NAME`"
	case strings.HasPrefix(dev, "vboxnet"):
		return "   # or: VBoxManage hostonlyif remove " + dev
	}
	return ""
}

// virtualBoxRange: VirtualBox allows host-only networks within 192.168.56.0/21 unless its networks.conf says more. On
// Windows, on macOS since 7.0, and before 6.1.28 it does not care.
func (j *evaluation) virtualBoxRange(check string) {
	vb, known := j.VirtualBox.Get()
	if j.Settings.Provider != providerVirtualBox || !known || j.Host.OS == "windows" {
		return
	}
	v, _ := parseVersion(vb.Version)
	if v.less(version{6, 1, 28}) || j.Host.OS == "darwin" && !v.less(version{7, 0}) {
		return
	}
	allowed := vb.Allowed
	if allowed == nil {
		allowed = []netip.Prefix{virtualBoxDefault()}
	}
	for _, p := range allowed {
		if p.Overlaps(j.Settings.Subnet) && p.Bits() <= j.Settings.Subnet.Bits() {
			return
		}
	}
	fix := fmt.Sprintf("echo '* %s' | %s", j.Settings.Subnet, j.sudo("tee -a /etc/vbox/networks.conf"))
	if vb.Allowed == nil {
		fix = j.sudo("mkdir -p /etc/vbox") + " && " + fix
	}
	if to := virtualBoxSubnet(); slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Bits() <= to.Bits() && p.Contains(to.Addr()) }) {
		fix = fmt.Sprintf("%s=%s make up   # or: %s", settings.EnvSubnet, to, fix)
	}
	j.block(check, fix, "VirtualBox does not allow %s", j.Settings.Subnet)
}

// virtualBoxSubnet is the lab's where VirtualBox does not allow the usual one.
func virtualBoxSubnet() netip.Prefix {
	return netip.PrefixFrom(virtualBoxDefault().Addr(), 24)
}

func virtualBoxDefault() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 56}), 21)
}

// freeSubnet finds a /24 that nobody uses.
func (j *evaluation) freeSubnet() netip.Prefix {
	var taken []netip.Prefix
	for _, n := range j.Networks.seen() {
		taken = append(taken, n.Subnets...)
	}
	for _, i := range j.Interfaces.seen() {
		taken = append(taken, i.Prefix.Masked())
	}
	for _, r := range j.Routes.seen() {
		taken = append(taken, r.To)
	}
	for _, n := range j.MachineNetworks.seen() {
		if n.Prefix.IsValid() {
			taken = append(taken, n.Prefix)
		}
	}
	if j.Settings.Provider == providerLibvirt {
		taken = append(taken, management())
	}
	free := func(p netip.Prefix) bool {
		return p != j.Settings.Subnet && !slices.ContainsFunc(taken, p.Overlaps)
	}
	for _, base := range [][4]byte{{192, 168}, {172, 24}, {10, 77}} {
		if j.Settings.Provider == providerVirtualBox {
			base = [4]byte{192, 168}
		}
		for third := range 255 {
			// From the seeds' 33 on; VirtualBox's range starts at 56.
			base[2] = byte((third + 34) % 255)
			p := netip.PrefixFrom(netip.AddrFrom4(base), 24)
			if free(p) && (j.Settings.Provider != providerVirtualBox || virtualBoxDefault().Overlaps(p)) {
				return p
			}
		}
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 78, 1}), 24)
}

// binds: a socket there keeps 127.0.0.1 from being bound at the same port.
func binds(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsUnspecified() || a.Is4() && a.IsLoopback()
}

// freePortBase finds a LAB_PORT_BASE whose ports nobody uses.
func (j *evaluation) freePortBase() int {
	taken := map[int]bool{}
	for _, l := range j.Listeners.seen() {
		taken[int(l.Addr.Port())] = true
	}
	for _, c := range j.Containers.seen() {
		for _, p := range c.Ports {
			taken[int(p.Port())] = true
		}
	}
	other := *j.Facts
	// Not into the range that the kernel gives to outgoing connections.
	for base := 20000; base <= 31000; base += 1000 {
		other.Settings.PortBase = base
		if !slices.ContainsFunc(other.ports(), func(p labPort) bool { return taken[p.number] }) {
			return base
		}
	}
	return 20000
}

func (j *evaluation) hostPorts() {
	const check = "ports"
	type clash struct {
		what, fix string
		ports     []labPort
	}
	var clashes []clash
	var doubtful []string
	for _, port := range j.ports() {
		what, fix, taken := j.holder(port.number)
		if !taken {
			continue
		}
		if what == "" {
			doubtful = append(doubtful, fmt.Sprintf("%d (%s)", port.number, port.use))
			continue
		}
		if i := slices.IndexFunc(clashes, func(c clash) bool { return c.what == what }); i >= 0 {
			clashes[i].ports = append(clashes[i].ports, port)
			continue
		}
		clashes = append(clashes, clash{what, fix, []labPort{port}})
	}
	for _, c := range clashes {
		var uses []string
		for _, p := range c.ports {
			uses = append(uses, fmt.Sprintf("%d (%s)", p.number, p.use))
		}
		j.block(check, strings.TrimPrefix(c.fix+"   # or: ", "   # or: ")+j.elsewhere(), "127.0.0.1:%s in use by %s", console.List(uses), c.what)
	}
	open := why(j.Listeners.Err())
	if !j.Listeners.known() {
		open = why(j.Listeners.Err(), j.Containers.Err())
	}
	switch {
	case len(doubtful) > 0:
		j.unknown(check, fmt.Sprintf("whether 127.0.0.1:%s, in use, are this lab's own", console.List(some(doubtful))),
			cmp.Or(j.Containers.Err(), errors.New("a node of it is starting or stopping")))
	case len(clashes) > 0:
	case open != nil:
		j.unknown(check, "whether the lab's ports are free", open)
	default:
		ports := j.ports()
		first, last := ports[0].number, ports[0].number
		for _, p := range ports[:len(ports)-2] {
			first, last = min(first, p.number), max(last, p.number)
		}
		j.ok(check, "free, or this lab's own: %d…%d for the agents, %d voting app, %d results app", first, last, j.Settings.VotingPort(), j.Settings.ResultsPort())
	}
}

// holder says who else has a port of 127.0.0.1, and how to make it let go. Where it is taken and what is empty it may be
// by this lab's own containers, of which the engine did not tell.
func (j *evaluation) holder(port int) (what, fix string, taken bool) {
	for _, c := range j.Containers.seen() {
		if !slices.ContainsFunc(c.Ports, func(p netip.AddrPort) bool { return int(p.Port()) == port && binds(p.Addr()) }) {
			continue
		}
		switch {
		case j.mine(c.Owner):
			return "", "", false
		case c.Lab != "":
			return describe(c.Owner), takeDown(c.Owner), true
		}
		return "the container " + c.Name, "docker stop " + quote(c.Name), true
	}
	for _, l := range j.Listeners.seen() {
		if int(l.Addr.Port()) != port || !binds(l.Addr.Addr()) {
			continue
		}
		folder, isNode := nodeForward(l.Holder.Command)
		switch {
		case j.maybeEngines(l.Holder):
			return "", "", true
		case isNode && folder == j.Root, j.ownVM(l.Holder.Command):
			return "", "", false
		case isNode:
			return "the lab of " + folder, takeDown(Owner{Folder: folder}), true
		case l.Holder.PID != 0:
			return l.Holder.String(), "kill " + strconv.Itoa(l.Holder.PID), true
		}
		return l.Holder.String(), "", true
	}
	return "", "", false
}

// maybeEngines: a port is published for a container that may be one of this lab's. On Linux docker-proxy holds it, which
// only root sees; elsewhere many a program.
func (j *evaluation) maybeEngines(p Process) bool {
	switch {
	case !j.containerNodes():
		return false
	case !j.Containers.open():
		// What was listed a moment before or after it was started shows no ports yet.
		return p.Name == dockerProxy && slices.ContainsFunc(j.Containers.seen(), func(c Container) bool { return j.mine(c.Owner) && len(c.Ports) == 0 })
	}
	return j.Host.OS != "linux" || p.PID == 0 || slices.Contains([]string{dockerProxy, "rootlesskit", "dockerd"}, p.Name)
}

const dockerProxy = "docker-proxy"

// nodeForward: Vagrant forwards the ports of libvirt's machines by an ssh with a key under .vagrant of their clone, which
// some of its releases put in quotes.
func nodeForward(command string) (folder string, ok bool) {
	before, _, ok := strings.Cut(command, "/.vagrant/machines/")
	if !ok {
		return "", false
	}
	at := strings.LastIndexAny(before, " =\x00\"")
	return before[at+1:], true
}

// ownVM: VirtualBox forwards ports itself; its processes carry the machine's name.
func (j *evaluation) ownVM(command string) bool {
	if j.containerNodes() || !strings.Contains(command, "VBoxHeadless") {
		return false
	}
	words := strings.FieldsFunc(command, func(r rune) bool { return r == ' ' || r == 0 })
	return slices.ContainsFunc(j.Topology.Names(), func(node string) bool { return slices.Contains(words, j.Settings.Name+"-"+node) })
}
