#!/bin/bash -p
# check.sh: what `make check` does: formats the Go code, and lints and tests what changed since BASE, without services and without a lab. BASE is
# where this branch left main, or, on main itself, the last commit.
# shellcheck disable=SC2086 # lists of packages and files of this repository, one word each
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=.ci/files.sh
source .ci/files.sh

base=${BASE:-}
if [ -z "$base" ]; then
	for main in origin/main main; do
		if base=$(git merge-base HEAD "$main" 2>/dev/null); then break; fi
	done
	if [ -z "$base" ] || [ "$(git rev-parse HEAD)" = "$base" ]; then
		base=HEAD
		# Nothing is changed that is not committed: the last commit is looked at.
		if [ -z "$(git status --porcelain)" ]; then base=HEAD~1; fi
	fi
fi

# changed prints the files that changed and are still there.
changed() {
	{
		git diff --name-only "$base" --
		git ls-files --others --exclude-standard
	} | sort -u | while IFS= read -r file; do if [ -f "$file" ]; then printf '%s\n' "$file"; fi; done
}

files=$(changed)
# A file belongs to the nearest package of this module above it: so do drills, pages and golden files. What other modules here are made of (the
# generator's, the bundle's Consul) is compiled by who uses it.
known=$(go list -tags integration,long,pictures -f '{{.Dir}}' ./... | sed "s|^$PWD/|./|")
packages=$(while IFS= read -r file; do
	folder=./$(dirname "$file")
	until [ "$folder" = . ] || grep -qxF "$folder" <<<"$known"; do
		if [ -e "$folder/go.mod" ]; then folder=./.; fi
		folder=$(dirname "$folder")
	done
	if [ "$folder" != . ]; then printf '%s\n' "$folder"; fi
done <<<"$files" | sort -u)

echo "== format"
.lab/tools/golangci-lint fmt
if [ -n "$packages" ]; then
	echo "== lint:" $packages
	.lab/tools/golangci-lint run --allow-parallel-runners $packages
	echo "== compile"
	go build ./...
	echo "== test, without services:" $packages
	# The integration tests want a lab; that they compile, the linter has seen.
	units=$(printf '%s\n' "$packages" | grep -v '^./lab/test/integration' || true)
	if [ -n "$units" ]; then go test -short -vet=off $units; fi
fi
shell=$(printf '%s\n' "$files" | { grep -v -E '\.(go|txtar)$' || true; } | while IFS= read -r file; do
	if [ -n "$file" ] && grep -qE "$shell_script" "$file"; then printf '%s\n' "$file"; fi
done)
if [ -n "$shell" ]; then
	echo "== shellcheck:" $shell
	shellcheck -x $shell # each alone: what they source is followed
fi
if printf '%s\n' "$files" | grep -qE '^(Vagrantfile|vagrant/.*\.rb)$'; then
	echo "== Ruby"
	rubocop --format quiet Vagrantfile vagrant
	for file in vagrant/test/*_test.rb; do ruby "$file"; done
fi
[ -n "$files" ] || echo "nothing changed since $base"
