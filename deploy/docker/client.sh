#!/bin/sh
# client.sh TAG: the image of the client container.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# Docker's classic builder prints a notice each time: said only with a failure.
build() { docker build "$@" >"$context.log" 2>&1 || { cat "$context.log" >&2; rm -f "$context.log"; return 1; }; rm -f "$context.log"; }
cp "$here/Dockerfile" "$context/Dockerfile"
build -q --target client -t "$1" "$context"
