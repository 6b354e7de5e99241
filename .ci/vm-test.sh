#!/bin/bash -p
# vm-test.sh: the lab on six virtual machines, from nothing to nothing: plain `vagrant up`, votes, crashes, power loss, suspension,
# clocks, `vagrant destroy`. Emulates the machines where there is no KVM; then it takes the better part of an hour on two
# cores; LONG=1 adds what takes too long for that: bad links, and what a Redis that does not sync loses with the power. Prints what each
# phase took.
set -euo pipefail
cd "$(dirname "$0")/.."

# It calls vagrant itself, which must not work, and in the end destroy, somewhere else.
unset VAGRANT_CWD VAGRANT_DOTFILE_PATH VAGRANT_VAGRANTFILE
export PROVIDER=libvirt LAB_NAME=${LAB_NAME:-swarmlab-vm} LAB_SUBNET=${LAB_SUBNET:-192.168.57.0/24} LAB_PORT_BASE=${LAB_PORT_BASE:-22000}
if [ -n "$(find .vagrant/machines -name id 2>/dev/null)" ]; then
	echo "vm-test: the lab of this clone is up; take it down first: make down" >&2
	exit 1
fi
# What was remembered of a lab that vagrant destroyed would be taken for this one's.
rm -f .lab/settings.json

rows=()
begun=$SECONDS
phase() { # phase WHAT COMMAND…
	local what=$1 start=$SECONDS
	shift
	echo "== $what: $*"
	"$@"
	rows+=("$(printf '%-36s %2d min %2d s' "$what" $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)))")
}

virsh() { command virsh --quiet --connect qemu:///system "$@"; }

# what is left of the lab in libvirt
left() {
	virsh list --all --name | grep "^$LAB_NAME-" || true
	virsh net-list --all --name | grep "^$LAB_NAME" || true
	virsh vol-list default 2>/dev/null | awk '{print $1}' | grep "^$LAB_NAME-" || true
}

nothing_left() {
	local names
	names=$(left)
	if [ -n "$names" ]; then
		echo "vm-test: destroyed, and yet there is: $names" >&2
		return 1
	fi
}

finish() {
	status=$?
	trap - EXIT
	if [ -d .vagrant/machines ]; then
		echo "== cleaning up"
		YES=1 make down || status=1
	fi
	printf '\n'
	printf '%s\n' "${rows[@]}" "$(printf '%-36s %2d min %2d s' "in all" $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)))"
	exit $status
}
trap finish EXIT

# Built once, while there is nobody yet to take the processors from.
tests=$PWD/.lab/integration.test
build_tests() { go test -tags integration,long -c -o "$tests" ./lab/test/integration; }
run_tests() { env -C lab/test/integration "$tests" -test.timeout 60m -test.v -test.run "^($1)\$"; }

phase "prerequisites" bash -c '.ci/newer-qemu.sh && make prerequisites'
phase "box" make box
phase "tests are built" build_tests
phase "vagrant up, to the first vote" vagrant up --provider=libvirt
phase "members, identities, votes" run_tests 'TestSwarmHasItsMembers|TestNodesHaveTheirOwnIdentity|TestEveryVoteIsCounted'
phase "containers crash" run_tests TestCrashesUnderVotes
phase "a frontend loses power" run_tests TestAFrontendDiesUnderVotes
phase "a disk is full under votes" run_tests TestFillUnderVotes
phase "a clock is off under votes" run_tests TestSkewUnderVotes
if [ -n "${LONG:-}" ]; then
	phase "links are bad under votes" run_tests TestLinkFaultsUnderVotes
	phase "power takes what is not synced" run_tests TestPowerTakesWhatIsNotSynced
fi
phase "a node is halted and up again" run_tests TestVagrantHaltAndUp
phase "all machines suspended" run_tests TestALabThatSleptIsReady
phase "a clock is set wrong" run_tests TestAWrongClockIsSetRight
phase "vagrant up again" vagrant up
phase "vagrant destroy" vagrant destroy --force
nothing_left
