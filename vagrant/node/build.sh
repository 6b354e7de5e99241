#!/bin/bash -p
# build.sh [--tag]: makes the image of a container node, swarmlab/node:HASH, on the host's engine, unless it is there.
# HASH covers all that goes into the image, so that a changed input makes a new image and an old lab keeps its own.
# --tag prints the image's name and does nothing else (the Vagrantfile asks so).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vagrant=$(dirname "$here")
# shellcheck source=vagrant/root.sh
. "$vagrant/root.sh"
suite=trixie

case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac

sha256() {
	if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

input_hash() {
	(
		cd "$vagrant"
		echo "$suite $arch"
		find base.sh node provision/packages provision/root -type f -perm -100 | LC_ALL=C sort
		files=()
		while read -r file; do files+=("$file"); done < <(find base.sh node provision/packages provision/root -type f | LC_ALL=C sort)
		sha256 "${files[@]}"
	) | sha256 | cut -c1-12
}

image=swarmlab/node:$(input_hash)
if [ "${1:-}" = --tag ]; then
	echo "$image"
	exit 0
fi

if said=$(docker image inspect "$image" 2>&1 >/dev/null); then
	echo "node image $image: up to date"
	exit 0
elif ! grep -qiE 'no such (image|object)|not found' <<<"$said"; then
	echo "could not tell whether the node image $image is there: $said" >&2
	exit 1
fi

log=$(mktemp "${TMPDIR:-/tmp}/swarmlab-node.XXXXXX")
trap 'rm -f "$log"' EXIT
failed() {
	echo "node image: $1 failed; the end of its output:" >&2
	tail -n 20 "$log" >&2
	exit 1
}

# mmdebstrap needs Debian's archive only, but root; docker build needs a registry for its base image.
if command -v mmdebstrap >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
	echo "node image $image: building from Debian $suite (about 30 s)"
	packages=$(grep -v '^#' "$vagrant/provision/packages" | paste -sd, -)
	tar=$(mktemp "${TMPDIR:-/tmp}/swarmlab-node-XXXXXX")
	trap 'rm -f "$log" "$tar"' EXIT
	# The hook is a line of sh: folders come to it as variables, since their names may hold any character.
	# shellcheck disable=SC2016
	as_root env folder="$here" vagrant="$vagrant" mmdebstrap --variant=minbase --include="$packages" \
		--aptopt='Apt::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--customize-hook='sh "$folder/customize.sh" "$1" "$vagrant/provision/root" "$folder/entrypoint"' \
		"$suite" - 2>"$log" >"$tar" || failed mmdebstrap
	docker import --change 'ENTRYPOINT ["/sbin/swarmlab-init"]' --change 'ENV container=docker' \
		"$tar" "$image" >"$log" 2>&1 || failed "docker import"
else
	echo "node image $image: building from debian:$suite with docker (a few minutes)"
	# How downloads are made, which docker build does not take over by itself.
	arguments=()
	while IFS= read -r proxy; do arguments+=(--build-arg "$proxy"); done < <(proxies)
	docker build ${arguments[@]+"${arguments[@]}"} -t "$image" -f "$here/Dockerfile" "$vagrant" >"$log" 2>&1 || failed "docker build"
fi
echo "node image $image: built"
