#!/usr/bin/env bash
# bench-up.sh [--cold]: how long the lab's own commands take on this host, against what we hold ourselves to, as a table. Takes this clone's lab
# down first. --cold also throws away what was built (node image, bundle, binaries), as on a machine that never saw the lab.
set -euo pipefail
cd "$(dirname "$0")/.."

rows=()
# measure LIMIT_SECONDS WHAT COMMAND...
measure() {
	local limit=$1 what=$2 begin end took verdict
	shift 2
	echo "== $what: $*"
	begin=$(date +%s%N)
	"$@"
	end=$(date +%s%N)
	took=$(awk -v ns=$((end - begin)) 'BEGIN { printf "%.1f", ns / 1e9 }')
	verdict=$(awk -v t="$took" -v l="$limit" 'BEGIN { printf "%s (%.2f of the limit)", t <= l ? "ok" : "TOO SLOW", t / l }')
	rows+=("$(printf '%-34s %8s s %8s s  %s' "$what" "$took" "$limit" "$verdict")")
}

make down
if [ "${1:-}" = --cold ]; then
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

printf '\n%-34s %10s %10s  %s\n' "" took limit verdict
printf '%s\n' "${rows[@]}"
