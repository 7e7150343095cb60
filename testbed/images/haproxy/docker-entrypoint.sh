#!/bin/sh
# SPDX-License-Identifier: MIT
# As in the official image: master-worker mode in the foreground.
set -eu

case "${1:-haproxy}" in
-*) set -- haproxy "$@" ;;
esac

if [ "$1" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi

exec "$@"
