#!/bin/bash -p
# bench-up.sh [--yes] [--cold]: how long the lab's own commands take on this host, beside what we aim at, as a table. It measures and judges
# nothing: it fails only where a command does. This clone's lab is taken down first; without --yes it has to be down already. --cold also throws
# away what was built (node image, bundle, binaries), as on a machine that never saw the lab.
set -euo pipefail
cd "$(dirname "$0")/.."

cold=false
yes=false
for arg in "$@"; do
	case $arg in
	--cold) cold=true ;;
	--yes) yes=true ;;
	*) echo "bench-up.sh: $arg: only --yes and --cold are known" >&2 && exit 2 ;;
	esac
done
if [ -e .lab/settings.json ] && ! $yes; then
	echo "the lab of this clone is up, and this would take it down: BENCH=--yes make bench-up, or make down first" >&2
	exit 2
fi

# now in seconds, in parts of them where bash can (5.0; Apple's cannot).
now() { LC_ALL=C; echo "${EPOCHREALTIME:-$SECONDS}"; }

rows=()
# measure AIM_SECONDS WHAT COMMAND...
measure() {
	local aim=$1 what=$2 begin
	shift 2
	echo "== $what: $*"
	begin=$(now)
	"$@"
	rows+=("$(awk -v what="$what" -v begin="$begin" -v end="$(now)" -v aim="$aim" \
		'BEGIN { printf "%-34s %8.1f s %8d s  %5.2f", what, end - begin, aim, (end - begin) / aim }')")
}

# Nobody is asked about the votes of this script.
export YES=1
make down
if $cold; then
	docker image ls -q 'swarmlab/node' | sort -u | xargs -r docker image rm -f >/dev/null
	rm -rf .lab bin
	go clean -cache
	measure 600 "cold up" make up
	make down
fi
# Warm: images and bundle built, no nodes.
make build bundle
measure 60 "warm up, to the first vote counted" make up
measure 5 "up again" make up
measure 30 "reset" bin/lab reset --yes
measure 15 "down" make down

printf '\n%-34s %10s %10s  %5s\n' "" took aim ratio
printf '%s\n' "${rows[@]}"
