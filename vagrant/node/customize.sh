#!/bin/sh
# customize.sh ROOT OVERLAY ENTRYPOINT: turns a fresh Debian root with the packages of vagrant/provision/packages into the
# root of a container node. Runs as the last hook of mmdebstrap (ROOT is the new root) and as a step of the Dockerfile
# (ROOT is /). base.sh, beside it or one folder up, does what virtual machines need as well.
set -eu

root=${1%/}
overlay=$2
entrypoint=$3
here=$(dirname "$0")
base=$here/base.sh
[ -f "$base" ] || base=$here/../base.sh

sh "$base" "$root/" "$overlay"
install -m 0755 "$entrypoint" "$root/sbin/swarmlab-init"

# A container has no modules, consoles, network configuration or disks of its own to look after.
# Masked units are also what makes `systemctl is-system-running` say "running" instead of "degraded".
for unit in \
	systemd-modules-load.service systemd-networkd-wait-online.service systemd-networkd.service \
	getty.target console-getty.service systemd-logind.service systemd-remount-fs.service \
	systemd-sysctl.service systemd-machine-id-commit.service \
	networking.service sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
