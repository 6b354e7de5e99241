# Shared by the rootfs.sh of each image, which turn packages that were unpacked, but not configured, into the root of an
# image: mmdebstrap runs them with the root as $1. Nothing in there is executed, so that any architecture can be made.
# shellcheck shell=sh

# base ROOT USER UID GID HOME: one user besides root, a shell, and what programs expect of a root.
base() {
	root=$1
	printf 'root:x:0:0:root:/root:/bin/sh\n%s:x:%s:%s::%s:/bin/sh\n' "$2" "$3" "$4" "$5" >"$root/etc/passwd"
	printf 'root:x:0:\n%s:x:%s:\n' "$2" "$4" >"$root/etc/group"
	printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
	# busybox gives learners a shell and the usual tools; what a package brought along itself stays.
	for applet in sh ash cat chmod chown cp cut date df du echo env expr false find free grep head hostname id ip kill less ln \
		ls mkdir more mount mv nc netstat nslookup ping printf ps pwd rm rmdir sed sleep sort stat sync tail tar tee test \
		top touch tr true truncate umount uname uniq uptime vi wc wget which whoami xargs; do
		if [ ! -e "$root/usr/bin/$applet" ] && [ ! -L "$root/usr/bin/$applet" ]; then
			ln -s busybox "$root/usr/bin/$applet"
		fi
	done
	mkdir -p "$root/run" "$root/tmp" "$root/root" "$root/var/tmp"
	chmod 1777 "$root/tmp" "$root/var/tmp"
	rm -rf "$root/var/run" "$root/var/lock"
	ln -s /run "$root/var/run"
	ln -s /run/lock "$root/var/lock"
	# Programs look libraries up in the architecture's folder by themselves; ldconfig's cache is not needed.
	rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/info "$root"/usr/share/locale \
		"$root"/usr/share/lintian "$root"/usr/share/bash-completion "$root"/usr/share/bug "$root"/usr/share/i18n \
		"$root"/usr/lib/systemd "$root"/usr/lib/tmpfiles.d "$root"/usr/lib/sysusers.d "$root"/etc/init.d "$root"/etc/default \
		"$root"/etc/systemd "$root"/etc/cron* "$root"/etc/logrotate.d "$root"/var/cache/* "$root"/var/lib/apt \
		"$root"/var/lib/dpkg "$root"/var/log/* "${root:?}"/boot "${root:?}"/srv "${root:?}"/media "${root:?}"/mnt
}

# owned ROOT UID GID MODE FOLDER…: folders that the image's user may write. A fresh volume takes owner and mode over.
owned() {
	root=$1
	uid=$2
	gid=$3
	mode=$4
	shift 4
	for folder in "$@"; do
		mkdir -p "$root$folder"
		chown "$uid:$gid" "$root$folder"
		chmod "$mode" "$root$folder"
	done
}
