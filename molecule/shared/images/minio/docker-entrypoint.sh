#!/bin/sh
# SPDX-License-Identifier: MIT
# As in the official image: the command line is that of minio, with or without its name.
set -eu

if [ "${1:-}" != minio ]; then
  set -- minio "$@"
fi

exec "$@"
