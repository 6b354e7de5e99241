#!/bin/sh
# The root of the Postgres image: the server and psql, without the just-in-time compiler (which alone weighs twice the
# rest, and which the server does without) and without Debian's Perl wrappers. Uid and gid are the stock image's.
set -eu
here=$(dirname "$0")
# shellcheck source=vagrant/images/common.sh
. "$here/../common.sh"

base "$1" postgres 999 999 /var/lib/postgresql
owned "$1" 999 999 0755 /var/lib/postgresql
owned "$1" 999 999 0700 /var/lib/postgresql/data
owned "$1" 999 999 1777 /run/postgresql
install -D -m 0755 "$here/entrypoint.sh" "$1/usr/local/bin/docker-entrypoint.sh"
for program in "$1"/usr/lib/postgresql/*/bin/*; do
	ln -sf "${program#"$1"}" "$1/usr/local/bin/${program##*/}"
done
rm -rf "$1"/usr/bin/perl* "$1"/usr/share/perl* "$1"/usr/lib/*/perl* "$1"/usr/share/postgresql-common \
	"$1"/usr/bin/psql "$1"/usr/bin/pg_* "$1"/usr/lib/*/libLLVM* "$1"/usr/lib/llvm* "$1"/usr/lib/*/libz3* \
	"$1"/usr/lib/postgresql/*/lib/bitcode "$1"/usr/lib/postgresql/*/lib/llvmjit* "$1"/usr/lib/postgresql/*/lib/pgxs \
	"$1"/usr/lib/postgresql/*/lib/plperl*
