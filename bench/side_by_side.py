#!/usr/bin/env python3
"""Nearside beside nginx, Varnish and Traffic Server, in one run.

Servers run on core 0, load on core 1. Every row is measured once per round, in an order that rotates, so that a noisy
minute hits all of them. Printed are medians: requests per second, the 99th percentile, the server's CPU microseconds per
request (its whole process tree), how many times less that is than the best of the others needs, its memory, and
responses that were not 2xx or 3xx.

nearside is `nearside serve` as shipped: limits, metrics and Cache-Status are on. For TLS it is a node of a cluster of one.

  bench/side_by_side.py hits         memory hits over HTTP/1.1: 1 KiB to 1 MiB
  bench/side_by_side.py log          the same at 1 KiB with access logs on, all of them
  bench/side_by_side.py conditional  If-None-Match answered with 304
  bench/side_by_side.py tls          hits over TLS 1.3, HTTP/1.1 (wrk) and HTTP/2 (h2load)
  bench/side_by_side.py passed       not cacheable, proxied with keep-alive to the origin
  bench/side_by_side.py idle         resident memory with 10,000 idle keep-alive connections
  bench/side_by_side.py all          everything, one table after the other

  [--rounds 3] [--seconds 4] [--connections 64] [--objects 1k,10k,100k,1024k] [--servers nearside,nginx,varnish,ats]
"""
import argparse
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile

from contenders import HOST, LOAD_CORE, ORIGIN, PORTS, TLS_PORTS, certificate, etag, fetch, start, start_origin
from measure import choose_network, enter_network

UNITS_MS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}
IDLE_CONNECTIONS, IDLE_PER_ADDRESS = 10_000, 200


def wrk(url, seconds, connections, headers=()):
    """One wrk run: requests/s, p99 in ms, requests, bad ones."""
    said = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency",
         *[word for header in headers for word in ("-H", header)], url],
        capture_output=True, text=True, check=True).stdout
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)),
            float(p99.group(1)) * UNITS_MS[p99.group(2)],
            int(re.search(r"(\d+) requests in", said).group(1)),
            int(bad.group(1)) if bad else 0)


def h2load(url, seconds, connections):
    """One h2load run, over HTTP/2. It tells no percentiles."""
    said = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), "h2load", "-t1", f"-c{connections}", "-m1", f"-D{seconds}", "--npn-list=h2", url],
        capture_output=True, text=True, check=True).stdout
    done = int(re.search(r"(\d+) succeeded", said).group(1))
    failed = sum(int(count) for count in re.findall(r"(\d+) (?:failed|errored|timeout)", said))
    return done / seconds, float("nan"), done, failed


class Row:
    """What is asked of one server: a label, a URL, and how the load is made."""

    def __init__(self, label, name, url, load):
        self.label, self.name, self.url, self.load = label, name, url, load


def measure(title, rows, running, options):
    """Rounds over the rows, then the table."""
    labels = list(dict.fromkeys(row.label for row in rows))
    results = {}
    for round_number in range(options.rounds):
        for label in labels:
            same = [row for row in rows if row.label == label]
            turn = round_number % len(same)
            for row in same[turn:] + same[:turn]:
                before = running[row.name].cpu_seconds()
                rate, p99_ms, requests, bad = row.load(row.url, options.seconds, options.connections)
                cpu_us = (running[row.name].cpu_seconds() - before) * 1e6 / max(requests, 1)
                results.setdefault((label, row.name), []).append((rate, p99_ms, cpu_us, bad))
    print(f"\n{title}: medians of {options.rounds} x {options.seconds} s, {options.connections} connections")
    print(f"{'':12}{'server':14}{'req/s':>10}{'p99 ms':>9}{'cpu us/req':>12}{'x best':>8}{'RSS MiB':>9}{'not 2xx':>9}")
    for label in labels:
        medians = {row.name: [statistics.median(run[column] for run in results[(label, row.name)]) for column in range(3)]
                   for row in rows if row.label == label}
        others = [cpu for name, (_, _, cpu) in medians.items() if not name.startswith("nearside")]
        for name, (rate, p99_ms, cpu_us) in medians.items():
            best = f"{min(others) / cpu_us:8.2f}" if others and name.startswith("nearside") else " " * 8
            bad = sum(run[3] for run in results[(label, name)])
            print(f"{label:12}{name:14}{rate:10.0f}{p99_ms:9.2f}{cpu_us:12.2f}{best}{running[name].rss_mib():9.0f}{bad:9d}", flush=True)


def checked(url, expected):
    """Three fetches, so that the object is stored; all must give the origin's bytes."""
    if any(fetch(url) != expected for _ in range(3)):
        raise SystemExit(f"{url} gives other bytes than the origin")
    return url


def among(options, *known):
    return [name for name in options.servers.split(",") if name in known]


def run(directory, options, names, make_rows, title, objects, **how):
    """Starts servers, checks and measures, and ends them."""
    running = {}
    try:
        for name in names:
            running[name] = start(name, directory, objects[0], **how)
        contents = {item: (directory / "objects" / item).read_bytes() for item in objects}
        measure(title, make_rows(names, contents), running, options)
    finally:
        for process in running.values():
            process.stop()


def hits(directory, options):
    objects = options.objects.split(",")

    def rows(names, contents):
        return [Row(item, name, checked(f"http://{HOST}:{PORTS[name]}/{item}", content), wrk)
                for item, content in contents.items() for name in names]
    run(directory, options, among(options, "nearside", "nginx", "varnish", "ats"), rows, "memory hits, HTTP/1.1", objects)


def log(directory, options):
    """Varnish writes no log by itself, so it has no row here."""
    def rows(names, contents):
        return [Row("1k", name, checked(f"http://{HOST}:{PORTS[name]}/1k", contents["1k"]), wrk) for name in names]
    names = [f"{name}-log" if name == "nearside" else name for name in among(options, "nearside", "nginx", "ats")]
    run(directory, options, names, rows, "memory hits with access logs on", ["1k"], log=True)


def conditional(directory, options):
    def rows(names, contents):
        made = []
        for name in names:
            url = checked(f"http://{HOST}:{PORTS[name]}/1k", contents["1k"])
            header = f"If-None-Match: {etag(url)}"
            if fetch(url, {"If-None-Match": etag(url)}) != 304:
                raise SystemExit(f"{name} does not answer with 304")
            made.append(Row("304", name, url, lambda url, seconds, many, header=header: wrk(url, seconds, many, [header])))
        return made
    run(directory, options, among(options, "nearside", "nginx", "varnish", "ats"), rows, "conditional hits", ["1k"])


def tls(directory, options):
    certificate(directory)

    def rows(names, contents):
        made = []
        for item, content in contents.items():
            for name in names:
                checked(f"http://{HOST}:{PORTS[name]}/{item}", content)
                url = f"https://{HOST}:{TLS_PORTS[name]}/{item}"
                # A cache may keep the two schemes apart.
                wrk(url, 1, 1)
                made += [Row(f"{item} h1", name, url, wrk), Row(f"{item} h2", name, url, h2load)]
        return made
    run(directory, options, among(options, "nearside", "nginx"), rows, "memory hits over TLS 1.3", ["1k", "100k"], tls=True)


def passed(directory, options):
    def rows(names, contents):
        return [Row("1k", name, checked(f"http://{HOST}:{PORTS[name]}/private/1k", contents["1k"]), wrk) for name in names]
    run(directory, options, among(options, "nearside", "nginx", "varnish", "ats"), rows, "not cacheable, passed to the origin", ["1k"])


def idle(directory, options):
    """Each connection asks once, and is kept."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE_CONNECTIONS + 1000,) * 2)
    print(f"\n{IDLE_CONNECTIONS} idle connections, each has asked once")
    print(f"{'server':14}{'RSS MiB before':>16}{'RSS MiB':>10}{'KiB each':>10}")
    for name in among(options, "nearside", "nginx"):
        process = start(name, directory, "1k")
        sockets = []
        try:
            fetch(f"http://{HOST}:{PORTS[name]}/1k")
            before = process.rss_mib()
            request = f"GET /1k HTTP/1.1\r\nHost: {HOST}:{PORTS[name]}\r\n\r\n".encode()
            for number in range(IDLE_CONNECTIONS):
                client = socket.socket()
                # A client has a limit of connections: these are many clients.
                client.bind((f"127.0.1.{1 + number // IDLE_PER_ADDRESS}", 0))
                client.settimeout(10)
                client.connect((HOST, PORTS[name]))
                client.sendall(request)
                received = 0
                while received < 1024:
                    piece = client.recv(65536)
                    if not piece:
                        raise SystemExit(f"{name} closed connection {number}")
                    received += len(piece)
                sockets.append(client)
            after = process.rss_mib()
            print(f"{name:14}{before:16.1f}{after:10.1f}{(after - before) * 1024 / IDLE_CONNECTIONS:10.2f}", flush=True)
        finally:
            for client in sockets:
                client.close()
            process.stop()


TABLES = {"hits": hits, "log": log, "conditional": conditional, "tls": tls, "passed": passed, "idle": idle}


def main():
    parser = argparse.ArgumentParser(description="side by side", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="hits", choices=[*TABLES, "all"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--objects", default="1k,10k,100k,1024k")
    parser.add_argument("--servers", default="nearside,nginx,varnish,ats")
    choose_network(parser)
    options = parser.parse_args()
    enter_network(options)
    for name, table in TABLES.items():
        if options.table not in (name, "all"):
            continue
        directory = pathlib.Path(tempfile.mkdtemp(prefix="nearside-bench-"))
        os.chmod(directory, 0o755)
        objects = options.objects.split(",") if name == "hits" else ["1k", "100k"]
        origin = start_origin(directory, objects)
        try:
            table(directory, options)
        finally:
            origin.stop()
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
