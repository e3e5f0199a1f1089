#!/bin/sh
# client.sh TAG: the image of the client container.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$here/Dockerfile" "$context/Dockerfile"
docker build -q --target client -t "$1" "$context" >/dev/null
