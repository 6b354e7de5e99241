#!/bin/bash -p
# selftest.sh: whichever phase of `make test` fails makes the whole fail, and is named; ctrl-C ends all of it. A make that is none stands in for the
# real one.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/swarmlab-selftest.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export PHASES_DIR=$dir/phases FAILS
# shellcheck source=.ci/phases.sh
source .ci/phases.sh
cat >"$dir/make" <<'MAKE'
#!/bin/sh
echo "make $*"
if [ "$*" = up ] && [ "$FAILS" = hangs ]; then
	echo $$ >"$PHASES_DIR/hangs"
	exec sleep 600
fi
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
check node-image 1 '^node-image .*FAILED$' '^integration .*passed$'
check tools 1 '^tools .*FAILED$' '^unit .*passed$'
check lint 1 '^lint .*FAILED$' '^unit .*passed$' '^integration .*passed$'
check unit 1 '^unit .*FAILED$' '^integration .*passed$'

# As a terminal does it, or `kill` where ctrl-C's signal is ignored (end_signal): the script, a group of processes of its own, is interrupted while a
# phase goes on in the background.
set -m
FAILS=hangs MAKE=$dir/make .ci/test.sh >"$dir/out" 2>&1 &
script=$!
set +m
deadline=$((SECONDS + 120))
until [ -s "$PHASES_DIR/hangs" ] && grep -q '^unit .*passed' "$dir/out"; do
	[ $SECONDS -lt $deadline ] || wrong "the phase up does not begin"
	sleep 0.1
done
hanging=$(cat "$PHASES_DIR/hangs")
kill "-$end_signal" -- "-$script"
status=0
wait "$script" || status=$?
[ $status = 130 ] || wrong "interrupted: exit status $status, want 130"
until ! kill -0 "$hanging" 2>/dev/null; do
	[ $SECONDS -lt $deadline ] || wrong "interrupted: the phase up goes on"
	sleep 0.1
done
