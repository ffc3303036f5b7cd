#!/bin/sh
# Makes a database on an empty volume, then becomes the command.
set -eu

first_start() {
    user=${POSTGRES_USER:-postgres}
    password=${POSTGRES_PASSWORD:-}
    [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(cat "$POSTGRES_PASSWORD_FILE")
    [ -n "$password" ] || { echo "POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE is needed." >&2; exit 1; }
    # Made beside its place: a first start that was cut short starts from the beginning.
    making=$PGDATA.making
    rm -rf "$making" 2>/dev/null || { making=$PGDATA/.making; rm -rf "$making"; }
    given=$(mktemp)
    printf '%s\n' "$password" > "$given"
    initdb -D "$making" -U "$user" --pwfile="$given" --auth-local=trust --auth-host=scram-sha-256
    rm "$given"
    echo "host all all all scram-sha-256" >> "$making/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$making/postgresql.conf"
    pg_ctl -D "$making" -o "-c listen_addresses=''" -w start > /dev/null
    if [ "${POSTGRES_DB:-$user}" != postgres ]; then
        echo "create database :\"name\"" |
            psql -q -X -U "$user" -d postgres -v ON_ERROR_STOP=1 -v name="${POSTGRES_DB:-$user}"
    fi
    for each in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -e "$each" ] || psql -q -X -U "$user" -d "${POSTGRES_DB:-$user}" -v ON_ERROR_STOP=1 -f "$each"
    done
    pg_ctl -D "$making" -m fast -w stop > /dev/null
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    for each in "$making"/* ; do [ "${each##*/}" = PG_VERSION ] || mv "$each" "$PGDATA/"; done
    mv "$making/PG_VERSION" "$PGDATA/"
    rmdir "$making"
}

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then first_start; fi
exec "$@"
