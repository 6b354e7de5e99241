#!/usr/bin/env bash
# lint.sh: every linter, for Go, shell and Ruby. `make lint` builds what it needs first.
set -euo pipefail
cd "$(dirname "$0")/.."

.lab/tools/golangci-lint run --allow-parallel-runners
.ci/vet-platforms.sh

shell_files() {
	git ls-files -co --exclude-standard -- ':!*.txtar' ':!*.go' | while IFS= read -r file; do
		# A file that was deleted and not committed yet is listed, too.
		if [ -f "$file" ]; then printf '%s\n' "$file"; fi
	done | xargs grep -lE '^#!.*\b(ba)?sh$|^# shellcheck shell=' --
}
shell_files | xargs shellcheck
rubocop --format quiet Vagrantfile vagrant
for file in vagrant/test/*_test.rb; do ruby "$file"; done
