#!/bin/sh
# The root of the HAProxy image. Uid and gid are the stock image's.
set -eu
here=$(dirname "$0")
# shellcheck source=vagrant/images/common.sh
. "$here/../common.sh"

base "$1" haproxy 99 99 /var/lib/haproxy
owned "$1" 99 99 0755 /var/lib/haproxy
mkdir -p "$1/usr/local/etc/haproxy"
install -D -m 0755 "$here/entrypoint.sh" "$1/usr/local/bin/docker-entrypoint.sh"
rm -rf "$1/etc/haproxy" "$1/usr/bin/perl"* "$1/usr/share/perl"* "$1/usr/lib"/*/perl*
