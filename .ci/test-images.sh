#!/bin/bash -p
# test-images.sh ARCHITECTURE: the bundle's images are in this host's engine, where the unit tests start their services from them. The lab's nodes take
# theirs from the bundle itself.
set -euo pipefail
cd "$(dirname "$0")/.."

for tar in .lab/bundle/linux-"$1"/*.tar; do
	image=$(sed -n 's/.*"reference": *"\([^"]*\)".*/\1/p' "${tar%.tar}.json")
	docker image inspect "$image" >/dev/null 2>&1 || docker load --quiet --input "$tar"
done
