#!/bin/sh
# The root of the Redis image. Uid and gid are the stock image's, so that a volume fits both.
set -eu
here=$(dirname "$0")
# shellcheck source=vagrant/images/common.sh
. "$here/../common.sh"

base "$1" redis 999 999 /data
owned "$1" 999 999 0755 /data
install -D -m 0755 "$here/entrypoint.sh" "$1/usr/local/bin/docker-entrypoint.sh"
rm -rf "$1/etc/redis" "$1/usr/bin/perl"* "$1/usr/share/perl"* "$1/usr/lib"/*/perl*
