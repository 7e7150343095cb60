#!/bin/sh
# SPDX-License-Identifier: MIT
# As in the official image: the command line is that of the server, with or without the name of the program.
set -eu

if [ "${1:-}" != silo ]; then
  set -- silo "$@"
fi

exec "$@"
