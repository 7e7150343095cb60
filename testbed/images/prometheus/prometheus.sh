# SPDX-License-Identifier: MIT
# Flags of release 3 as release 2 of Debian calls them, which cannot receive OTLP. One that neither knows ends the program, as it does in the genuine image.
for flag; do
  shift
  case $flag in
    --web.enable-otlp-receiver) ;;
    --agent) set -- "$@" --enable-feature=agent ;;
    --enable-feature=*) echo "unknown feature of release 3: $flag" >&2; exit 1 ;;
    *) set -- "$@" "$flag" ;;
  esac
done
exec /usr/bin/prometheus "$@"
