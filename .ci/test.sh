#!/bin/bash -p
# test.sh: what `make test` does. The bundle comes first: the lab needs it, and to compile it the first time takes all processors. Then two lanes run
# side by side: one brings the lab up and tests it, which is mostly waiting, and takes longest; the other builds the linter, lints and runs the unit
# tests, which is mostly computing, and gets the processors that the first one leaves. A short third one makes the image of the nodes beside the
# bundle. A phase that fails leaves the others running, and fails the whole.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=.ci/phases.sh
source .ci/phases.sh
make=${MAKE:-make}

start_phases
trap 'trap - INT TERM; interrupt_phases; exit 130' INT TERM

# The image of the nodes: mostly it fetches packages, while the bundle compiles.
image_lane() {
	phase node-image "$make" node-image || true
	echo tried >"$phases_dir/node-image.tried"
}

lab_lane() {
	# The unit tests want the images of the bundle, and the lab its binaries.
	if phase bundle "$make" build bundle; then
		echo built >"$phases_dir/bundle.built"
	else
		echo failed >"$phases_dir/bundle.built"
		not_run up "the bundle is missing"
		not_run integration "no lab is up"
		return 0
	fi
	until [ -e "$phases_dir/node-image.tried" ]; do sleep 1; done
	if phase up "$make" up; then
		phase integration "$make" integration || true
	else
		not_run integration "no lab is up"
	fi
}

code_lane() {
	# What the bundle leaves of the processors is enough to begin with: what is compiled by then is there for the phase.
	nice -n 19 "$make" tools >/dev/null 2>&1 &
	local early=$!
	until [ -e "$phases_dir/bundle.built" ]; do sleep 1; done
	kill "$early" 2>/dev/null || true
	wait "$early" || true
	phase tools nice -n 5 "$make" tools || true
	phase lint nice -n 5 "$make" lint || true
	if [ "$(cat "$phases_dir/bundle.built")" = built ]; then
		phase unit nice -n 5 "$make" unit || true
	else
		not_run unit "the bundle is missing"
	fi
}

if phase prerequisites "$make" test-prerequisites; then
	in_background image_lane
	in_background lab_lane
	in_background code_lane
	wait
fi
print_phases
