#!/bin/sh
# package.sh PROGRAM TAG: an image with a program that is already built, without compiling anything.
# The program must have been built on a system whose C library is no newer than the image's (Debian 12).
set -eu
program=$1
tag=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# Docker's classic builder prints a notice each time: said only with a failure.
build() { docker build "$@" >"$context.log" 2>&1 || { cat "$context.log" >&2; rm -f "$context.log"; return 1; }; rm -f "$context.log"; }
cp "$program" "$context/nearside"
# The first stage of the one Dockerfile, and the program on top.
awk '/^FROM / { stages++ } stages < 2' "$here/Dockerfile" >"$context/Dockerfile"
echo 'COPY nearside /usr/local/bin/nearside' >>"$context/Dockerfile"
build -q -t "$tag" "$context"
docker run --rm "$tag" --version >/dev/null ||
  { echo "package.sh: $program does not run in debian:bookworm-slim: build it on Debian 12, or use 'docker build .'" >&2; exit 1; }
