#!/bin/sh
# As in the stock image: arguments alone are haproxy's, and it runs as a master in the foreground, which reloads its
# configuration on SIGUSR2 and ends when its connections have on SIGUSR1.
set -eu
case ${1:-} in
-*) set -- haproxy "$@" ;;
esac
if [ "${1:-}" = haproxy ]; then
	shift
	set -- haproxy -W -db "$@"
fi
exec "$@"
