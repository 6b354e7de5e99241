#!/bin/sh
# hash.sh ROLE BIN PROVISION NODE APP: prints the hash of all that provisioning a node of ROLE installs, 16 hex digits.
# BIN, PROVISION, NODE and APP are the folders that hold it: on the node those under /opt/swarmlab, on the host the ones
# they come from. Both sides run this script, so a node whose hash (/etc/swarmlab/provision-hash) differs wants provisioning.
# It is the SHA-256 over the files in the order of their names, for each its name, a NUL, its SHA-256 in hex, a newline.
set -eu

if [ $# != 5 ]; then
	echo "usage: hash.sh ROLE BIN PROVISION NODE APP" >&2
	exit 2
fi

if command -v sha256sum >/dev/null; then sum=sha256sum; else sum="shasum -a 256"; fi

# files PREFIX FOLDER [FIND-CONDITION…]: a line "PREFIX/name \1 hash" for each file of the folder.
files() {
	prefix=$1
	folder=$2
	shift 2
	[ -d "$folder" ] || return 0
	# $sum is two words on a Mac.
	# shellcheck disable=SC2086
	(cd "$folder" && find . -type f "$@" -exec $sum {} +) |
		sed "s,^\([0-9a-f]*\) [ *]\./\(.*\)\$,$prefix/\2$(printf '\001')\1,"
}

{
	files bin "$2" \( -name labagent -o -name "role-$1" \)
	files provision "$3"
	files node "$4"
	files app "$5"
} | LC_ALL=C sort | tr '\001' '\000' | $sum | cut -c1-16
