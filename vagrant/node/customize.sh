#!/bin/sh
# customize.sh ROOT OVERLAY ENTRYPOINT: turns a fresh Debian root with the packages of vagrant/provision/packages into a node.
# Runs as the last hook of mmdebstrap (ROOT is the new root) and as a step of the Dockerfile (ROOT is /).
# What a node is beyond its packages stands in OVERLAY (vagrant/provision/root), which provision.sh also lays over VMs.
set -eu

root=${1%/}
overlay=$2
entrypoint=$3

in_root() {
	if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi
}

install -m 0755 "$entrypoint" "$root/sbin/swarmlab-init"
cp -R "$overlay/." "$root/"
# A clone's umask must not decide who can read what.
(cd "$overlay" && find . -type d) | while read -r d; do chmod 0755 "$root/$d"; done
(cd "$overlay" && find . -type f) | while read -r f; do
	if [ -x "$overlay/$f" ]; then chmod 0755 "$root/$f"; else chmod 0644 "$root/$f"; fi
done

# A container has no modules, consoles, network configuration or disks of its own to look after, and nobody upgrades it in place.
# Masked units are also what makes `systemctl is-system-running` say "running" instead of "degraded".
for unit in \
	systemd-modules-load.service systemd-networkd-wait-online.service systemd-networkd.service \
	getty.target console-getty.service systemd-logind.service systemd-remount-fs.service \
	systemd-sysctl.service systemd-firstboot.service systemd-machine-id-commit.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer networking.service nftables.service sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

# `vagrant ssh`: user vagrant, everything through sudo. No key is built in: container nodes get the lab's own by a mount.
if ! grep -q '^vagrant:' "$root/etc/passwd"; then
	in_root useradd --create-home --shell /bin/bash --groups sudo,docker vagrant
fi
mkdir -p "$root/etc/sudoers.d"
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 0440 "$root/etc/sudoers.d/vagrant"
# useradd leaves the password locked ("!"), and sshd without PAM refuses locked accounts; "*" is no password, yet not locked.
in_root usermod --password '*' vagrant

# Nothing that must differ between nodes may come from the image.
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
rm -rf "$root"/var/lib/docker "$root"/var/lib/containerd "$root"/var/log/journal
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/usr/share/doc/* "$root"/usr/share/man/*
