# Sourced by the scripts that run many things: each thing is a phase, which is announced, timed and, at the end, listed in a table.
# Works with the bash 3.2 of a Mac.
# shellcheck shell=bash

# What a phase printed, and how the phases ended, stands here.
phases_dir=${PHASES_DIR:-.lab/test}

# start_phases forgets the phases of an earlier run.
start_phases() {
	[ -d .lab ] || mkdir -m 700 .lab
	mkdir -p "$phases_dir"
	rm -f "$phases_dir"/*
	phases_began=$(date +%s)
	echo "$phases_began" >"$phases_dir/began"
	: >"$phases_dir/phases"
}

# resume_phases goes on with the table that another script has begun.
resume_phases() { phases_began=$(cat "$phases_dir/began"); }

# minutes SECONDS, as 3:07.
minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# phase NAME COMMAND…: runs a command, each of whose lines is printed behind the phase's name, and keeps what it printed in a file. The exit
# status is the command's.
phase() {
	local name=$1 began now status=0
	shift
	began=$(date +%s)
	printf '%-14s started: %s\n' "$name" "$*"
	# Its standard input is nobody's: two phases may run at the same time.
	{ "$@" </dev/null 2>&1 || echo $? >"$phases_dir/$name.status"; } | {
		while IFS= read -r line || [ -n "$line" ]; do
			printf '%s\n' "$line" >>"$phases_dir/$name.log"
			printf '%-14s %s\n' "$name" "$line"
		done
	}
	if [ -e "$phases_dir/$name.status" ]; then status=$(cat "$phases_dir/$name.status"); fi
	now=$(date +%s)
	if [ "$status" = 0 ]; then
		printf '%-14s passed in %s\n' "$name" "$(minutes $((now - began)))"
	else
		printf '%-14s FAILED in %s (exit status %s); its output: %s\n' "$name" "$(minutes $((now - began)))" "$status" "$phases_dir/$name.log"
	fi
	printf '%s %s %s %s\n' "$((began - phases_began))" "$((now - began))" "$status" "$name" >>"$phases_dir/phases"
	return "$status"
}

# not_run NAME WHY: a phase that could not be begun, which fails the whole.
not_run() {
	printf '%-14s not run: %s\n' "$1" "$2"
	printf '%s %s %s %s\n' "$(($(date +%s) - phases_began))" 0 not_run "$1" >>"$phases_dir/phases"
}

# print_phases prints the table, and the ten slowest tests of the phases that kept a record of theirs. Its exit status is 1 where a phase failed
# or could not be run, and where there was none.
print_phases() {
	local began took status name result failed=0 count=0
	printf '\n%-16s %8s %8s  %s\n' phase began took result
	while read -r began took status name; do
		count=$((count + 1))
		case $status in
		0) result=passed ;;
		not_run) result="not run" failed=1 ;;
		*) result=FAILED failed=1 ;;
		esac
		printf '%-16s %8s %8s  %s\n' "$name" "$(minutes "$began")" "$(minutes "$took")" "$result"
	done <<-TABLE
		$(sort -n "$phases_dir/phases")
	TABLE
	printf '%-16s %8s %8s  %s\n' "in all" "" "$(minutes $(($(date +%s) - phases_began)))" "$([ $failed = 0 ] && echo passed || echo FAILED)"
	if [ -x .lab/tools/gotestsum ] && ls "$phases_dir"/*.json >/dev/null 2>&1; then
		printf '\nthe ten slowest tests\n'
		cat "$phases_dir"/*.json | .lab/tools/gotestsum tool slowest --num 10 --threshold 1ms |
			sed 's#github.com/swarmlab/swarmlab/##' | awk '{printf "%10s  %s %s\n", $3, $2, $1}'
	fi
	[ $failed = 0 ] && [ $count -gt 0 ]
}

# in_background FUNCTION: runs it beside the rest, in a process group of its own, so that an interrupt can be handed on to all that it started.
in_background() {
	set -m
	"$@" &
	groups="${groups:-} $!"
	set +m
}

# What ends it: ctrl-C's signal, but where this script was started without a terminal (`make test &` in another script) that one is ignored by all
# that it starts, and so is its trap.
end_signal=INT
case $(trap -p INT) in *"''"*) end_signal=TERM ;; esac

# interrupt_phases ends what runs in the background as ctrl-C would, and waits for it.
interrupt_phases() {
	local group
	for group in ${groups:-}; do kill "-$end_signal" -- "-$group" 2>/dev/null || true; done
	wait
}
