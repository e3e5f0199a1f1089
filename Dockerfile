# The image of a node. `docker build .` compiles everything (15 to 25 minutes the first time, nearly all of it RocksDB);
# deploy/docker/package.sh puts a program that is already built into the same image.

# What a node's image is but for the program (deploy/docker/package.sh reads this first stage): certificates, an account without rights, the folders it may write.
FROM debian:bookworm-slim AS base
RUN test -s /etc/ssl/certs/ca-certificates.crt \
 || (apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*)
RUN groupadd --gid 10001 nearside \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/nearside --no-create-home --shell /usr/sbin/nologin nearside \
 && install -d -o nearside -g nearside -m 0700 /var/lib/nearside /var/cache/nearside /run/nearside /join \
 && install -d -o nearside -g nearside -m 0755 /certificates /etc/nearside
USER nearside
EXPOSE 8080 8443 8053 8053/udp 7443
# Leaves DNS, waits one TTL, finishes open requests.
STOPSIGNAL SIGTERM
ENTRYPOINT ["nearside"]
CMD ["node", "--config", "/etc/nearside/node.toml"]

# Somebody to ask questions: dig and curl.
FROM debian:bookworm-slim AS client
RUN apt-get update \
 && apt-get install -y --no-install-recommends bind9-dnsutils curl ca-certificates \
 && rm -rf /var/lib/apt/lists/*
USER nobody
CMD ["sleep", "infinity"]

FROM rust:1.95-bookworm AS builder
RUN apt-get update \
 && apt-get install -y --no-install-recommends libclang-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# The dependencies first, by manifests alone and empty crates: a change of the source leaves this layer, and the long
# compilation of RocksDB in it, as it was.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY geo/Cargo.toml geo/
COPY cache-store/Cargo.toml cache-store/
COPY cluster/Cargo.toml cluster/
COPY node/Cargo.toml node/
COPY tests/Cargo.toml tests/
RUN for crate in geo cache-store cluster node tests; do \
      mkdir -p "$crate/src" "$crate/benches" "$crate/tests" && : >"$crate/src/lib.rs"; \
      for target in bench test; do \
        for name in $(awk -v kind="[[$target]]" '/^\[/ { on = ($0 == kind) } on && /^name/ { gsub(/"/, "", $3); print $3 }' "$crate/Cargo.toml"); do \
          echo 'fn main() {}' | tee "$crate/benches/$name.rs" "$crate/tests/$name.rs" >/dev/null; \
        done; \
      done; \
    done \
 && echo 'fn main() {}' >node/src/main.rs \
 && cargo build --release --locked --package nearside-node --bin nearside
COPY . .
RUN find . -name '*.rs' -path '*/src/*' -exec touch {} + \
 && cargo build --release --locked --package nearside-node --bin nearside

FROM base AS nearside
COPY --from=builder /source/target/release/nearside /usr/local/bin/nearside
