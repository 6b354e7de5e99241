#!/bin/bash -p
# generated.sh [write]: whether the generated gRPC code fits what it is generated from, without generating it: buf takes minutes to build. What
# `make generate` read and wrote last is kept as sums; write keeps them. CI generates in earnest.
set -euo pipefail
cd "$(dirname "$0")/.."

sums=.ci/tools/generate/sums
current() {
	find agents/api .ci/tools/generate \( -name '*.proto' -o -name '*.pb.go' -o -name 'buf*.yaml' -o -name 'go.*' \) -type f | LC_ALL=C sort | while IFS= read -r file; do
		if command -v sha256sum >/dev/null; then sha256sum "$file"; else shasum -a 256 "$file"; fi
	done
}

case ${1:-} in
write) current >"$sums" ;;
"")
	if ! stale=$(diff <(current) "$sums"); then
		printf '%s\ngenerated code is not up to date: run make generate and commit what it changes\n' "$stale" >&2
		exit 1
	fi
	;;
*)
	echo "usage: generated.sh [write]" >&2
	exit 2
	;;
esac
