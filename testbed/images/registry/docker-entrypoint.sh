#!/bin/sh
# SPDX-License-Identifier: MIT
# As in the official image: a configuration file alone means `registry serve`.
set -eu

case "${1:-/etc/docker/registry/config.yml}" in
*.yaml | *.yml) set -- registry serve "$@" ;;
serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac

exec "$@"
