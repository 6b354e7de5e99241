#!/bin/bash -p
# build.sh: makes .lab/box/swarmlab-libvirt-ARCH.box, a Vagrant box for the libvirt provider, from Debian packages alone, and
# beside it a file .sha256 with its hash. A box whose inputs did not change is left as it is. Takes root, for mmdebstrap.
# Only for amd64: elsewhere take a box that somebody publishes (LAB_BOX).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vagrant=$(dirname "$here")
# shellcheck source=vagrant/root.sh
. "$vagrant/root.sh"
suite=trixie
kernel=linux-image-cloud-amd64
# Sparse: a fresh machine takes up what its files do.
disk_mib=16384
# Where the only partition begins, in sectors of 512 bytes; the boot loader's core lies before it.
first_sector=2048

fail() {
	echo "box: $*" >&2
	exit 1
}

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] ||
	fail "boxes are built on Linux on amd64 only; set LAB_BOX to a published one, for instance LAB_BOX=bento/debian-13"

box=$(dirname "$vagrant")/.lab/box/swarmlab-libvirt-amd64.box

input_hash() {
	(
		cd "$vagrant"
		find base.sh box provision/packages provision/root -type f -perm -100 | LC_ALL=C sort
		find base.sh box provision/packages provision/root -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
	) | sha256sum | cut -c1-16
}

inputs=$(input_hash)
if [ -f "$box" ] && [ -f "$box.sha256" ] && [ "$(cat "$box.inputs" 2>/dev/null)" = "$inputs" ]; then
	echo "box: up to date (${box#"$PWD/"})"
	exit 0
fi

for tool in mmdebstrap sfdisk mke2fs qemu-img; do
	PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || fail "$tool is missing: make prerequisites PROVIDER=libvirt"
done
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "building takes root, and there is no sudo: run $0 as root"

(umask 077 && mkdir -p "${box%/*/*}")
mkdir -p "${box%/*}"
work=$(mktemp -d "${box%/*}/build.XXXXXX")
chmod 0755 "$work"
# The new root's files are root's.
trap 'as_root rm -rf "$work"' EXIT
step() { # step TEXT COMMAND…
	local begun=$SECONDS text=$1
	shift
	printf 'box: %s …\n' "$text"
	"$@" >"$work/log" 2>&1 || {
		tail -n 20 "$work/log" >&2
		fail "$text failed; the end of its output is above"
	}
	printf 'box: %s: %d s\n' "$text" $((SECONDS - begun))
}

export PATH=$PATH:/usr/sbin:/sbin
packages=$(cat "$vagrant/provision/packages" "$here/packages" | grep -v '^#' | paste -sd, -)
# The hook is a line of sh: folders come to it as variables, since their names may hold any character.
# shellcheck disable=SC2016
step "Debian $suite" as_root env folder="$here" vagrant="$vagrant" kernel=$kernel mmdebstrap --variant=minbase --include="$packages" \
	--aptopt='Apt::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--customize-hook='sh "$folder/customize.sh" "$1" "$vagrant" "$kernel"' \
	"$suite" "$work/root"

# disk puts together boot sector, boot loader and file system, without mounting anything.
disk() {
	local core=$work/root/boot/grub/core.img
	[ "$(stat -c %s "$core")" -lt $(((first_sector - 1) * 512)) ] || return 1
	truncate -s "${disk_mib}M" "$work/disk.raw"
	echo "label: dos
start=$first_sector, type=83, bootable" | sfdisk -q "$work/disk.raw"
	dd if="$work/root/usr/lib/grub/i386-pc/boot.img" of="$work/disk.raw" bs=440 count=1 conv=notrunc
	dd if="$core" of="$work/disk.raw" bs=512 seek=1 conv=notrunc
	mke2fs -q -F -t ext4 -L swarmlab -i 65536 \
		-E offset=$((first_sector * 512)),lazy_itable_init=1,assume_storage_prezeroed=1 \
		-d "$work/root" "$work/disk.raw" $((disk_mib - first_sector / 2048))M
}

pack() {
	qemu-img convert -O qcow2 -c -o compression_type=zstd "$work/disk.raw" "$work/box.img"
	echo "{\"provider\": \"libvirt\", \"format\": \"qcow2\", \"virtual_size\": $((disk_mib / 1024))}" >"$work/metadata.json"
	echo "Vagrant.configure('2') { |config| config.vm.guest = :debian }" >"$work/Vagrantfile"
	tar -C "$work" -cf "$work/box.tar" metadata.json Vagrantfile box.img
	sha256sum <"$work/box.tar" | cut -d ' ' -f 1 >"$work/sha256"
}

export -f disk
step "disk" as_root env work="$work" first_sector=$first_sector disk_mib=$disk_mib bash -euc disk
step "box" pack

# What says that the box is whole comes last.
rm -f "$box.inputs"
mv "$work/box.tar" "$box"
mv "$work/sha256" "$box.sha256"
echo "$inputs" >"$box.inputs"
echo "box: built, $(du -h "$box" | cut -f 1) ($box)"
