#!/bin/sh
# SPDX-License-Identifier: MIT
# As in the official image: root gives the folder to the image's user and becomes that user; `server` gets folder and sizes.
set -eu
export GODEBUG="${GODEBUG:+$GODEBUG,}fips140=on"

if [ "$(id -u)" = 0 ]; then
  [ "$(stat -c %u:%g /data)" = 1000:1000 ] || chown -R seaweed:seaweed /data
  exec setpriv --reuid seaweed --regid seaweed --init-groups "$0" "$@"
fi

if [ "$1" = server ]; then
  shift
  exec weed -logtostderr=true server -dir=/data -volume.max=0 -master.volumeSizeLimitMB=1024 "$@"
fi

exec weed "$@"
