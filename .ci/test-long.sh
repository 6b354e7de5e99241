#!/bin/bash -p
# test-long.sh [--list] [--from N] [--minutes M]: what takes too long for `make test`: tests that repeat something for its statistics, every drill of
# the catalogue, a minute of fuzzing for each fuzz target. Each is an item of its own. --from begins with item N and goes on with the first after
# the last; N may be any number. --minutes begins no item after that many minutes. An item that fails leaves the others running.
set -euo pipefail
cd "$(dirname "$0")/.."
make=${MAKE:-make}
fuzz_time=${FUZZ_TIME:-60s}

fail() {
	echo "test-long: $*" >&2
	exit 2
}

list=false from=0 minutes=
while [ $# -gt 0 ]; do
	case $1 in
	--list) list=true ;;
	--from) from=${2:?} && shift ;;
	--minutes) minutes=${2:?} && shift ;;
	*) fail "usage: test-long.sh [--list] [--from N] [--minutes M]" ;;
	esac
	shift
done

# items prints one a line: its kind, its package, its name.
items() {
	local file name
	for file in lab/drill/drills/*.yaml; do
		name=${file##*/}
		echo "lab ./lab/test/integration TestEveryDrillPasses/${name%.yaml}"
	done
	git ls-files -co --exclude-standard -- '*_long_test.go' | while IFS= read -r file; do
		local kind=unit
		case $file in lab/test/integration/*) kind=lab ;; esac
		sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "$file" | grep -v '^TestEveryDrillPasses$' | while IFS= read -r name; do
			echo "$kind ./$(dirname "$file") $name"
		done
	done
	git ls-files -co --exclude-standard -- '*_test.go' | while IFS= read -r file; do
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while IFS= read -r name; do
			echo "fuzz ./$(dirname "$file") $name"
		done
	done
}

all=$(items)
count=$(printf '%s\n' "$all" | grep -c .)
if $list; then
	printf '%s\n' "$all" | awk '{printf "%3d  %-5s %-40s %s\n", NR - 1, $1, $2, $3}'
	exit 0
fi

log=.lab/test/long.log
tests=.lab/integration-long.test
[ -d .lab ] || mkdir -m 700 .lab
mkdir -p .lab/test
rm -f .lab/test/long-*.json
prepared=false

# prepare brings up what the tests on the lab need, once, when the first of them comes.
prepare() {
	if $prepared; then return 0; fi
	echo "== the lab is brought up, and its tests are built"
	"$make" up
	go test -tags integration,long -c -o "$tests" ./lab/test/integration
	prepared=true
}

# run KIND PACKAGE NAME
run() {
	local pattern="^${3//\//\$/^}\$"
	case $1 in
	lab) (cd "$2" && go tool test2json -t -p "$2" "$OLDPWD/$tests" -test.v=test2json -test.count=1 -test.timeout=60m -test.run "$pattern") ;;
	unit) CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 LAB_REQUIRE_SERVICES=1 go test -json -race -vet=off -tags long -count=1 -timeout 60m -run "$pattern" "$2" ;;
	fuzz) go test -json -vet=off -run '^$' -fuzz "$pattern" -fuzztime "$fuzz_time" "$2" ;;
	esac
}

began=$SECONDS ran=0 failed=()
for ((i = 0; i < count; i++)); do
	if [ -n "$minutes" ] && [ $((SECONDS - began)) -ge $((minutes * 60)) ]; then break; fi
	number=$(((from + i) % count))
	read -r kind package name <<<"$(printf '%s\n' "$all" | sed -n "$((number + 1))p")"
	if [ "$kind" = lab ]; then prepare; fi
	item_began=$SECONDS result=passed
	printf '%3d/%d  %s %s ' "$number" "$count" "$package" "$name"
	json=.lab/test/long-$number.json
	run "$kind" "$package" "$name" >"$json" 2>"$log" || result=FAILED
	# A name that no test has passes, too.
	grep -q "\"Action\":\"run\",.*\"Test\":\"$name\"" "$json" || result="FAILED: no such test ran"
	if [ "$result" = passed ] && grep -q "\"Action\":\"skip\",.*\"Test\":\"$name\"" "$json"; then result=skipped; fi
	took=$((SECONDS - item_began))
	printf '%s in %d:%02d\n' "$result" $((took / 60)) $((took % 60))
	ran=$((ran + 1))
	if [ "$result" != passed ] && [ "$result" != skipped ]; then
		failed+=("$number $package $name")
		.lab/tools/gotestsum --format standard-verbose --raw-command -- cat "$json" || true
		cat "$log"
	fi
done
printf '\n%d of %d items ran in %d:%02d, from item %d on; %d failed\n' \
	"$ran" "$count" $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) $((from % count)) ${#failed[@]}
if [ ${#failed[@]} -gt 0 ]; then
	printf '  %s\n' "${failed[@]}"
	exit 1
fi
