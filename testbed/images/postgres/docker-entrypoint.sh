#!/bin/sh
# SPDX-License-Identifier: MIT
# The contract of the official image: initialise an empty data directory from the POSTGRES_* variables,
# then hand over to the server. Trust on the local socket, scram for every other host.
set -eu

case "${1:-postgres}" in
-*) set -- postgres "$@" ;;
esac

if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown postgres "$PGDATA" /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

# As the official image from 18 on: where the data of an older one would be mounted, it would not be found.
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ] && [ "$PGDATA" = "$DEFAULT_PGDATA" ]; then
  case "$PGDATA" in */docker)
    if mountpoint -q /var/lib/postgresql/data; then
      echo "Error: from 18 on the volume belongs to /var/lib/postgresql, or PGDATA has to name the place of the data" >&2
      exit 1
    fi
    ;;
  esac
fi

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  user="${POSTGRES_USER:-postgres}"
  database="${POSTGRES_DB:-$user}"
  method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
    echo '       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.' >&2
    exit 1
  fi
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  passwords="$(mktemp)"
  printf '%s\n' "${POSTGRES_PASSWORD:-}" > "$passwords"
  # POSTGRES_INITDB_ARGS is a list of arguments in one variable, hence without quotes.
  # shellcheck disable=SC2086
  if [ -n "${POSTGRES_PASSWORD:-}" ]; then
    initdb --username="$user" --pwfile="$passwords" ${POSTGRES_INITDB_ARGS:-}
  else
    initdb --username="$user" ${POSTGRES_INITDB_ARGS:-}
  fi
  rm -f "$passwords"
  printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
  # The temporary server listens on the socket only: nobody takes it for ready while it initialises.
  shift
  pg_ctl -D "$PGDATA" -w -o "-c listen_addresses= $(printf "%s " "$@")" start
  if [ "$database" != postgres ]; then
    psql -v ON_ERROR_STOP=1 --username "$user" --no-password --dbname postgres --set db="$database" <<'SQL'
CREATE DATABASE :"db";
SQL
  fi
  for script in /docker-entrypoint-initdb.d/*.sql; do
    [ -e "$script" ] || continue
    psql -v ON_ERROR_STOP=1 --username "$user" --no-password --dbname "$database" -f "$script"
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  echo 'PostgreSQL init process complete; ready for start up.'
  set -- postgres "$@"
fi

exec "$@"
