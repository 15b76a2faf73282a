#!/bin/sh
# Stands in for the binary in a test of the launcher: writes its ready file and waits.
[ "$1" = version ] && exit 0
while [ $# -gt 1 ]; do
  [ "$1" = --ready-file ] && echo '{"http": "127.0.0.1:1", "dns": "127.0.0.1:2"}' >"$2"
  shift
done
exec sleep 300
