#!/bin/sh
# check.sh PROGRAM: puts the program into an image, brings docker-compose.yml up and checks what it promises:
# DNS by client subnet, miss and hit, HTTPS, a purge on every node, a killed container that is missed by nobody.
# The last line is 'N passed, N failed'. Everything it made is taken down at the end.
set -u
program=$1
cd "$(dirname "$0")/../.." || exit 1

if docker compose version >/dev/null 2>&1; then compose='docker compose'; else compose='docker-compose'; fi
NEARSIDE_IMAGE=nearside:check
NEARSIDE_CLIENT_IMAGE=nearside-client:check
# Beside a cluster that may run from the same file.
NEARSIDE_NET=${NEARSIDE_NET:-172.30}
COMPOSE_PROJECT_NAME=nearside-check
export NEARSIDE_IMAGE NEARSIDE_CLIENT_IMAGE NEARSIDE_NET COMPOSE_PROJECT_NAME

passed=0
failed=0
nodes='eu1 eu2 us1 us2 ap1'
host=shop.edge.example

ok() { passed=$((passed + 1)); echo "ok      $*"; }
bad() { failed=$((failed + 1)); echo "FAILED  $*"; }
fact() { # text, command…
  text=$1; shift
  if "$@"; then ok "$text"; else bad "$text"; fi
}
finish() {
  if [ "$failed" != 0 ]; then
    for service in init $nodes; do
      echo "== $service"; $compose logs --no-color --tail 20 "$service" 2>&1 | cut -c1-300
    done
  fi
  $compose --profile client down -v --remove-orphans -t 2 >/dev/null 2>&1
  docker image rm nearside:check >/dev/null 2>&1
  echo
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
  exit
}
trap 'failed=$((failed + 1)); finish' INT TERM

# Runs a test until it holds, for so many seconds at most; leaves the seconds it took in $took.
eventually() {
  limit=$1; shift
  begin=$(date +%s)
  until "$@"; do
    took=$(($(date +%s) - begin))
    [ "$took" -lt "$limit" ] || return 1
    sleep 0.5
  done
  took=$(($(date +%s) - begin))
}

ask() { $compose exec -T client "$@" 2>/dev/null; }
on() { node=$1; shift; $compose exec -T "$node" nearside "$@" 2>&1; }
address() {
  case $1 in
    eu1) echo "$NEARSIDE_NET.1.11" ;; eu2) echo "$NEARSIDE_NET.1.12" ;;
    us1) echo "$NEARSIDE_NET.2.11" ;; us2) echo "$NEARSIDE_NET.2.12" ;;
    ap1) echo "$NEARSIDE_NET.3.11" ;;
  esac
}
# Where the DNS of a node sends a client of a network.
sent() { ask dig "@$(address "$1")" "$host" A "+subnet=$2" +short +time=2 +tries=2 | head -n 1 | tr -d '\r'; }
is_sent() { [ "$(sent "$1" "$2")" = "$(address "$3")" ]; }
is_healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$($compose ps -q "$1")" 2>/dev/null)" = healthy ]; }
fetch() { node=$1; path=$2; shift 2; ask curl -sS -m 10 -i --resolve "$host:80:$(address "$node")" --resolve "$host:443:$(address "$node")" "$@" "http://$host$path"; }
says() { pattern=$1; shift; "$@" | grep -qi -- "$pattern"; }
publish() { # the next edition, at both origins
  for origin in eu us; do
    docker run --rm --network "${COMPOSE_PROJECT_NAME}_between" "$NEARSIDE_CLIENT_IMAGE" \
      curl -sS -m 10 -X POST "http://$origin.origin.between:9000/.demo/publish" >/dev/null || return 1
  done
}

deploy/docker/base-images.sh || { bad "base images"; finish; }
fact "the image is made from the program" deploy/docker/package.sh "$program" "$NEARSIDE_IMAGE"
fact "the client's image is made" deploy/docker/client.sh "$NEARSIDE_CLIENT_IMAGE"
[ "$failed" = 0 ] || finish
$compose --profile client down -v --remove-orphans -t 2 >/dev/null 2>&1

said=$($compose --profile client up -d --no-build 2>&1) && up=yes || up=no
fact "docker-compose.yml comes up" [ "$up" = yes ]
[ "$up" = yes ] || { echo "$said" | tail -n 20; finish; }

for node in $nodes; do fact "$node is healthy" eventually 120 is_healthy "$node"; done
[ "$failed" = 0 ] || finish

for node in $nodes; do
  fact "$node sends a client in the United Kingdom to eu1" eventually 20 is_sent "$node" 81.2.69.0/24 eu1
  fact "$node sends a client in Mexico to us2" eventually 5 is_sent "$node" 132.248.10.0/24 us2
  fact "$node sends a client in Japan to ap1" eventually 5 is_sent "$node" 133.11.0.0/24 ap1
done

fact "the first request is a miss" says '^cache-status:.*fwd=' fetch ap1 /news
fact "the second one is a hit" says '^cache-status:.*hit' fetch ap1 /news
fact "HTTPS with the throw-away authority" says '^HTTP/2 200' ask curl -sS -m 10 -i --cacert /certificates/ca.pem --resolve "$host:443:$(address eu2)" "https://$host/news"
fact "a client that asks Docker's resolver is steered by the nodes" says 'edition 1' ask curl -sS -m 10 "http://$host/news"
fact "an unknown host is 421" says '^HTTP/1.1 421' ask curl -sS -m 10 -i -H 'Host: other.example' "http://$(address us1)/"

for node in $nodes; do fetch "$node" /news >/dev/null; fact "$node has the first edition" says 'edition 1' fetch "$node" /news; done
fact "the origins publish the next edition" publish
purged=$(on us1 purge "http://$host/news" --wait applied); status=$?
echo "$purged" | sed 's/^/        /'
fact "a purge on us1 is applied everywhere" [ "$status" = 0 ]
for node in $nodes; do fact "$node gives the second edition" says 'edition 2' fetch "$node" /news; done

docker kill "$($compose ps -q eu1)" >/dev/null
fact "eu1 killed: its clients are sent to eu2" eventually 15 is_sent us1 81.2.69.0/24 eu2
echo "        after $took s"
fact "and are served there" says 'edition 2' fetch eu2 /news
fact "a purge names who is missing, and reaches the living" says eu1 on ap1 purge --site shop --all --wait applied
docker start "$($compose ps -q -a eu1 2>/dev/null || $compose ps -q eu1)" >/dev/null
fact "eu1 started again: it is healthy" eventually 60 is_healthy eu1
fact "and gets its clients again" eventually 30 is_sent us1 81.2.69.0/24 eu1

user=$($compose exec -T eu2 id -u | tr -d '\r')
fact "a node runs without rights (user $user)" [ "$user" = 10001 ]
fact "its root file system cannot be written" sh -c "! $compose exec -T eu2 touch /usr/local/x 2>/dev/null"
fact "the join volume holds the token and nothing else" [ "$($compose exec -T eu2 ls /join | tr -d '\r')" = token ]

finish
