#!/usr/bin/env python3
"""Cache hits, beside nginx, Varnish and Traffic Server, in one run.

Servers run on core 0, wrk on core 1. Every pair of object and server is measured once per round, in an order that
rotates, so that a noisy minute hits all of them. Printed are medians: requests per second, the 99th percentile, the
server's CPU microseconds per request (its whole process tree), its memory, and responses that were not 2xx or 3xx.

nearside is `nearside serve` as shipped: limits, metrics and Cache-Status are on. Its access log is off, as those of the
others are; `nearside-log` is the same with it on, to a file.

  bench/setup.sh && bench/side_by_side.py [--rounds 3] [--seconds 4] [--objects 1k,10k,100k,1024k]
                                          [--servers nearside,nearside-log,nginx,varnish,ats]
"""
import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import urllib.request

from measure import Process, binary, eventually, render

ORIGIN = 18000
PORTS = {"nearside": 18001, "nearside-log": 18005, "nginx": 18002, "varnish": 18003, "ats": 18004}
SERVER_CORE, LOAD_CORE = 0, 1
UNITS_MS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}


def nearside(directory, name):
    """serve, as it is shipped, with its metrics listener."""
    metrics = f"127.0.0.1:{PORTS[name] + 100}"
    access = "json" if name.endswith("-log") else "off"
    return [binary(), "serve", "--origin", f"http://127.0.0.1:{ORIGIN}", "--listen", f"127.0.0.1:{PORTS[name]}",
            "--data", str(directory / name), "--metrics", metrics, "--access-log", access], {}


def nginx(directory, name):
    return ["nginx", "-c", render("nginx.conf", directory, origin=ORIGIN, port=PORTS[name])], {}


def varnish(directory, name):
    vcl = render("varnish.vcl", directory, origin=ORIGIN)
    return ["varnishd", "-F", "-n", str(directory / "varnish"), "-a", f"127.0.0.1:{PORTS[name]}", "-f", vcl,
            "-s", "malloc,1g", "-p", "thread_pool_min=100"], {}


def ats(directory, name):
    """Traffic Server, one thread, with a copy of its configuration: the system's own is left alone."""
    root = directory / "ats"
    config = root / "etc"
    shutil.copytree("/etc/trafficserver", config)
    for folder in ("cache", "log", "run"):
        (root / folder).mkdir()
    (config / "remap.config").write_text(f"map http://127.0.0.1:{PORTS[name]}/ http://127.0.0.1:{ORIGIN}/\n")
    (config / "storage.config").write_text(f"{root}/cache 1G\n")
    settings = {
        "http.server_ports STRING": PORTS[name], "log.logging_enabled INT": 0, "log.logfile_dir STRING": root / "log",
        "exec_thread.autoconfig INT": 0, "exec_thread.limit INT": 1, "reverse_proxy.enabled INT": 1,
        "local_state_dir STRING": root / "run",
    }
    records = (config / "records.config").read_text()
    for key, value in settings.items():
        records = re.sub(rf"CONFIG proxy\.config\.{re.escape(key)}.*\n", "", records) + f"CONFIG proxy.config.{key} {value}\n"
    (config / "records.config").write_text(records)
    subprocess.run(["chown", "-R", "trafficserver", str(root)], check=False)
    return ["traffic_server"], {"PROXY_CONFIG_CONFIG_DIR": str(config), "PROXY_CONFIG_LOCAL_STATE_DIR": str(root / "run")}


SERVERS = {"nearside": nearside, "nearside-log": nearside, "nginx": nginx, "varnish": varnish, "ats": ats}


def load(url, seconds, connections):
    """One wrk run: requests/s, p99 in ms, requests, bad ones."""
    said = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", url],
        capture_output=True, text=True, check=True).stdout
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)),
            float(p99.group(1)) * UNITS_MS[p99.group(2)],
            int(re.search(r"(\d+) requests in", said).group(1)),
            int(bad.group(1)) if bad else 0)


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read()


def main():
    parser = argparse.ArgumentParser(description="cache hits side by side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--objects", default="1k,10k,100k,1024k")
    parser.add_argument("--servers", default="nearside,nearside-log,nginx,varnish,ats")
    options = parser.parse_args()
    objects, names = options.objects.split(","), options.servers.split(",")

    directory = pathlib.Path(tempfile.mkdtemp(prefix="nearside-bench-"))
    os.chmod(directory, 0o755)
    (directory / "objects").mkdir()
    for name in objects:
        (directory / "objects" / name).write_bytes(os.urandom(int(name.rstrip("k")) * 1024))

    running = {}
    origin = Process("origin", ["nginx", "-c", render("nginx-origin.conf", directory, origin=ORIGIN)], LOAD_CORE, directory)
    try:
        eventually("the origin", lambda: fetch(f"http://127.0.0.1:{ORIGIN}/{objects[0]}"))
        for name in names:
            command, environment = SERVERS[name](directory, name)
            running[name] = Process(name, command, SERVER_CORE, directory, environment)
            eventually(name, lambda name=name: fetch(f"http://127.0.0.1:{PORTS[name]}/{objects[0]}"))
            for item in objects:
                url = f"http://127.0.0.1:{PORTS[name]}/{item}"
                bodies = {fetch(url) for _ in range(3)}
                if not name.startswith("floor") and bodies != {(directory / "objects" / item).read_bytes()}:
                    raise SystemExit(f"{name} gives other bytes than the origin for {item}")

        results = {}
        for round_number in range(options.rounds):
            for item in objects:
                turn = round_number % len(names)
                for name in names[turn:] + names[:turn]:
                    before = running[name].cpu_seconds()
                    rate, p99_ms, requests, bad = load(f"http://127.0.0.1:{PORTS[name]}/{item}", options.seconds, options.connections)
                    cpu_us = (running[name].cpu_seconds() - before) * 1e6 / max(requests, 1)
                    results.setdefault((item, name), []).append((rate, p99_ms, cpu_us, bad))

        print(f"{'object':8}{'server':14}{'req/s':>10}{'p99 ms':>9}{'cpu us/req':>12}{'RSS MiB':>9}{'not 2xx':>9}   medians of {options.rounds} x {options.seconds} s")
        for item in objects:
            for name in names:
                rows = results[(item, name)]
                rate, p99_ms, cpu_us = (statistics.median(row[column] for row in rows) for column in range(3))
                print(f"{item:8}{name:14}{rate:10.0f}{p99_ms:9.2f}{cpu_us:12.2f}{running[name].rss_mib():9.0f}{sum(row[3] for row in rows):9d}")
    finally:
        for process in [*running.values(), origin]:
            process.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
