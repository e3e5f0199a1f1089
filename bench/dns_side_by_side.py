#!/usr/bin/env python3
"""Steered DNS answers, beside gdnsd, in one run.

Servers run on core 0, dnsperf on core 1. Every query carries EDNS with a client subnet, another one each round; www is
steered among the same three places by the same City test database (geo/testdata). One query in ten is for AAAA, one for
a name that is not there. Printed are medians. dnsperf itself is near its limit on one core: compare CPU per answer.

nearside is a cluster of three nodes as it is shipped; the one that is asked has core 0, the other two share core 1.

  bench/setup.sh && bench/dns_side_by_side.py [--rounds 3] [--seconds 5] [--servers nearside,gdnsd]
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

from measure import HERE, TOP, Process, binary, choose_network, enter_network, eventually, render

SERVER_CORE, LOAD_CORE = 0, 1
GDNSD_PORT, NEARSIDE_PORT = 15353, 18053
CITY = TOP / "geo/testdata/GeoIP2-City-Test.mmdb"
# RFC 7871's option as dnsperf wants it (family, source, scope, address); the database knows them in GB, US and SG,
# each nearest to one of the PLACES, in their order.
SUBNETS = {"2.2.3.0/24": "00011800020203", "214.78.120.0/24": "00011800d64e78", "214.0.0.0/24": "00011800d60000"}
PLACES = [("eu", 50.1, 8.7), ("us", 39.0, -77.5), ("ap", 1.35, 103.8)]
QUERIES = ["www.example.test A"] * 8 + ["www.example.test AAAA", "nothere.example.test A"]

NODE = """
[node]
name = "{name}"
region = "{name}"
latitude = {latitude}
longitude = {longitude}
[listen]
http = ["{address}:18080"]
https = []
dns = ["{address}:{port}"]
peer = ["{address}:17443"]
admin = ["unix:{folder}/admin.sock"]
metrics = []
[advertise]
ipv4 = "{address}"
peer = "{address}:17443"
[cluster]
join = [{join}]
[data]
dir = "{folder}/data"
[cache]
dir = "{folder}/cache"
memory_max = "64 MiB"
disk_max = "256 MiB"
disk_free_min = "64 MiB"
[geo]
databases = ["{city}"]
[log]
access = "off"
"""


def dig(host, port, name, subnet):
    said = subprocess.run(["dig", f"@{host}", "-p", str(port), name, "A", f"+subnet={subnet}", "+short", "+time=1", "+tries=1"],
                          capture_output=True, text=True, check=False)
    return said.stdout.split()


class Nearside:
    """Three nodes that agree on zone and site."""

    def __init__(self, directory):
        self.host, self.port = "127.0.0.31", NEARSIDE_PORT
        self.addresses = {name: [f"127.0.0.{31 + index}"] for index, (name, _, _) in enumerate(PLACES)}
        self.directory = directory
        self.nodes = []
        for index, (name, latitude, longitude) in enumerate(PLACES):
            folder = directory / name
            folder.mkdir()
            address = f"127.0.0.{31 + index}"
            join = "" if index == 0 else '"127.0.0.31:17443"'
            (folder / "node.toml").write_text(NODE.format(
                name=name, latitude=latitude, longitude=longitude, address=address, port=self.port,
                folder=folder, join=join, city=CITY))
        (directory / "zone.toml").write_text('name = "example.test"\nnameservers = { ns1 = "eu" }\nttl = { min = "30s", max = "60s" }\n')
        (directory / "site.toml").write_text('name = "www"\nhosts = ["www.example.test"]\n[[origin]]\nurl = "http://192.0.2.1"\n')
        self.start(0, SERVER_CORE)
        eventually("nearside", lambda: self.ask(0, "status", "--check", "live") is not None)
        self.ask(0, "cluster", "init")
        token = json.loads(self.ask(0, "--json", "join-token", "new", "--uses", "8"))["token"]
        (directory / "token").write_text(token)
        for index in (1, 2):
            self.start(index, LOAD_CORE)
        for index in range(3):
            eventually(PLACES[index][0], lambda index=index: self.ask(index, "status", "--check", "ready") is not None)
        self.ask(0, "zone", "apply", str(directory / "zone.toml"))
        self.ask(0, "site", "apply", str(directory / "site.toml"))

    def start(self, index, core):
        name = PLACES[index][0]
        command = [binary(), "node", "--config", str(self.directory / name / "node.toml")]
        if index != 0:
            command += ["--token-file", str(self.directory / "token")]
        self.nodes.append(Process(f"nearside-{name}", command, core, self.directory))

    def ask(self, index, *arguments):
        socket = self.directory / PLACES[index][0] / "admin.sock"
        said = subprocess.run([binary(), "--admin", f"unix:{socket}", *arguments], capture_output=True, text=True, check=False)
        if said.returncode != 0:
            if "--check" not in arguments:
                raise SystemExit(f"nearside {' '.join(arguments)}: {said.stderr}")
            return None
        return said.stdout

    def measured(self):
        return self.nodes[0]

    def stop(self):
        for node in self.nodes:
            node.stop()


class Gdnsd:
    """gdnsd, one UDP thread."""

    def __init__(self, directory):
        self.host, self.port = "127.0.0.1", GDNSD_PORT
        self.addresses = {"eu": ["192.0.2.1", "192.0.2.2"], "us": ["192.0.2.11", "192.0.2.12"], "ap": ["192.0.2.21", "192.0.2.22"]}
        root = directory / "gdnsd"
        for folder in ("zones", "geoip", "run", "state"):
            (root / folder).mkdir(parents=True)
        shutil.copy(render("gdnsd.config", directory, port=self.port), root / "config")
        shutil.copy(HERE / "servers/gdnsd.zone", root / "zones/example.test")
        shutil.copy(CITY, root / "geoip/city.mmdb")
        subprocess.run(["chown", "-R", "gdnsd", str(root)], check=False)
        self.process = Process("gdnsd", ["gdnsd", "-c", str(root), "start"], SERVER_CORE, directory)

    def measured(self):
        return self.process

    def stop(self):
        self.process.stop()


SERVERS = {"nearside": Nearside, "gdnsd": Gdnsd}


def load(server, queries, seconds, option):
    """One dnsperf run: answers/s, answers, lost, response codes."""
    said = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), "dnsperf", "-s", server.host, "-p", str(server.port), "-d", str(queries),
         "-l", str(seconds), "-c", "8", "-q", "200", "-e", "-E", f"8:{option}"],
        capture_output=True, text=True, check=True).stdout
    number = lambda pattern: float(re.search(pattern, said).group(1))  # noqa: E731
    return (number(r"Queries per second:\s+([\d.]+)"), number(r"Queries completed:\s+(\d+)"),
            number(r"Queries lost:\s+(\d+)"), re.search(r"Response codes:\s+(.*)", said).group(1))


def main():
    parser = argparse.ArgumentParser(description="steered DNS answers side by side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--servers", default="nearside,gdnsd")
    choose_network(parser)
    options = parser.parse_args()
    enter_network(options)
    names = options.servers.split(",")

    directory = pathlib.Path(tempfile.mkdtemp(prefix="nearside-bench-"))
    os.chmod(directory, 0o755)
    queries = directory / "queries"
    queries.write_text("".join(query + "\n" for query in QUERIES) * 50)
    servers = {}
    try:
        for name in names:
            servers[name] = SERVERS[name](directory)
            server = servers[name]
            for place, subnet in zip(PLACES, SUBNETS):
                right = server.addresses[place[0]]
                asked = lambda server=server, subnet=subnet: dig(server.host, server.port, "www.example.test", subnet)  # noqa: E731
                eventually(f"{name} for {subnet}", lambda asked=asked, right=right: asked()[0] in right)
                print(f"{name}: {subnet} -> {' '.join(asked())} ({place[0]})")

        results = {}
        for round_number in range(options.rounds):
            option = list(SUBNETS.values())[round_number % len(SUBNETS)]
            turn = round_number % len(names)
            for name in names[turn:] + names[:turn]:
                before = servers[name].measured().cpu_seconds()
                rate, answers, lost, codes = load(servers[name], queries, options.seconds, option)
                cpu_us = (servers[name].measured().cpu_seconds() - before) * 1e6 / max(answers, 1)
                results.setdefault(name, []).append((rate, cpu_us, lost, codes))

        print(f"{'server':12}{'answers/s':>11}{'cpu us/answer':>15}{'lost':>7}{'RSS MiB':>9}  codes of the last round   (medians of {options.rounds} x {options.seconds} s)")
        for name, rows in results.items():
            rate, cpu_us = (statistics.median(row[column] for row in rows) for column in range(2))
            print(f"{name:12}{rate:11.0f}{cpu_us:15.2f}{sum(row[2] for row in rows):7.0f}{servers[name].measured().rss_mib():9.0f}  {rows[-1][3]}")
    finally:
        for server in servers.values():
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
