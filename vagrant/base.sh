#!/bin/sh
# base.sh ROOT OVERLAY: what a fresh Debian root with the packages of vagrant/provision/packages needs to be the root of a
# node, be it a container (vagrant/node) or a virtual machine (vagrant/box). ROOT is the new root; / means this machine.
# OVERLAY is vagrant/provision/root, which provision.sh also lays over machines that were made otherwise.
set -eu

root=${1%/}
overlay=$2

in_root() {
	if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi
}

cp -R "$overlay/." "$root/"
# A clone's umask must not decide who can read what.
(cd "$overlay" && find . -type d) | while read -r d; do chmod 0755 "$root/$d"; done
(cd "$overlay" && find . -type f) | while read -r f; do
	if [ -x "$overlay/$f" ]; then chmod 0755 "$root/$f"; else chmod 0644 "$root/$f"; fi
done

# Nobody upgrades a node in place, and its disk lives for a workshop.
for unit in \
	systemd-firstboot.service nftables.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

# `vagrant ssh`: user vagrant, everything through sudo.
if ! grep -q '^vagrant:' "$root/etc/passwd"; then
	in_root useradd --create-home --shell /bin/bash --groups sudo,docker vagrant
fi
mkdir -p "$root/etc/sudoers.d"
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 0440 "$root/etc/sudoers.d/vagrant"
# useradd leaves the password locked ("!"), and sshd without PAM refuses locked accounts; "*" is no password, yet not locked.
in_root usermod --password '*' vagrant

# Nothing that must differ between nodes may come from an image: each makes its own at its first start.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id "$root"/var/lib/systemd/random-seed "$root"/etc/docker/key.json
: >"$root/etc/machine-id"
rm -rf "$root"/var/lib/docker "$root"/var/lib/containerd "$root"/var/log/journal
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/usr/share/doc/* "$root"/usr/share/man/*
