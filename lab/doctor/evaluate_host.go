package doctor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

// What container nodes need, all of them with everything running: the figure that the lab is tested against, and what
// each further node adds.
const (
	sixNodesMiB  = 1536
	moreNodesMiB = 200
	// QEMU with KVM, besides the machine's own memory.
	perMachineMiB = 64
	// An emulating QEMU keeps what it has translated: up to an eighth of the host's memory, and at most this much. Six
	// machines of 3.1 GiB in all were seen to have 10.2 GiB.
	translatedMiB = 1024
)

func (j *evaluation) memory() {
	const check = "memory"
	m, known := j.Memory.Get()
	if !known {
		j.unknown(check, "how much memory there is for the nodes", j.Memory.Err())
		return
	}
	nodes := len(j.Topology.Nodes)
	// Without need the lab does not come up at all; more is what it will take in time.
	var need, more uint64
	emulated := ""
	if j.containerNodes() {
		need = (sixNodesMiB + moreNodesMiB*uint64(max(0, nodes-6))) * mib
	} else {
		for _, n := range j.Topology.Nodes {
			need += uint64(n.MemoryMiB) * mib
		}
		more = uint64(nodes) * perMachineMiB * mib
		if j.emulated() {
			emulated = ", emulated"
			more += uint64(nodes) * min(translatedMiB*mib, m.Total/8)
		}
	}
	fix := "fewer nodes: LAB_FRONTENDS=1 LAB_WORKERS=1 make up"
	if !j.containerNodes() {
		fix = "LAB_FRONTENDS=1 LAB_WORKERS=1 make up   # or less memory in vagrant/topology.yaml; or containers: PROVIDER=docker make up"
	} else if here, known := j.engineHere(); known && !here && j.Engine.known() {
		fix = "give it more: Docker Desktop, Settings, Resources; or: colima stop && colima start --memory 4"
	}
	if m.Total < need {
		j.block(check, fix, "%s has %s of memory, %d nodes need %s", m.Where, gib(m.Total), nodes, gib(need))
		return
	}
	// What runs already has its memory.
	need += more
	missing := need
	running, counted := j.running()
	if nodes > 0 {
		missing = need / uint64(nodes) * uint64(max(0, nodes-running))
	}
	if m.Available > 0 && m.Available+m.SwapFree < missing && !counted {
		j.unknown(check, fmt.Sprintf("whether %s, of which %s is left, has enough memory for the nodes that do not run yet", m.Where, gib(m.Available+m.SwapFree)),
			j.notCounted())
		return
	}
	if m.Available > 0 && m.Available+m.SwapFree < missing {
		j.warn(check, j.closeSomething(fix), "%s has %s of memory left, the nodes to be started need %s%s",
			m.Where, gib(m.Available+m.SwapFree), gib(missing), emulated)
		return
	}
	left := ""
	if m.Available > 0 {
		left = fmt.Sprintf(", %s of it free", gib(m.Available))
	}
	j.ok(check, "%s has %s%s; %d nodes need %s%s", m.Where, gib(m.Total), left, nodes, gib(need), emulated)
}

func (j *evaluation) closeSomething(fix string) string {
	if j.containerNodes() {
		return "close something; or " + fix
	}
	return fix
}

// notCounted is why it is not known how many nodes run.
func (j *evaluation) notCounted() error {
	if j.containerNodes() {
		return why(j.Containers.Err())
	}
	return why(j.Machines.Err(), j.Records.Err())
}

// diskNeed is what the lab will still put at a place, in MiB: at least and at most, where it is not known what is there
// already. Cold, it is about 6 GiB in all.
func (j *evaluation) diskNeed(p Purpose) (least, most uint64) {
	name, named := j.NodeImage.Get()
	images, listed := j.Images.Get()
	image := named && listed && slices.Contains(images, name)
	bundled, packed := j.Bundle.Get()
	bundle := packed && len(bundled) == len(stockImages())
	running, counted := j.running()
	nodes := uint64(max(0, len(j.Topology.Nodes)-running))
	most = j.diskNeedOf(p, image, bundle, nodes)
	least = most
	if j.Images.open() || j.NodeImage.open() || j.Bundle.open() || !counted {
		if !counted {
			nodes = 0
		}
		least = j.diskNeedOf(p, image || j.Images.open() || j.NodeImage.open(), bundle || j.Bundle.open(), nodes)
	}
	return least, most
}

// diskNeedOf: what is needed depends on whether the node image and the bundle are there, and on how many nodes are not.
func (j *evaluation) diskNeedOf(p Purpose, image, bundle bool, nodes uint64) uint64 {
	switch p {
	case ForEngine:
		switch {
		case !j.containerNodes():
			return 0
		case !image:
			return 1300 + 200*nodes // the node image with its layers in the making, stock images, and each node's own
		}
		return 200*nodes + 300
	case ForClone:
		if bundle {
			return 300
		}
		return 2000 // binaries, the bundle, and Go's cache, which is most often on the same disk
	case ForTemp:
		if image && bundle {
			return 100
		}
		return 1500 // file systems in the making
	case ForVMs:
		return 2000 + 1000*nodes // the box, and each machine's difference to it
	}
	return 0
}

func (j *evaluation) disks() {
	const check = "disk"
	disks, known := j.Disks.Get()
	if !known {
		j.unknown(check, "how much disk space is free", j.Disks.Err())
		return
	}
	type place struct {
		Disk
		least, most uint64
		uses        []string
	}
	var order []uint64
	places := map[uint64]*place{}
	for _, d := range disks {
		least, most := j.diskNeed(d.Purpose)
		if most == 0 {
			continue
		}
		at, known := places[d.Device]
		if !known {
			at = &place{Disk: d}
			places[d.Device] = at
			order = append(order, d.Device)
		}
		at.least += least * mib
		at.most += most * mib
		at.Free = min(at.Free, d.Free)
		at.uses = append(at.uses, fmt.Sprintf("%s (%s)", d.Path, d.Purpose))
	}
	for _, device := range order {
		at := places[device]
		switch {
		case at.Free < at.least:
			fix := "make room there; images that nobody uses: docker image prune"
			if !j.containerNodes() {
				fix = "make room there; boxes that are old: vagrant box prune"
			}
			if len(at.uses) == 1 && at.Purpose == ForTemp {
				fix = "mkdir -p ~/.cache/tmp && export TMPDIR=~/.cache/tmp"
			}
			j.block(check, fix, "%s free for %s: the lab will need %s more there", gib(at.Free), console.List(at.uses), gib(at.least))
		case at.Free < at.most:
			j.unknown(check, fmt.Sprintf("whether %s free for %s is enough, which may have to take %s", gib(at.Free), console.List(at.uses), gib(at.most)),
				why(j.Images.Err(), j.NodeImage.Err(), j.Bundle.Err(), j.notCounted()))
		default:
			j.ok(check, "%s free for %s; the lab will need at most %s more", gib(at.Free), console.List(at.uses), gib(at.most))
		}
	}
	for _, d := range disks {
		if d.Purpose == ForEngine && j.containerNodes() && (d.FileSystem == "overlay" || d.FileSystem == "nfs" || d.FileSystem == "ecryptfs") {
			j.block(check, "let the engine keep its data on a local disk (\"data-root\" in /etc/docker/daemon.json)",
				"%s, the engine's data, is on %s: the nodes' own engines cannot keep images there", d.Path, d.FileSystem)
		}
	}
}

// inotify instances that a container node takes: counted on a running one as five of systemd's and one of containerd's
// (and one of D-Bus's, which is another user's); on cgroup v2 containerd takes one more for each container.
const (
	inotifyLeast = 6
	inotifyWell  = 10
	// rootsOwn is what a host's own services take of root's, as far as it cannot be counted.
	rootsOwn = 32
	// watchesPerNode: 22 of systemd's and a few.
	watchesPerNode = 40
)

const inotifyFix = `printf 'fs.inotify.max_user_instances=1024\nfs.inotify.max_user_watches=524288\n' | ` +
	`%s >/dev/null && %s -q --system`

const checkInotify = "inotify"

func (j *evaluation) inotify() {
	const check = checkInotify
	here, located := j.engineHere()
	in, looked := j.Inotify.Get()
	switch {
	case !j.containerNodes():
		j.skip(check, "each virtual machine has its own limits")
		return
	case j.Engine.known() && !here:
		j.skip(check, "the engine runs in a virtual machine, whose limits cannot be seen from here")
		return
	case !looked:
		j.unknown(check, "what the kernel's inotify limits are", j.Inotify.Err())
		return
	}
	running, counted := j.running()
	missing := max(0, len(j.Topology.Nodes)-running)
	used, known := in.Used.Get()
	if !known {
		used = rootsOwn + inotifyLeast*running
	}
	free := in.MaxInstances - used
	fix := fmt.Sprintf(inotifyFix, j.sudo("tee /etc/sysctl.d/60-swarmlab.conf"), j.sudo("sysctl"))
	says := fmt.Sprintf("%d of root's %d inotify instances are in use", used, in.MaxInstances)
	if !known {
		says = fmt.Sprintf("root may have %d inotify instances and uses about %d", in.MaxInstances, used)
	}
	switch {
	case free < inotifyWell*missing && (!counted || !located):
		j.unknown(check, fmt.Sprintf("whether root's %d inotify instances, of which %d are left, are enough for the nodes that do not run yet", in.MaxInstances, max(0, free)),
			why(j.Engine.Err(), j.Containers.Err()))
	case free < inotifyLeast*missing:
		// Only what was counted is certain enough to forbid.
		j.blockIf(known, check, fix, "%s; %d nodes to be started need %d: their systemd would not boot", says, missing, inotifyLeast*missing)
	case free < inotifyWell*missing:
		j.warn(check, fix, "%s; %d nodes to be started need up to %d: it will be tight", says, missing, inotifyWell*missing)
	case in.MaxWatches < watchesPerNode*len(j.Topology.Nodes):
		j.warn(check, fix, "root may watch %d files by inotify, %d nodes need about %d", in.MaxWatches, len(j.Topology.Nodes), watchesPerNode*len(j.Topology.Nodes))
	default:
		j.ok(check, "%s; %d nodes to be started need up to %d", says, missing, inotifyWell*missing)
	}
}

func (j *evaluation) kernel() {
	const check = "kernel"
	here, located := j.engineHere()
	features, known := j.Kernel.Get()
	switch {
	case !j.containerNodes():
		j.skip(check, "each virtual machine has its own kernel")
		return
	case j.Engine.known() && !here:
		j.skip(check, "the engine runs in a virtual machine, whose kernel cannot be seen from here")
		return
	case !known:
		j.unknown(check, "what the kernel can do", j.Kernel.Err())
		return
	}
	by := map[FeatureState][]string{}
	for _, feature := range slices.Sorted(maps.Keys(features)) {
		state := features[feature]
		by[state] = append(by[state], string(feature))
	}
	if lacks := slices.Concat(by[FeatureLost], by[FeatureAbsent]); len(lacks) > 0 && !located {
		j.unknown(check, fmt.Sprintf("whether the nodes will have this host's kernel, which lacks %s", console.List(lacks)), j.Engine.Err())
		return
	}
	if lost := by[FeatureLost]; len(lost) > 0 {
		j.block(check, j.sudo("reboot"), "the kernel %s cannot load %s: its modules are gone from /lib/modules, as after an upgrade without a reboot",
			j.Host.Release, console.List(lost))
	}
	if absent := by[FeatureAbsent]; len(absent) > 0 {
		fix := "boot a kernel that has it"
		if j.Host.Debian {
			fix = "on Ubuntu: " + j.sudo("apt-get install -y linux-modules-extra-$(uname -r)") + "; else boot the distribution's own kernel"
		}
		j.block(check, fix, "the kernel %s lacks %s, which nodes need", j.Host.Release, console.List(absent))
	}
	if len(by[FeatureLost])+len(by[FeatureAbsent]) > 0 {
		return
	}
	switch unknown := by[FeatureUnknown]; {
	case len(unknown) == len(features):
		j.skip(check, "the kernel %s does not tell what it can do", j.Host.Release)
	case len(unknown) > 0:
		j.ok(check, "%s; not known: %s", strings.Join(slices.Concat(by[FeatureThere], by[FeatureLoadable]), ", "), strings.Join(unknown, ", "))
	default:
		j.ok(check, "%s", strings.Join(slices.Sorted(slices.Values(slices.Concat(by[FeatureThere], by[FeatureLoadable]))), ", "))
	}
}

// state: what lies under .lab opens the nodes.
func (j *evaluation) state() {
	const check = "state"
	files, known := j.State.Get()
	switch err := j.State.Err(); {
	case errors.Is(err, ErrNotLooked):
		j.skip(check, "file modes mean nothing here")
		return
	case errors.Is(err, ErrNoAnswer):
		j.unknown(check, "whether the clone's .lab is yours alone", err)
		return
	case !known:
		j.fail(check, "sudo chown -R \"$(id -u):$(id -g)\" "+quote(j.Root+"/.lab"), "the clone's .lab cannot be read: %s", reason(err))
		return
	}
	var open, foreign []string
	for _, s := range files {
		if s.Mode.Perm()&0o077 != 0 {
			open = append(open, s.Path)
		}
		if j.Host.UID > 0 && s.UID != j.Host.UID {
			foreign = append(foreign, s.Path)
		}
	}
	if len(foreign) > 0 {
		j.block(check, "sudo chown -R \"$(id -u):$(id -g)\" "+quote(j.Root+"/.lab"),
			"%s belongs to another user (was the lab brought up by sudo?)", console.List(some(foreign)))
	}
	if len(open) > 0 {
		words := make([]string, len(open))
		for i, path := range open {
			words[i] = quote(j.Root + "/" + path)
		}
		j.fail(check, "chmod go-rwx "+strings.Join(words, " "), "other users can get at %s, which opens the lab's nodes", console.List(some(open)))
	}
	switch {
	case len(files) == 0:
		j.ok(check, ".lab is not made yet")
	case len(open)+len(foreign) == 0:
		j.ok(check, ".lab, its keys and secrets are yours alone")
	}
}

// some shortens a long list.
func some(words []string) []string {
	const most = 3
	if len(words) <= most {
		return words
	}
	return append(slices.Clone(words[:most]), fmt.Sprintf("%d more", len(words)-most))
}
