#!/bin/sh
# customize.sh ROOT FILES: makes a host for the lab of a fresh Debian root, with a user, who finds the clone and the node image at home. A hook of
# mmdebstrap; see host-test.sh.
set -eu

root=$1
files=$2

echo labhost >"$root/etc/hostname"
printf '127.0.0.1 localhost labhost\n' >"$root/etc/hosts"
# The network ends at this machine's ssh.
printf '[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/80-dhcp.network"
chroot "$root" systemctl --quiet enable systemd-networkd
for unit in systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# As `lab doctor` advises.
printf 'fs.inotify.max_user_instances = 1024\n' >"$root/etc/sysctl.d/60-inotify.conf"

chroot "$root" useradd --create-home --shell /bin/bash --groups docker learner
home=$root/home/learner
mkdir "$home/.ssh"
cp "$files/authorized_keys" "$home/.ssh/authorized_keys"
cp -R "$files/clone" "$home/swarmlab"
cp "$files/node.tar" "$home/node.tar"
chroot "$root" chown -R learner:learner /home/learner
chmod 0700 "$home/.ssh"
