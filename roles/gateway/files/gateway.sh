#!/bin/sh
# Ansible managed (selfhosted.trigger_dev)
# SPDX-License-Identifier: MIT
# Inside the gateway's container: `run`, `validate`, or `reload`, which takes the configuration if another one is in use, and says so.
set -eu

# Calls of this host's own containers come from the gateway of the network that ports are published on (measured).
HOST_ADDRESS=$(ip route | awk '$1 == "default" {print $3}')
export HOST_ADDRESS="${HOST_ADDRESS:-127.0.0.1}"

export XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
if [ -e /etc/caddy/environment ]; then
  set -a
  . /etc/caddy/environment
  set +a
fi

configuration="--config /etc/caddy/Caddyfile --adapter caddyfile"
in_use=/tmp/in-use
present() { find /etc/caddy -type f | sort | xargs sha256sum; }

case $1 in
run)
  present > $in_use
  # shellcheck disable=SC2086
  exec caddy run $configuration
  ;;
validate)
  export XDG_DATA_HOME=/tmp/data
  # shellcheck disable=SC2086
  exec caddy validate $configuration
  ;;
reload)
  wanted=$(present)
  if [ "$wanted" != "$(cat $in_use)" ]; then
    # Also where only a certificate is another one: its path in the configuration is the same.
    # shellcheck disable=SC2086
    caddy reload $configuration --force >&2
    echo "$wanted" > $in_use
    echo reloaded
  fi
  ;;
esac
