#!/bin/sh
# customize.sh ROOT VAGRANT KERNEL: turns a fresh Debian root with the packages of vagrant/provision/packages and
# vagrant/box/packages into the root of a virtual machine. Runs as a hook of mmdebstrap, ROOT being the new root and VAGRANT
# the clone's folder vagrant. KERNEL is the kernel's package.
set -eu

root=$1
vagrant=$2
kernel=$3
box=$vagrant/box

# The kernel comes last, so that its initial RAM disk is made once and holds what the machine's disk needs, no more: an
# emulated machine takes its time to unpack it.
cat >"$root/etc/initramfs-tools/modules" <<'MODULES'
virtio_pci
virtio_blk
virtio_scsi
sd_mod
ext4
MODULES
mkdir -p "$root/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nBUSYBOX=n\nCOMPRESS=zstd\nRESUME=none\n' >"$root/etc/initramfs-tools/conf.d/swarmlab.conf"
chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$kernel"

# The boot loader. Its core is written behind the boot sector by build.sh; grub-install would want the disk itself, and
# update-grub the mounted file system: later kernels get their entry by it as usual.
chroot "$root" grub-mkimage --format=i386-pc --prefix='(hd0,msdos1)/boot/grub' --output=/boot/grub/core.img \
	biosdisk part_msdos ext2 normal linux configfile search search_label echo serial test
cat >"$root/etc/default/grub" <<'GRUB'
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_DISABLE_OS_PROBER=true
# Names of interfaces as Vagrant expects them; messages to where `virsh console` shows them; large pages for who asks for them only:
# Redis advises against them, and on an emulated store collecting them took half of the processor.
GRUB_CMDLINE_LINUX="transparent_hugepage=madvise net.ifnames=0 console=tty0 console=ttyS0,115200"
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_TERMINAL=console
GRUB
cat >"$root/boot/grub/grub.cfg" <<'GRUB'
# The first boot's; update-grub replaces it.
linux /vmlinuz root=LABEL=swarmlab ro quiet transparent_hugepage=madvise net.ifnames=0 console=tty0 console=ttyS0,115200
initrd /initrd.img
boot
GRUB
echo 'LABEL=swarmlab / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"

# eth0 is Vagrant's own network; the lab's, eth1, is configured by Vagrant.
cat >"$root/etc/systemd/network/10-vagrant.network" <<'NETWORK'
[Match]
Name=eth0

[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no

[DHCPv4]
# The machine is known by its address as long as it lives.
ClientIdentifier=mac
NETWORK
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved
# An emulated machine that shares its processor with others takes its time. systemd gives up an interface for good when the
# kernel is 25 s late to answer, and the console's prompt when its device is 90 s late.
mkdir -p "$root/etc/systemd/system.conf.d"
cat >"$root/etc/systemd/system.conf.d/patience.conf" <<'PATIENCE'
[Manager]
DefaultEnvironment=SYSTEMD_NETLINK_DEFAULT_TIMEOUT=10min
DefaultDeviceTimeoutSec=10min
PATIENCE
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
echo swarmlab >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"

sh "$vagrant/base.sh" "$root" "$vagrant/provision/root"

# Vagrant comes in with the key that everybody has, and puts a fresh one in its place at once.
chroot "$root" install -d -m 0700 -o vagrant -g vagrant /home/vagrant/.ssh
install -m 0600 "$box/authorized_keys" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown vagrant:vagrant /home/vagrant/.ssh/authorized_keys

# What nothing here uses, and every service costs an emulated machine seconds.
for unit in \
	systemd-networkd-wait-online.service systemd-network-generator.service getty@tty1.service grub-common.service \
	modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
	sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount \
	systemd-pstore.service systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-hibernate-clear.service \
	man-db.timer logrotate.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
