#!/bin/sh
# SPDX-License-Identifier: MIT
# As in the official image: options or a *.conf file alone mean redis-server; root steps down to the user redis.
set -eu

case "${1:-redis-server}" in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown -R redis .
  exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi

exec "$@"
