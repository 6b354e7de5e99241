#!/usr/bin/env bash
# selftest.sh: whichever phase of `make test` fails makes the whole fail, and is named. A make that is none stands in for the real one.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/swarmlab-selftest.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export PHASES_DIR=$dir/phases FAILS
cat >"$dir/make" <<'MAKE'
#!/bin/sh
echo "make $*"
[ "$*" != "$FAILS" ]
MAKE
chmod +x "$dir/make"

# check TARGETS RESULT PATTERN…: with a make that fails for these targets, test.sh ends with that result and prints the patterns.
check() {
	local pattern status=0
	FAILS=$1
	MAKE=$dir/make .ci/test.sh >"$dir/out" 2>&1 || status=$?
	[ $status = "$2" ] || wrong "exit status $status, want $2"
	shift 2
	for pattern in "$@"; do grep -qE "$pattern" "$dir/out" || wrong "no line matches $pattern"; done
}

wrong() {
	printf 'selftest: test.sh where make %s fails: %s\n' "${FAILS:-nothing}" "$1" >&2
	cat "$dir/out" >&2
	exit 1
}

check "" 0 '^unit .*passed$' '^integration .*passed$' '^in all .*passed$'
check test-prerequisites 1 '^prerequisites .*FAILED$' '^in all .*FAILED$'
check "build bundle" 1 '^bundle .*FAILED$' '^up .*not run$' '^integration .*not run$' '^unit .*not run$' '^lint .*passed$'
check up 1 '^up .*FAILED$' '^integration .*not run$' '^unit .*passed$'
check integration 1 '^integration .*FAILED$' '^unit .*passed$'
check tools 1 '^tools .*FAILED$' '^unit .*passed$'
check lint 1 '^lint .*FAILED$' '^unit .*passed$' '^integration .*passed$'
check unit 1 '^unit .*FAILED$' '^integration .*passed$'
