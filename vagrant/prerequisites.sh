#!/bin/bash -p
# prerequisites.sh [test]: what `make up` needs (test: and what `make test` needs besides) is on this host afterwards.
# Debian and Ubuntu: installs what is missing, as root or through sudo, and starts the Docker engine. Elsewhere it says what
# to install. Takes a moment when nothing is missing, and then touches nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
provider=${PROVIDER:-docker}
# The Go release that is fetched when the host's is older than go.mod wants.
go_release=1.26.8

fail() {
	printf 'prerequisites: %s\n' "$*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# shellcheck source=vagrant/root.sh
. "$root/vagrant/root.sh"

# may_become_root WHAT FOR
may_become_root() {
	[ "$(id -u)" = 0 ] || have sudo || fail "$* takes root, and there is no sudo: run $0 as root"
}

# wanted prints what is needed, a line for each: the command that shows it is there, the Debian package, the Homebrew one.
wanted() {
	echo "vagrant vagrant hashicorp/tap/hashicorp-vagrant"
	echo "ssh-keygen openssh-client openssh"
	case $provider in
	docker)
		echo "docker docker-cli docker"
		# On a Mac and elsewhere the engine comes as one thing with the client.
		if [ "$(uname -s)" = Linux ]; then echo "dockerd docker.io -"; fi
		;;
	libvirt)
		echo "virsh libvirt-clients -"
		echo "libvirtd libvirt-daemon-system -"
		echo "dnsmasq dnsmasq-base -"
		echo "qemu-img qemu-utils -"
		echo "sfdisk fdisk -"
		echo "mke2fs e2fsprogs -"
		echo "rsync rsync -"
		;;
	virtualbox) echo "VBoxManage virtualbox virtualbox" ;;
	esac
	# Makes the images where there is no registry; a Mac cannot.
	if [ "$(uname -s)" = Linux ]; then echo "mmdebstrap mmdebstrap -"; fi
	if [ "${1:-}" = test ]; then
		echo "git git git"
		# The race detector wants a C compiler.
		echo "gcc gcc gcc"
		echo "shellcheck shellcheck shellcheck"
		echo "rubocop rubocop rubocop"
		echo "tmux tmux tmux"
		if ! have chromium-browser && ! have google-chrome && ! [ -d "/Applications/Google Chrome.app" ]; then
			echo "chromium chromium chromium"
		fi
	fi
}

# missing COLUMN: the names in that column of what is not there.
missing() {
	wanted "$mode" | while read -r command debian brew; do
		# Daemons live in /usr/sbin, which is not on everybody's path.
		if have "$command" || [ -x "/usr/sbin/$command" ] || [ -x "/sbin/$command" ]; then continue; fi
		case $1 in
		command) echo "$command" ;;
		debian) echo "$debian" ;;
		brew) [ "$brew" = - ] || echo "$brew" ;;
		esac
	done
}

# newer A B: version A is B or later.
newer() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# go_is_new: the go on the path, or the one that was fetched, is as new as go.mod wants.
go_is_new() {
	local want have_version
	want=$(awk '$1 == "go" {print $2; exit}' "$root/go.mod")
	have_version=$(PATH="$root/.lab/go/bin:$PATH" GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
	newer "${have_version#go}" "$want"
}

log=$(mktemp "${TMPDIR:-/tmp}/swarmlab-prerequisites.XXXXXX")
trap 'rm -f "$log"' EXIT

logged() {
	"$@" >"$log" 2>&1
}

apt_install() {
	local packages=("$@")
	# Each release has its own split of Docker into packages.
	if [[ " ${packages[*]} " == *" docker-cli "* ]] && ! apt-cache show docker-cli 2>/dev/null | grep -q .; then
		packages=("${packages[@]/docker-cli/docker.io}")
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
}

install_debian() {
	may_become_root "installing $*"
	echo "installing $*"
	if logged apt_install "$@"; then return 0; fi
	# The package lists may be missing or old.
	echo "installing $*: updating the package lists first"
	logged as_root apt-get update || {
		tail -n 5 "$log" >&2
		fail "apt-get update failed: is Debian's archive in reach?"
	}
	if logged apt_install "$@"; then return 0; fi
	tail -n 10 "$log" >&2
	if grep -q "vagrant" "$log" && ! apt-cache show vagrant 2>/dev/null | grep -q .; then
		fail "this release has no package vagrant: install it as https://developer.hashicorp.com/vagrant/install says"
	fi
	fail "cannot install $*"
}

install_missing() {
	local names
	names=$(missing command)
	[ -n "$names" ] || return 0
	if [ "$(uname -s)" = Darwin ]; then
		fail "missing: $(echo "$names" | paste -sd ' ' -). Install with: brew install $(missing brew | paste -sd ' ' -)"
	fi
	if ! have apt-get; then
		fail "missing: $(echo "$names" | paste -sd ' ' -). Install with your package manager (in Debian they are called: $(missing debian | paste -sd ' ' -))"
	fi
	local packages=()
	while read -r package; do packages+=("$package"); done < <(missing debian)
	if [ "$provider" = libvirt ]; then
		packages+=(vagrant-libvirt)
		case $(uname -m) in
		aarch64) packages+=(qemu-system-arm qemu-efi-aarch64) ;;
		*) packages+=(qemu-system-x86) ;;
		esac
	fi
	if [[ " ${packages[*]} " == *" gcc "* ]]; then packages+=(libc6-dev); fi
	# Ubuntu does not know Debian's keys.
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
	install_debian "${packages[@]}"
	names=$(missing command)
	[ -z "$names" ] || fail "installed ${packages[*]}, and still missing: $names"
}

# The exit status of `timeout` for a command that did not end in time.
no_answer=124

# answers SECONDS COMMAND...: the command succeeds, at once or within that time. Its status is no_answer where it was
# silent to the end: whoever it asked may be well, and only busy.
answers() {
	local deadline=$((SECONDS + $1)) status
	shift
	while :; do
		status=0
		if have timeout; then
			timeout 10 "$@" >"$log" 2>&1 || status=$?
		else
			"$@" >"$log" 2>&1 || status=$?
		fi
		[ $status != 0 ] || return 0
		[ $SECONDS -lt $deadline ] || return $status
		sleep 0.2
	done
}

engine_answers() {
	answers "$1" docker version --format '{{.Server.Version}}'
}

# untold WHO STATUS: WHO was asked with that status. One that is silent is asked again, and never started a second time.
untold() {
	[ "$2" = $no_answer ] || return 0
	fail "could not tell whether $1 is well: it did not answer within a minute. Try again when this host has less to do, or restart it"
}

start_engine() {
	[ "$provider" = docker ] || return 0
	local status=0
	engine_answers 0 || status=$?
	if [ $status = $no_answer ]; then
		echo "the Docker engine has not answered within 10 s; waiting for it"
		status=0
		engine_answers 60 || status=$?
		untold "the Docker engine" $status
	fi
	[ $status != 0 ] || return 0
	if grep -qi 'permission denied' "$log"; then
		fail "you may not use the Docker engine: sudo usermod -aG docker $(id -un), log in again, and try once more"
	fi
	if [ -n "${DOCKER_HOST:-}" ]; then
		fail "the Docker engine at DOCKER_HOST=$DOCKER_HOST does not answer"
	fi
	if [ "$(uname -s)" != Linux ]; then fail "the Docker engine does not answer: start Docker Desktop"; fi
	may_become_root "starting the Docker engine"
	echo "starting the Docker engine"
	if [ -d /run/systemd/system ]; then
		logged as_root systemctl start docker || true
	else
		# Without systemd it runs on its own, apart from this shell, as an init script would start it.
		as_root env "PATH=$PATH:/usr/sbin:/sbin" sh -c 'setsid dockerd </dev/null >/var/log/dockerd.log 2>&1 &'
	fi
	if engine_answers 30; then return 0; fi
	if grep -qi 'permission denied' "$log"; then
		fail "you may not use the Docker engine: sudo usermod -aG docker $(id -un), log in again, and try once more"
	fi
	{
		if [ -d /run/systemd/system ]; then journalctl --no-pager -n 10 -u docker; else tail -n 10 /var/log/dockerd.log; fi
	} >&2 || true
	fail "the Docker engine does not start; its last words are above"
}

libvirt_answers() {
	answers "$1" virsh --connect qemu:///system version
}

start_libvirt() {
	[ "$provider" = libvirt ] || return 0
	if [ ! -d /run/systemd/system ] && [ -c /dev/kvm ] && [ "$(stat -c %G /dev/kvm)" = root ]; then
		# udev would have given it to its group. A libvirt that may open it and a QEMU that may not find out anew, before
		# each step, what QEMU can do.
		as_root sh -c 'chgrp kvm /dev/kvm && chmod 0660 /dev/kvm' || true
	fi
	local status=0
	libvirt_answers 0 || status=$?
	if [ $status = $no_answer ]; then
		echo "libvirt has not answered within 10 s; waiting for it"
		status=0
		libvirt_answers 60 || status=$?
		untold libvirt $status
	fi
	[ $status != 0 ] || return 0
	if grep -qiE 'permission denied|authentication' "$log"; then
		fail "you may not use libvirt: sudo usermod -aG libvirt $(id -un), log in again, and try once more"
	fi
	may_become_root "starting libvirt"
	echo "starting libvirt"
	if [ -d /run/systemd/system ]; then
		logged as_root systemctl start libvirtd || true
	else
		# virtlogd keeps what machines write to their consoles.
		for daemon in virtlogd libvirtd; do
			pidof "$daemon" >/dev/null || as_root env "PATH=$PATH:/usr/sbin:/sbin" "$daemon" --daemon
		done
	fi
	if libvirt_answers 30; then return 0; fi
	if grep -qiE 'permission denied|authentication' "$log"; then
		fail "you may not use libvirt: sudo usermod -aG libvirt $(id -un), log in again, and try once more"
	fi
	tail -n 5 "$log" >&2
	fail "libvirt does not start; its last words are above"
}

# A Go that is too old can still fetch a newer one from where it gets its modules: releases are modules, too.
fetch_go() {
	if go_is_new; then return 0; fi
	local arch bootstrap=go
	if ! have go; then
		if have apt-get; then
			install_debian golang-go
		elif [ "$(uname -s)" = Darwin ]; then
			fail "Go is missing: brew install go"
		else
			fail "Go is missing: install it from your distribution or https://go.dev/dl/"
		fi
		if go_is_new; then return 0; fi
	fi
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) fail "Go is older than go.mod wants: install Go $go_release or newer" ;;
	esac
	local os module cache=$root/.lab/go-fetch
	os=$(uname -s | tr '[:upper:]' '[:lower:]')
	module=golang.org/toolchain@v0.0.1-go$go_release.$os-$arch
	echo "fetching Go $go_release ($($bootstrap version | cut -d ' ' -f 3) is too old)"
	[ -d "$root/.lab" ] || mkdir -m 0700 "$root/.lab"
	# A module's files are read-only, so that a plain rm would fail.
	remove() { if [ -e "$1" ]; then chmod -R u+w "$1" && rm -rf "$1"; fi; }
	remove "$cache"
	(cd / && logged env GOMODCACHE="$cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local "$bootstrap" mod download "$module") || {
		tail -n 5 "$log" >&2
		fail "cannot fetch Go $go_release: install Go $go_release or newer from https://go.dev/dl/"
	}
	remove "$root/.lab/go"
	mv "$cache/$module" "$root/.lab/go"
	remove "$cache"
	# Modules do not keep the mode of programs.
	chmod -R u+w "$root/.lab/go"
	find "$root/.lab/go/bin" "$root/.lab/go/pkg/tool" -type f -exec chmod +x {} +
	go_is_new || fail "the Go that was fetched into $root/.lab/go does not run"
}

mode=${1:-}
case $mode in
"" | test) ;;
*) fail "usage: prerequisites.sh [test]" ;;
esac
install_missing
start_engine
start_libvirt
fetch_go
