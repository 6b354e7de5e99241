#!/bin/bash -p
# host-test.sh: the lab of container nodes on another kind of host than this one: Debian 13 with systemd, cgroup v2 and its own Docker engine, used
# by somebody who is not root. The host is a virtual machine without a network, emulated where there is no KVM; clone, binaries, bundle and node
# image are put on its disk. A machine's first minutes there: vagrant up, votes, four drills, vagrant destroy. Takes the better
# part of an hour where it is emulated, and 6 GiB of memory. Needs Linux on amd64, and an engine here, which makes the node image.
set -euo pipefail
cd "$(dirname "$0")/.."
# The tools for disks and machines live there.
export PATH=$PATH:/usr/sbin:/sbin
make=${MAKE:-make}

fail() {
	printf 'host-test: %s\n' "$*" >&2
	exit 1
}

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || fail "it needs Linux on amd64"

work=.lab/host-test
disk_mib=16384

# shellcheck source=.ci/files.sh
source .ci/files.sh
# shellcheck source=.ci/kvm.sh
source .ci/kvm.sh
# shellcheck source=vagrant/root.sh
source vagrant/root.sh

prerequisites() {
	.ci/newer-qemu.sh
	PROVIDER=docker vagrant/prerequisites.sh
	local missing=()
	command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
	command -v mke2fs >/dev/null || missing+=(e2fsprogs)
	command -v ssh >/dev/null || missing+=(openssh-client)
	[ ${#missing[@]} = 0 ] || as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# What the machine is given: clone, what was built in it, node image, and the key with which this script comes in.
gather_files() {
	as_root rm -rf "$work/files"
	mkdir -p "$work/files/clone"
	{
		files_there .
		printf '%s\0' bin/lab .lab/bin .lab/app .lab/bundle
	} | tar --null -T - -cf - | tar -xf - -C "$work/files/clone"
	chmod 0700 "$work/files/clone/.lab"
	vagrant/node/build.sh
	docker save "$(vagrant/node/build.sh --tag)" >"$work/files/node.tar"
	rm -f "$work/key" "$work/key.pub"
	ssh-keygen -q -t ed25519 -N '' -C host-test -f "$work/key"
	cp "$work/key.pub" "$work/files/authorized_keys"
}

# No mount and no loop device, so that it also works in a container.
make_disk() {
	as_root rm -rf "$work/root" "$work/disk.img"
	# The hook is a line of sh: folders come to it as variables, since their names may hold any character.
	# shellcheck disable=SC2016
	as_root env here="$PWD/.ci/host-test" files="$PWD/$work/files" mmdebstrap --variant=minbase \
		--include="$(grep -v '^#' .ci/host-test/packages | paste -sd, -)" \
		--aptopt='Apt::Install-Recommends "false"' \
		--customize-hook='sh "$here/customize.sh" "$1" "$files"' \
		trixie "$work/root"
	as_root cp "$work/root/vmlinuz" "$work/root/initrd.img" "$work/"
	as_root chmod 0644 "$work/vmlinuz" "$work/initrd.img"
	as_root mke2fs -q -F -t ext4 -E lazy_itable_init=1 -d "$work/root" "$work/disk.img" "${disk_mib}M"
	as_root chown "$(id -u)" "$work/disk.img"
	as_root rm -rf "$work/root"
}

# free_port prints a port of 127.0.0.1 on which nobody listens.
free_port() {
	local port
	for port in $(seq 22822 22921); do
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return 0
		fi
	done
	return 1
}

# there COMMANDS: for the user of the machine, in the clone.
there() {
	ssh -q -i "$work/key" -p "$HOST_TEST_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=60 \
		-o ServerAliveInterval=30 -o ServerAliveCountMax=20 learner@127.0.0.1 "set -eu; cd swarmlab; PATH=\$PATH:\$PWD/bin; $1"
}

boot() {
	local deadline=$((SECONDS + 1800))
	until there true 2>/dev/null; do
		kill -0 "$HOST_TEST_MACHINE" 2>/dev/null || fail "the machine ended; the end of its console: $(tail -n 5 "$work/console")"
		[ $SECONDS -lt $deadline ] || fail "no ssh within half an hour; the end of the machine's console: $(tail -n 5 "$work/console")"
		sleep 1
	done
}

# Were it like this host, nothing would be learned.
kind_of_host() {
	# shellcheck disable=SC2016
	there '
		test "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs
		test -d /run/systemd/system
		test "$(id -u)" != 0
		uname -r
		docker version --format "engine {{.Server.Version}}"'
}

# The phases are calls of this script: a shell does not end a function at its first failure where it looks at how the function ends.
case ${1:-} in
"") ;;
prerequisites | gather_files | make_disk | boot | kind_of_host | there)
	"$@"
	exit
	;;
*) fail "usage: host-test.sh" ;;
esac

export PHASES_DIR=$PWD/$work/phases
# shellcheck source=.ci/phases.sh
source .ci/phases.sh
start_phases
machine=

finish() {
	local status=$?
	trap - EXIT
	if [ -n "$machine" ]; then
		kill "$machine" 2>/dev/null || true
		wait "$machine" || true
	fi
	as_root rm -rf "$work/root" "$work/disk.img" "$work/files"
	print_phases || status=1
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() {
	local name=$1
	shift
	phase "$name" .ci/host-test.sh "$@"
}

step prerequisites prerequisites
phase build "$make" build bundle
step files gather_files
step disk make_disk

accelerator=(-accel "tcg,thread=multi" -cpu max)
if kvm_is_usable; then accelerator=(-accel kvm -cpu host); fi
HOST_TEST_PORT=$(free_port) || fail "no port is free for the machine's ssh"
qemu-system-x86_64 "${accelerator[@]}" -smp 2 -m 6144 -display none -no-reboot \
	-kernel "$work/vmlinuz" -initrd "$work/initrd.img" -append 'root=/dev/vda rw console=ttyS0 quiet' \
	-drive "file=$work/disk.img,format=raw,if=virtio,cache=unsafe" \
	-netdev "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:$HOST_TEST_PORT-:22" -device virtio-net-pci,netdev=net0 \
	-serial "file:$work/console" </dev/null &
machine=$!
export HOST_TEST_PORT HOST_TEST_MACHINE=$machine

step boot boot
step host kind_of_host
step node-image there 'docker load --quiet --input ~/node.tar; rm ~/node.tar'
step vagrant-up there 'vagrant up'
step status there 'lab status'
step votes there 'lab load --votes 200 --change 0.2; lab verify'
for drill in redis-freeze network-delay partition-frontend frontend-power-off; do
	step $drill there "lab drill run $drill --untimed --load 20 --yes" || true
done
step up-again there 'vagrant up'
# shellcheck disable=SC2016
step destroy there 'vagrant destroy --force; test -z "$(docker ps --all --quiet)$(docker volume ls --quiet)"'
