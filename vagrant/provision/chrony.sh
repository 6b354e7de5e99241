#!/bin/sh
# chrony.sh ROLE AGENT-YAML: prints the chrony.conf of a virtual machine of ROLE. The manager keeps the lab's time and takes it from
# the world when that is in reach; the others take it from the manager alone: that the nodes agree matters more than that they are
# right. AGENT-YAML, which `lab up` writes, says where the manager is and which subnet is the lab's.
set -eu

if [ $# != 2 ]; then
	echo "usage: chrony.sh ROLE AGENT-YAML" >&2
	exit 2
fi

# By its address: a name may not be known yet when chrony starts.
manager=$(awk '$1 == "role:" {role = $2} $1 == "address:" && role == "manager" {print $2; exit}' "$2")
subnet=$(awk '$1 == "subnet:" {print $2; exit}' "$2")
if [ -z "$manager" ] || [ -z "$subnet" ]; then
	echo "$2 names no manager with its address, or no subnet; \`lab up\` writes it anew" >&2
	exit 1
fi

echo "# Written by swarmlab's provisioning (vagrant/provision/chrony.sh) as a whole: what is changed here is lost."
if [ "$1" = manager ]; then
	cat <<-CONF
		pool 2.debian.pool.ntp.org iburst

		# Serves the lab, and nobody else, even while the world is not in reach.
		local stratum 10
		allow $subnet
	CONF
else
	cat <<-CONF
		# Every 4 to 16 s: it is one hop away and serves a handful of nodes.
		server $manager iburst minpoll 2 maxpoll 4
	CONF
fi
cat <<CONF

# A clock that is wrong by more than half a second, as after a VM was suspended, is stepped right at any time. Steps, backwards too, do
# no harm here: votes are ordered by a hybrid logical clock, and the agents measure time by clocks that nobody steps.
makestep 0.5 -1
driftfile /var/lib/chrony/chrony.drift
rtcsync

# chronyc uses the unix socket; no port for it on the network.
cmdport 0
CONF
