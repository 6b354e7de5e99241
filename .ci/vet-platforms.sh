#!/bin/bash -p
# vet-platforms.sh: what people run on their own machine compiles for macOS and Windows, tests included, and go vet finds nothing. It takes seven
# minutes of a processor in a fresh clone: lint looks for errors of types only (.ci/tools/platforms), and CI runs this as well. Not vetted is
# what runs on Linux alone: agents/, the benchmarks (/proc, the engine's host network); for Windows, where the lab is promised within WSL 2 only,
# also the programs of the voting app and the tests on the running lab.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "go vet for darwin"
GOOS=darwin go vet -tags integration,pictures,long ./lab/... ./tui/...
echo "go vet for windows"
packages=$(go list ./lab/... ./tui/... | grep -v '/lab/votingapp/cmd/')
# shellcheck disable=SC2086 # one argument each
GOOS=windows go vet $packages
