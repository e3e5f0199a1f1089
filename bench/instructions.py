#!/usr/bin/env python3
"""What a request costs in instructions, and whether workers wait for each other: exact counts, whatever else runs.

  bench/instructions.py count     valgrind's callgrind: instructions per hit with one worker and with two; [--top 20]
                                  [--header 'If-None-Match: "x"'] [--access-log off|json] [--path /1k]
  bench/instructions.py locks     strace: system calls per hit with two workers, futex among them

Under callgrind requests are made one after the other over eight connections, so each pays a whole turn of the event loop.
Under strace the load is wrk's, as in side_by_side.py.
"""
import argparse
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

from contenders import HOST, LOAD_CORE, ORIGIN, fetch, start_origin
from measure import binary, eventually

PORT = 18020
REQUESTS = 2000


def started(directory, cores, access_log, before=()):
    """`serve` on these cores, which is as many workers."""
    command = ["taskset", "-c", cores, *before, binary(), "serve", "--origin", f"http://{HOST}:{ORIGIN}",
               "--listen", f"{HOST}:{PORT}", "--data", str(directory / f"data-{time.monotonic_ns()}"), "--access-log", access_log]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually("nearside", lambda: fetch(f"http://{HOST}:{PORT}/1k"), seconds=180)
    return process


def ask(client, request):
    """One request, and its answer to the last byte."""
    client.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, rest = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    left = (int(length.group(1)) if length and not head.startswith(b"HTTP/1.1 304") else 0) - len(rest)
    while left > 0:
        left -= len(client.recv(65536))
    return head


def counted(directory, cores, options):
    """Instructions per request, and by function."""
    out = directory / f"callgrind-{time.monotonic_ns()}"
    process = started(directory, cores, options.access_log,
                      ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--instr-atstart=no"])
    try:
        clients = [socket.create_connection((HOST, PORT)) for _ in range(8)]
        extra = f"{options.header}\r\n" if options.header else ""
        request = f"GET {options.path} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n{extra}\r\n".encode()

        def ask_all(number):
            for turn in range(number):
                head = ask(clients[turn % len(clients)], request)
            return head

        ask_all(200)
        for command in (["-i", "on"], ["-z"]):
            subprocess.run(["callgrind_control", *command, str(process.pid)], check=True, capture_output=True)
        head = ask_all(REQUESTS)
        for command in (["-i", "off"], ["-d"]):
            subprocess.run(["callgrind_control", *command, str(process.pid)], check=True, capture_output=True)
        eventually("the counts", lambda: list(directory.glob(f"{out.name}*.1")))
        profile = list(directory.glob(f"{out.name}*.1"))[0]
        said = subprocess.run(["callgrind_annotate", "--threshold=100", str(profile)], capture_output=True, text=True,
                              check=True).stdout
    finally:
        process.kill()
        process.wait()
    rows = re.findall(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(?!PROGRAM)(\S.*)$", said.split("PROGRAM TOTALS")[1], re.M)
    rows = [(int(count.replace(",", "")) / REQUESTS, re.sub(r"^\S*?:(?!:)|\s\[.*", "", name)) for count, name in rows]
    return sum(count for count, _ in rows), rows, head.split(b"\r\n")[0].decode()


def count(directory, options):
    one, rows, status = counted(directory, "0", options)
    two, _, _ = counted(directory, "0,1", options)
    print(f"\n{options.path} {options.header or ''}: {status}; {REQUESTS} requests, access log {options.access_log}")
    print(f"{'workers':10}{'instructions per request':>26}")
    print(f"{1:<10}{one:26.0f}\n{2:<10}{two:26.0f}   {two / one:.3f} times one worker's")
    for instructions, name in rows[:options.top]:
        print(f"{instructions:10.0f}  {name[:110]}")


def locks(directory, options):
    process = started(directory, "0,1", options.access_log)
    try:
        url = f"http://{HOST}:{PORT}{options.path}"
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", str(directory / "calls"), "-p", str(process.pid)],
                                  stderr=subprocess.DEVNULL)
        time.sleep(1)
        said = subprocess.run(["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c64", "-d4", url], capture_output=True,
                              text=True, check=True).stdout
        tracer.terminate()
        tracer.wait()
    finally:
        process.kill()
        process.wait()
    requests = int(re.search(r"(\d+) requests in", said).group(1))
    print(f"\n{requests} hits on two workers, system calls of the whole process")
    print(f"{'call':20}{'calls':>10}{'per request':>13}")
    for line in (directory / "calls").read_text().splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            print(f"{fields[-1]:20}{fields[3]:>10}{int(fields[3]) / requests:13.4f}")


def main():
    parser = argparse.ArgumentParser(description="instructions and locks")
    parser.add_argument("what", choices=["count", "locks"])
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--header", default="")
    parser.add_argument("--path", default="/1k")
    parser.add_argument("--access-log", default="off", choices=["off", "json"])
    options = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="nearside-bench-"))
    os.chmod(directory, 0o755)
    origin = start_origin(directory, ["1k", "10k", "100k", "1024k"])
    try:
        {"count": count, "locks": locks}[options.what](directory, options)
    finally:
        origin.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
