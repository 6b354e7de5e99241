# Sourced by the scripts that take root for a part of what they do.
# shellcheck shell=bash

# proxies prints the variables that say how downloads are made, a line each: sudo takes them away.
proxies() {
	env | grep -iE '^((https?|ftp|all|no)_proxy)=.' || true
}

# as_root COMMAND…: as root, or through sudo; fails where there is neither.
as_root() {
	local proxy through=()
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		while IFS= read -r proxy; do through+=("$proxy"); done < <(proxies)
		sudo env ${through[@]+"${through[@]}"} "$@"
	else
		return 1
	fi
}
