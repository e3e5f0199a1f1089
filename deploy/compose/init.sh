#!/bin/sh
# Makes the cluster of docker-compose.yml on its first node, publishes zone and site, and leaves the join token.
# Where the token lies already, the cluster was made by an earlier start: there is nothing to do.
set -eu
[ ! -s /join/token ] || exit 0

tries=0
until nearside status --check live >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -le 120 ] || { echo "init: the first node does not answer" >&2; exit 1; }
  sleep 0.5
done

nearside status --check ready >/dev/null 2>&1 || nearside cluster init
nearside zone apply /zone.toml
nearside site apply /site.toml

umask 077
nearside join-token new --ttl 24h --uses 4 >/join/token.new
mv /join/token.new /join/token
