"""What both runs share: servers as processes on a core of their own, and what they cost."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
TICKS = os.sysconf("SC_CLK_TCK")


def binary():
    """The program under test: NEARSIDE_BIN, or where cargo puts it."""
    told = os.environ.get("NEARSIDE_BIN")
    target = os.environ.get("CARGO_TARGET_DIR", TOP / "target")
    path = pathlib.Path(told) if told else pathlib.Path(target) / "release" / "nearside"
    if not path.exists():
        raise SystemExit(f"no program at {path}: cargo build --release --workspace --all-targets, or set NEARSIDE_BIN")
    return str(path)


def choose_network(parser):
    """Adds --network: `own` runs all of it in a network namespace made for it, loopback alone.

    A machine's packet filter and connection tracking (Docker brings both) act on loopback too, and cost every request a
    few microseconds that are no server's."""
    parser.add_argument("--network", choices=["own", "machine"], default="own")


def enter_network(options):
    """Starts this very command anew in a namespace of its own, unless it is in one or the machine's is wanted."""
    if options.network == "machine" or os.environ.get("NEARSIDE_BENCH_NETWORK") == "own":
        print(f"network: {options.network}")
        return
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or not unshare or not shutil.which("ip"):
        raise SystemExit("a network of its own takes root, unshare and ip: or say --network machine")
    command = ["sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, *sys.argv]
    os.execve(unshare, [unshare, "--net", *command], {**os.environ, "NEARSIDE_BENCH_NETWORK": "own"})


def render(name, directory, **values):
    """Fills a file of servers/ in, and says where the result lies."""
    text = (HERE / "servers" / name).read_text().replace("@DIR@", str(directory))
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    path = pathlib.Path(directory) / name
    path.write_text(text)
    return str(path)


class Process:
    """One process group pinned to a core; its output goes to a file."""

    def __init__(self, name, command, core, directory, environment=None):
        self.name = name
        self.log = pathlib.Path(directory) / f"{name}.log"
        self.child = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL, stdout=self.log.open("w"), stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})}, start_new_session=True)

    def tree(self):
        """Process ids, children included."""
        found, waiting = [], [self.child.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            try:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                pass
        return found

    def cpu_seconds(self):
        """User and system time of the whole tree."""
        ticks = 0
        for pid in self.tree():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def rss_mib(self):
        """Resident memory of the whole tree."""
        kib = 0
        for pid in self.tree():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmRSS:\s+(\d+)", status)
            kib += int(found.group(1)) if found else 0
        return kib / 1024

    def stop(self):
        """Ends the group: kindly, then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                return
            try:
                self.child.wait(timeout=3)
            except subprocess.TimeoutExpired:
                continue


def eventually(what, holds, seconds=30):
    """Asks until it holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except Exception:  # noqa: BLE001 -- whatever it is, it is "not yet"
            pass
        time.sleep(0.2)
    raise SystemExit(f"{what} did not come up in {seconds} s")
