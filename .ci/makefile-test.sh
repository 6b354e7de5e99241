#!/bin/bash -p
# makefile-test.sh: make builds what it should whatever is exported in the shell that calls it, wherever the clone lies, and in the order in which
# the Makefile says so; and it takes away no lab but the clone's own, and only where it was told to.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=.ci/files.sh
source .ci/files.sh

dir=$(mktemp -d "${TMPDIR:-/tmp}/swarmlab-makefile.XXXXXX")
trap 'rm -rf "$dir"' EXIT

wrong() {
	printf 'makefile-test: %s\n' "$*" >&2
	[ ! -e "$dir/out" ] || cat "$dir/out" >&2
	exit 1
}

# A copy of this clone, in a folder whose name holds what shells, make and patterns read as their own, and below somebody's Go workspace.
clone=$dir/"it's \"a\" \$HOME [of] *{mine}; & #1, ünï"
mkdir "$clone"
files_there . | tar --null -T - -cf - | tar -xf - -C "$clone"
printf 'go 1.18\n' >"$dir/go.work"
echo 'exit 3' >"$dir/startup"

# stray COMMAND…: with an environment that would make each tool do something else, without a home, and with a closed umask.
stray() {
	(
		umask 077
		env -u HOME CDPATH="$dir" BASH_ENV="$dir/startup" ENV="$dir/startup" SHELLOPTS=noclobber:noexec POSIXLY_CORRECT=1 'BASH_FUNC_go%%=() { exit 4; }' \
			GOFLAGS=-mod=vendor GO111MODULE=off GOOS=plan9 GOARCH=386 GOROOT="$dir" GOTOOLCHAIN=go1.4 GOAMD64=v4 CGO_ENABLED=1 GIT_DIR="$dir" \
			GREP_OPTIONS=-v TAR_OPTIONS=--nonsense DOCKER_DEFAULT_PLATFORM=plan9/386 LC_ALL=C "$@"
	)
}

tag=$(vagrant/node/build.sh --tag)
stray make -C "$clone" -j8 bin/lab >"$dir/out" 2>&1 || wrong "make bin/lab fails in a stray environment"
"$clone/bin/lab" version >"$dir/out" 2>&1 || wrong "the lab command that was built in a stray environment does not run"
stray "$clone/vagrant/node/build.sh" --tag >"$dir/out" 2>&1 || wrong "vagrant/node/build.sh fails in a stray environment"
[ "$(cat "$dir/out")" = "$tag" ] || wrong "the node image has another name in a stray environment; want $tag"

# Nothing is built before what it needs is installed, however many jobs make may run at a time.
mkdir -p "$clone/.lab/go/bin"
cat >"$clone/.lab/go/bin/go" <<'GO'
#!/bin/sh
[ -e installed ] || echo "go $* came before the prerequisites" >>early
GO
cat >"$clone/vagrant/prerequisites.sh" <<'PREREQUISITES'
#!/bin/sh
sleep 1
touch installed
PREREQUISITES
# What make would run at the end, on a lab.
printf '#!/bin/sh\n' >"$clone/bin/lab"
chmod +x "$clone/.lab/go/bin/go" "$clone/bin/lab"
MAKEFLAGS=-j8 make -C "$clone" up >"$dir/out" 2>&1 || wrong "make -j8 up fails"
[ ! -e "$clone/early" ] || wrong "make -j8 up: $(cat "$clone/early")"

# What stands in a user's shell changes neither what `make down` and `make clean` do, nor on what.
clone=$dir/clone
mkdir -p "$clone/bin" "$clone/.lab" "$clone/.ci"
cp Makefile "$clone/"
cp .ci/bash "$clone/.ci/"
cat >"$clone/bin/lab" <<'LAB'
#!/bin/sh
top=$(dirname "$0")/../..
echo "lab $* in ${VAGRANT_CWD:-its own project}" >>"$top/calls"
exit "$(cat "$top/fails" 2>/dev/null || echo 0)"
LAB
chmod +x "$clone/bin/lab"
echo "echo sourced >>$dir/calls" >"$dir/startup"
touch "$clone/.lab/settings.json"
# called EXPECTED: bin/lab and what else leaves a trace were called so since the last time.
called() {
	[ "$(cat "$dir/calls" 2>/dev/null)" = "$2" ] || wrong "$1: $(cat "$dir/calls" 2>/dev/null)"
	rm -f "$dir/calls"
}
in_clone() { env -u MAKEFLAGS -u MFLAGS "$@" make -C "$clone" --no-print-directory "$target" >"$dir/out" 2>&1; }
target=down
in_clone MAKEFLAGS=n || wrong "make -n down fails"
called "make -n down only says what it would do" ""
in_clone BASH_ENV="$dir/startup" ENV="$dir/startup" VAGRANT_CWD=/elsewhere CDPATH="$dir" || wrong "make down fails"
called "make down with a hostile environment" "lab down in its own project"
echo 1 >"$dir/fails"
if in_clone; then wrong "make down ends well where lab down does not"; fi
rm -f "$dir/calls"
target=clean
in_clone MAKEFLAGS=i || true
[ -e "$clone/.lab/settings.json" ] || wrong "make clean removed .lab of a lab that is up"
rm -f "$dir/fails" "$clone/.lab/settings.json"
in_clone || wrong "make clean fails"
if [ -e "$clone/.lab" ] || [ -e "$clone/bin" ]; then wrong "make clean left something"; fi
