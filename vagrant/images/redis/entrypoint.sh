#!/bin/sh
# As in the stock image: arguments alone are redis-server's.
set -eu
case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac
# Files are Redis's own business: its append-only file holds votes.
umask 0077
exec "$@"
