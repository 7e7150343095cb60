#!/bin/sh
# SPDX-License-Identifier: MIT
# Waits 15 seconds for host:port.
case "$1" in
*:*) ;;
*)
  echo 'Error: you need to provide a host and port to test.' >&2
  exit 1
  ;;
esac
host="${1%:*}"
port="${1##*:}"
tries=0
until nc -z "$host" "$port"; do
  tries=$((tries + 1))
  if [ "$tries" -ge 15 ]; then
    echo "wait-for-it.sh: timeout occurred after waiting 15 seconds for $1" >&2
    exit 124
  fi
  sleep 1
done
