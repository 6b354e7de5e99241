#!/bin/sh
# As in the stock image: arguments alone are redis-server's. Before it starts, its log is made readable where a power loss has torn it.
set -eu
case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac
# Files are Redis's own business: its append-only file holds votes.
umask 0077

# cut_zeros: where power was lost the append-only file may end in zeros: the file system had noted that it grows, and not yet by what. Redis
# forgives a file that ends early, but not zeros, and would never start again. No command ends in a zero, so nothing that was kept is
# cut off; and what was being written was not acknowledged. Whatever else may be wrong is left to somebody who looks at it.
cut_zeros() {
	manifest=appendonlydir/appendonly.aof.manifest
	[ -f $manifest ] || return 0
	log=appendonlydir/$(sed -n 's/^file \([^ ]*\) seq [0-9]* type i.*/\1/p' $manifest | tail -n 1)
	[ -f "$log" ] || return 0
	# Far more than is written at a time.
	window=1048576
	zeros=$(tail -c $window "$log" | tr -c '\000' x | tr '\000' 0 | sed 's/.*x//' | tr -d '\n' | wc -c)
	if [ "$zeros" -gt 0 ] && [ "$zeros" -lt $window ]; then
		truncate -s $(($(stat -c %s "$log") - zeros)) "$log"
		echo "redis: $log ended in $zeros zeros, as a power loss leaves them; cut off"
	fi
}

if [ "${1:-}" = redis-server ]; then cut_zeros; fi
exec "$@"
