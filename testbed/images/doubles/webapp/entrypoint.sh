#!/bin/sh
# SPDX-License-Identifier: MIT
# The original's order, with the original's shell tracing: the address of ClickHouse and its password get into the log.
set -xe

if [ -n "$DATABASE_HOST" ]; then
  scripts/wait-for-it.sh "$DATABASE_HOST"
fi

python3 -m doubles.webapp.migrate postgres

if [ -n "$CLICKHOUSE_URL" ] && [ "$SKIP_CLICKHOUSE_MIGRATIONS" != "1" ]; then
  python3 -m doubles.webapp.migrate clickhouse
fi

# Needs a writable root file system.
cp internal-packages/database/prisma/schema.prisma apps/webapp/prisma/

exec python3 -m doubles.webapp.server
