#!/bin/sh
# hash.sh FOLDER: prints the hash of all that provisioning installs on a node, 16 hex digits. FOLDER holds it: on the node
# /opt/swarmlab, on the host .lab/nodes/NODE. Both sides know the same hash (lab/lifecycle/hash.go), so a node whose hash
# (/etc/swarmlab/provision-hash) differs wants provisioning.
# It is the SHA-256 over the files in the order of their names, for each its name, a NUL, its SHA-256 in hex, a newline.
# The bundle does not count: its images are loaded when they are needed.
set -eu

if [ $# != 1 ]; then
	echo "usage: hash.sh FOLDER" >&2
	exit 2
fi

if command -v sha256sum >/dev/null; then sum=sha256sum; else sum="shasum -a 256"; fi

cd "$1"
# Between name and sum stands a byte that sorts before all others.
# $sum is two words on a Mac.
# shellcheck disable=SC2086
find . -path ./bundle -prune -o -type f -exec $sum {} + |
	sed "s,^\([0-9a-f]*\) [ *]\./\(.*\)\$,\2$(printf '\001')\1," |
	LC_ALL=C sort | tr '\001' '\000' | $sum | cut -c1-16
