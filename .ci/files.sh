# Sourced by the scripts that go over the files of this clone.
# shellcheck shell=bash

# files_there PATTERN…: the files of the clone that match, committed or not, each with a NUL behind it. One that was deleted and not committed yet
# is none.
files_there() {
	local file
	git ls-files -z -co --exclude-standard -- "$@" | while IFS= read -r -d '' file; do
		if [ -f "$file" ]; then printf '%s\0' "$file"; fi
	done
}

# shell_script is how a line of a script for sh or bash looks that says so, as grep -E reads it.
# shellcheck disable=SC2034
shell_script='^#!.*\b(ba)?sh( -p)?$|^# shellcheck shell='
