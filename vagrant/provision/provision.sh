#!/bin/sh
# provision.sh ROLE [ADDRESS NAME]…: makes a node of ROLE out of a machine with systemd, be it a container or a VM.
# Takes what it installs from /opt/swarmlab, where Vagrant puts it, and tells the node the other nodes' names. Runs as root;
# may run as often as one likes: what is in place already is left alone, and no container of the node is ever touched.
set -eu

given=/opt/swarmlab
etc=/etc/swarmlab
here=$given/provision

fail() {
	echo "provisioning $(hostname) failed: $*" >&2
	exit 1
}

[ $# -ge 1 ] || fail "usage: provision.sh ROLE [ADDRESS NAME]…"
[ "$(id -u)" = 0 ] || fail "it wants root: use sudo"
role=$1
shift

changed=""
# put FROM TO MODE: installs a file if its content or mode differs, and remembers that in $changed.
put() {
	if [ -f "$2" ] && cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$3" ]; then
		return 0
	fi
	# By renaming: a binary in use cannot be written, and nobody ever sees half a file.
	install -D -m "$3" "$1" "$2.new"
	mv -f "$2.new" "$2"
	changed="$changed $2"
}

# Time is the host's in a container; a VM keeps its own.
has_clock() { ! systemd-detect-virt --quiet --container; }

# at_boot UNIT…: they start when the machine does. Those that do are left alone, and the others enabled in one go: each time systemd reads
# all of its units anew, which takes an emulated machine half a minute, and three times as long for a unit with an init script.
at_boot() {
	missing=""
	for unit in "$@"; do
		systemctl --quiet is-enabled "$unit" || missing="$missing $unit"
	done
	# shellcheck disable=SC2086
	[ -z "$missing" ] || systemctl --quiet enable $missing
}

# Virtual machines come without the packages that the image of container nodes has built in.
packages() {
	wanted=$(grep -v '^#' "$here/packages")
	if has_clock; then wanted="$wanted chrony"; fi
	missing=""
	for package in $wanted; do
		[ -e "/var/lib/dpkg/info/$package.list" ] || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q >/dev/null || fail "apt-get update: is Debian's archive in reach of the node?"
	# shellcheck disable=SC2086
	apt-get install -q -y --no-install-recommends $missing >/dev/null || fail "cannot install$missing"
}

# The settings of engine, sshd and journal, and the units.
overlay() {
	list=$(cd "$here/root" && find . -type f)
	for file in $list; do
		file=${file#./}
		mode=644
		if [ -x "$here/root/$file" ]; then mode=755; fi
		put "$here/root/$file" "/$file" $mode
	done
	case $changed in *systemd/system*) systemctl daemon-reload ;; esac
	case $changed in *sshd_config*) systemctl try-reload-or-restart ssh ;; esac
	case $changed in *journald*) systemctl restart systemd-journald ;; esac
	# Restarting the engine would end the node's containers, so it only happens to an engine that had other settings.
	case $changed in */etc/docker/* | */etc/default/docker*) systemctl restart docker ;; esac
}

# Names of the other nodes.
names() {
	mkdir -p $etc
	while [ $# -ge 2 ]; do
		echo "$1 $2"
		shift 2
	done >$etc/hosts.given
	if [ -s $etc/hosts.given ]; then put $etc/hosts.given $etc/hosts 644; fi
	rm -f $etc/hosts.given
	if [ -f $etc/hosts ]; then /usr/local/lib/swarmlab/hosts; fi
}

# The time of day comes before the certificates, which a node whose clock is wrong takes for invalid.
clock() {
	has_clock || return 0
	sh $here/chrony.sh "$role" $given/agent.yaml >$etc/chrony.given || fail "no configuration for chrony"
	# Stopped first: if this is interrupted, no chrony goes on by what was written before.
	cmp -s $etc/chrony.given /etc/chrony/chrony.conf || systemctl stop chrony
	put $etc/chrony.given /etc/chrony/chrony.conf 644
	rm -f $etc/chrony.given
	at_boot chrony
	systemctl start chrony
}

# An emulated processor takes twenty times as long for everything (see agents/common/timescale). What is a container or runs on KVM is not emulated.
timescale() {
	case $(systemd-detect-virt || true) in
	qemu) echo SWARMLAB_TIMESCALE=8 ;;
	*) echo SWARMLAB_TIMESCALE=1 ;;
	esac
}

# Everything the agent has: binaries, configuration, certificates and secrets.
agent() {
	timescale >$etc/timescale.given
	put $etc/timescale.given $etc/timescale 644
	rm -f $etc/timescale.given
	put $given/bin/labagent /usr/local/bin/labagent 755
	if [ -f "$given/bin/role-$role" ]; then
		put "$given/bin/role-$role" "/usr/local/lib/swarmlab/roles/role-$role" 755
	fi
	[ -f $given/agent.yaml ] || fail "$given/agent.yaml is missing; \`lab up\` writes it"
	put $given/agent.yaml $etc/agent.yaml 644
	for name in ca.crt node.crt; do put $given/pki/$name $etc/pki/$name 644; done
	put $given/pki/node.key $etc/pki/node.key 600
	# The folder is closed; the files are not, as they are mounted one by one into containers of any user.
	mkdir -p $etc/secrets
	chmod 0700 $etc/secrets
	for file in "$given"/secrets/*; do
		[ -f "$file" ] || continue
		put "$file" "$etc/secrets/${file##*/}" 444
	done
	for file in "$etc"/secrets/*; do
		[ -e "$given/secrets/${file##*/}" ] || rm -f "$file"
	done
}

packages
overlay
at_boot swarmlab-hosts labagent labagent-reap.path
names "$@"
if [ -f $given/agent.yaml ]; then clock; fi

if [ ! -f $given/bin/labagent ]; then
	echo "node $(hostname) is up without an agent: none is built yet (\`make up\` does all of it)"
	exit 0
fi

hash=$(sh $here/hash.sh $given)
if [ "$hash" != "$(cat $etc/provision-hash 2>/dev/null)" ]; then
	# Once something is half installed the old hash is no longer true.
	rm -f $etc/provision-hash
	agent
	systemctl start labagent-reap.path
	systemctl restart labagent || {
		journalctl --no-pager --lines 20 --unit labagent >&2
		fail "the agent does not start; its last words are above"
	}
	echo "$hash" >$etc/provision-hash.new
	mv -f $etc/provision-hash.new $etc/provision-hash
	echo "node $(hostname): provisioned, $hash"
else
	systemctl start labagent
	echo "node $(hostname): up to date"
fi
