#!/bin/sh
# Honours what the lab uses of the stock image's environment: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, each also as
# …_FILE, POSTGRES_INITDB_ARGS and PGDATA. Scripts in /docker-entrypoint-initdb.d are not supported.
set -eu

case ${1:-} in
-*) set -- postgres "$@" ;;
esac
if [ "${1:-}" != postgres ]; then exec "$@"; fi

fail() {
	echo "postgres: $*" >&2
	exit 1
}

# value NAME DEFAULT: $NAME, else the content of the file $NAME_FILE, else DEFAULT.
value() {
	eval "direct=\${$1:-} file=\${${1}_FILE:-}"
	if [ -n "$direct" ]; then
		[ -z "$file" ] || fail "both $1 and ${1}_FILE are set; one must do"
		printf '%s' "$direct"
	elif [ -n "$file" ]; then
		[ -r "$file" ] || fail "${1}_FILE: cannot read $file"
		cat "$file"
	else
		printf '%s' "$2"
	fi
}

# create makes the cluster. It grows in a folder of its own and is moved into place with PG_VERSION last, so that a
# container killed in between is not taken for one that has its data.
create() {
	user=$(value POSTGRES_USER postgres)
	password=$(value POSTGRES_PASSWORD "")
	database=$(value POSTGRES_DB "$user")
	[ -n "$password" ] || fail "a new database wants a superuser password: set POSTGRES_PASSWORD_FILE"

	new=$PGDATA/.new
	if [ -e "$new" ]; then
		echo "postgres: the last attempt to make the database was interrupted; starting over"
		find "$PGDATA" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
	elif [ -n "$(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found | head -n 1)" ]; then
		fail "$PGDATA holds files, but no database; give it an empty volume"
	fi
	mkdir -m 0700 "$new"

	pwfile=$new.password
	(umask 0077 && printf '%s\n' "$password" >"$pwfile")
	# shellcheck disable=SC2086
	initdb --pgdata "$new" --username "$user" --pwfile "$pwfile" --encoding UTF8 --no-locale \
		--auth-local trust --auth-host scram-sha-256 ${POSTGRES_INITDB_ARGS:-} >/dev/null
	rm "$pwfile"
	cat >>"$new/postgresql.conf" <<-'EOF'
		listen_addresses = '*'
		unix_socket_directories = '/run/postgresql'
	EOF
	echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
	if [ "$database" != postgres ]; then
		# In single-user mode each line is a command; quotes within a name are doubled.
		printf 'CREATE DATABASE "%s"\n' "$(printf '%s' "$database" | sed 's/"/""/g')" |
			postgres --single -D "$new" postgres >/dev/null
	fi

	find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv {} "$PGDATA/" \;
	sync "$PGDATA"
	mv "$new/PG_VERSION" "$PGDATA/PG_VERSION"
	rmdir "$new"
	sync "$PGDATA"
	echo "postgres: made database $database for user $user"
}

mkdir -p "$PGDATA"
chmod 0700 "$PGDATA" 2>/dev/null || true
if [ ! -s "$PGDATA/PG_VERSION" ]; then create; fi
exec "$@"
