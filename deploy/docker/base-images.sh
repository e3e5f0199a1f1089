#!/bin/sh
# Base images for a machine that has a Docker engine and cannot reach an image registry.
#   base-images.sh            debian:bookworm-slim, by debootstrap from Debian's packages
#   base-images.sh --rust     also rust:1.95-bookworm: that image with this machine's own toolchain in it, and with the
#                             authorities that this machine trusts (its way to the registry may need one of them)
# An image that is there already is left alone. Needs root and Debian (or a system with debootstrap).
set -eu

have() { docker image inspect "$1" >/dev/null 2>&1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! have debian:bookworm-slim; then
  if ! command -v debootstrap >/dev/null 2>&1; then
    echo "base-images: installing debootstrap"
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap </dev/null >/dev/null
  fi
  echo "base-images: making debian:bookworm-slim"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/log" 2>&1 ||
    { tail "$work/log" >&2; exit 1; }
  rm -rf "$work/root/var/cache/apt/archives" "$work/root/var/lib/apt/lists"
  mkdir -p "$work/root/var/cache/apt/archives/partial" "$work/root/var/lib/apt/lists/partial"
  tar -C "$work/root" -c . | docker import - debian:bookworm-slim >/dev/null
fi

if [ "${1:-}" = --rust ] && ! have rust:1.95-bookworm; then
  echo "base-images: making rust:1.95-bookworm"
  mkdir "$work/context"
  tar -C "$(rustc --print sysroot)" --exclude=share/doc -c . | tar -C "$work/context" --one-top-level=rust -x
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/context/authorities.crt"
  cat >"$work/context/Dockerfile" <<'END'
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make git pkg-config curl \
 && rm -rf /var/lib/apt/lists/*
COPY authorities.crt /etc/ssl/certs/ca-certificates.crt
COPY rust /usr/local/rust
ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
END
  docker build -q -t rust:1.95-bookworm "$work/context" >/dev/null
fi
