#!/bin/bash -p
# lint.sh: every linter, for Go, shell and Ruby. `make lint` builds what it needs first.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=.ci/files.sh
source .ci/files.sh

echo "golangci-lint"
.lab/tools/golangci-lint run --allow-parallel-runners
echo "types, for macOS and Windows"
# For Windows, where the lab is promised within WSL 2 only, without the programs of the voting app and the tests on the running lab.
.lab/tools/platforms darwin windows:/lab/votingapp/cmd/,/lab/test/integration

echo "shellcheck"
files_there ':!*.txtar' ':!*.go' | xargs -0 grep --null -lE "$shell_script" -- | xargs -0 shellcheck
echo "rubocop, tests in Ruby"
rubocop --format quiet Vagrantfile vagrant
for file in vagrant/test/*_test.rb; do ruby "$file"; done

echo "the scripts of make test"
.ci/selftest.sh
.ci/makefile-test.sh

# make test-long finds its tests by the names of their files.
misnamed=$(files_there '*_test.go' | while IFS= read -r -d '' file; do
	tagged=no named=no
	if head -n 1 "$file" | grep -q '^//go:build .*\blong\b'; then tagged=yes; fi
	case $file in *_long_test.go) named=yes ;; esac
	if [ $tagged != $named ]; then printf '%s\n' "$file"; fi
done)
if [ -n "$misnamed" ]; then
	printf 'a file of long tests has the build tag long and a name that ends with _long_test.go, and these have one of the two:\n%s\n' "$misnamed" >&2
	exit 1
fi
