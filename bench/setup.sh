#!/bin/sh
# Installs the servers and load generators that bench/ compares with, from Debian's packages. None is started by it.
set -eu
[ "$(id -u)" = 0 ] || { echo "setup: run as root" >&2; exit 1; }
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
  # Debian starts what it installs, unless this says no.
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  made=yes
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
apt-get update -qq || true
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  nginx-light varnish trafficserver gdnsd wrk nghttp2-client dnsperf bind9-dnsutils curl openssl valgrind linux-perf strace \
  iproute2 util-linux \
  </dev/null >/dev/null
