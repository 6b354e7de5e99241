# Sourced by .ci/run: makes room for a lab of our own on a host that may already run one. Everything goes by the labels that each
# lab puts on its node containers, volumes and networks: swarmlab.lab (its name) and swarmlab.folder (its clone).
# shellcheck shell=bash

# clone_is_gone FOLDER: the folder is known not to be there. One that may not be looked into, or that a disk which hangs
# has, may belong to somebody.
clone_is_gone() {
	[[ -n $1 && $(LC_ALL=C stat -- "$1" 2>&1) == *'No such file or directory'* ]]
}

# nodes_miss_their_folder FOLDER: nodes of the clone that was there run, and each has mounted what was deleted. Else the clone may have been moved.
nodes_miss_their_folder() {
	local id some=no
	for id in $(docker ps -q --filter "label=swarmlab.folder=$1"); do
		docker exec "$id" grep -q '//deleted /opt/swarmlab ' /proc/self/mountinfo || return 1
		some=yes
	done
	[ $some = yes ]
}

# A lab whose clone was deleted belongs to nobody any more: an earlier CI run that was cut off.
remove_orphaned_labs() {
	command -v docker >/dev/null && docker info >/dev/null 2>&1 || return 0
	local folder
	docker ps -aq --filter label=swarmlab.lab | xargs -r docker inspect -f '{{index .Config.Labels "swarmlab.folder"}}' | sort -u |
		while IFS= read -r folder; do
			if clone_is_gone "$folder" && nodes_miss_their_folder "$folder"; then
				docker ps -aq --filter "label=swarmlab.folder=$folder" | xargs -r docker rm -fv >/dev/null
				docker volume ls -q --filter "label=swarmlab.folder=$folder" | xargs -r docker volume rm >/dev/null
				docker network ls -q --filter "label=swarmlab.folder=$folder" | xargs -r docker network rm >/dev/null
			fi
		done
}

# The default lab where its name, subnet and ports are free, else the first numbered one whose are.
choose_free_lab() {
	[ -z "${LAB_NAME:-}${LAB_SUBNET:-}${LAB_PORT_BASE:-}" ] || return 0
	if lab_is_free swarmlab 192.168.33 19011 8080 8081; then return 0; fi
	local n
	for n in $(seq 1 20); do
		local base=$((19000 + 1000 * n))
		if lab_is_free "ci$n" "192.168.$((100 + n))" $((base + 11)) $((base + 880)) $((base + 881)); then
			export LAB_NAME="ci$n" LAB_SUBNET="192.168.$((100 + n)).0/24" LAB_PORT_BASE=$base
			echo "the default lab is taken on this host: using $LAB_NAME, $LAB_SUBNET, ports from $LAB_PORT_BASE"
			return 0
		fi
	done
	echo "no room for another lab on this host: take one down with 'make down' in its clone" >&2
	return 1
}

# lab_is_free NAME SUBNET_PREFIX PORT...: where an engine that runs does not tell, it may be taken.
lab_is_free() {
	local name=$1 prefix=$2 port containers
	shift 2
	if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
		containers=$(docker ps -aq --filter "label=swarmlab.lab=$name") || return 1
		[ -z "$containers" ] || return 1
	fi
	if command -v ip >/dev/null && ip -4 -o addr show | grep -q " $prefix\."; then return 1; fi
	for port in "$@"; do
		if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return 1; fi
	done
}
