#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes the configuration for the switches that are on, then runs HAProxy as its official image does.
set -eu

case "${DISABLE_IPV6:-0}" in
1 | true | yes) bind=":2375" ;;
*) bind="[::]:2375 v4v6" ;;
esac

parts=""
for part in AUTH BUILD COMMIT CONFIGS CONTAINERS DISTRIBUTION EVENTS EXEC GRPC IMAGES INFO NETWORKS NODES _PING PLUGINS SECRETS SERVICES SESSION \
  SWARM SYSTEM TASKS VERSION VOLUMES; do
  if [ "$(printenv "${part#_}" || echo 0)" = 1 ]; then
    parts="$parts|$(echo "$part" | tr '[:upper:]' '[:lower:]')"
  fi
done

sed -e "s/@BIND@/$bind/" -e "s/@PARTS@/${parts#|}/" /usr/local/etc/haproxy/haproxy.cfg.template >/tmp/haproxy.cfg

if [ "$1" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi

exec "$@"
