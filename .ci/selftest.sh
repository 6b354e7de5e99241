#!/bin/bash -p
# selftest.sh: whichever phase of `make test` fails makes the whole fail, and is named; ctrl-C ends all of it. A make that is none stands in for the
# real one. And what stands in a shell does not change what the Makefile does to a lab.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/swarmlab-selftest.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export PHASES_DIR=$dir/phases FAILS
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

# As a terminal does it, or, where this script itself was started so that ctrl-C's signal is ignored, as `kill` does: the script, a group of processes of its own, is interrupted while a phase goes on in the background.
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
end_signal=INT
case $(trap -p INT) in *"''"*) end_signal=TERM ;; esac
kill "-$end_signal" -- "-$script"
status=0
wait "$script" || status=$?
[ $status = 130 ] || wrong "interrupted: exit status $status, want 130"
until ! kill -0 "$hanging" 2>/dev/null; do
	[ $SECONDS -lt $deadline ] || wrong "interrupted: the phase up goes on"
	sleep 0.1
done

# What stands in a user's shell changes neither what `make down` and `make clean` do, nor on what.
clone=$dir/clone
mkdir -p "$clone/bin" "$clone/.lab" "$clone/.ci"
cp Makefile "$clone/"
cp .ci/bash "$clone/.ci/"
cat >"$clone/bin/lab" <<'LAB'
#!/bin/sh
top=$(dirname "$0")/../..
echo "lab $* in ${VAGRANT_CWD:-its own project}" >>"$top/calls"
exit "$(cat "$top/fails" 2>/dev/null || echo 0)"
LAB
chmod +x "$clone/bin/lab"
echo "echo sourced >>$dir/calls" >"$dir/startup"
touch "$clone/.lab/settings.json"
failed() {
	printf 'selftest: %s\n' "$1" >&2
	exit 1
}
# called EXPECTED: bin/lab and what else leaves a trace were called so since the last time.
called() {
	[ "$(cat "$dir/calls" 2>/dev/null)" = "$2" ] || failed "$1: $(cat "$dir/calls" 2>/dev/null)"
	rm -f "$dir/calls"
}
in_clone() { env -u MAKEFLAGS -u MFLAGS "$@" make -C "$clone" --no-print-directory "$target" >"$dir/out" 2>&1; }
target=down
in_clone MAKEFLAGS=n || failed "make -n down fails"
called "make -n down only says what it would do" ""
in_clone BASH_ENV="$dir/startup" ENV="$dir/startup" VAGRANT_CWD=/elsewhere CDPATH="$dir" || failed "make down fails"
called "make down with a hostile environment" "lab down in its own project"
echo 1 >"$dir/fails"
if in_clone; then failed "make down ends well where lab down does not"; fi
rm -f "$dir/calls"
target=clean
in_clone MAKEFLAGS=i || true
[ -e "$clone/.lab/settings.json" ] || failed "make clean removed .lab of a lab that is up"
rm -f "$dir/fails" "$clone/.lab/settings.json"
in_clone || failed "make clean fails"
if [ -e "$clone/.lab" ] || [ -e "$clone/bin" ]; then failed "make clean left something"; fi
