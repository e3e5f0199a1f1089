"""The programs that are compared, each as a process on the servers' core, with the same origin behind it."""
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

from measure import Process, binary, eventually, render

SERVER_CORE, LOAD_CORE = 0, 1
ORIGIN = 18000
PORTS = {"nearside": 18001, "nginx": 18002, "varnish": 18003, "ats": 18004, "nearside-log": 18005}
TLS_PORTS = {"nearside": 18011, "nginx": 18012}
HOST = "127.0.0.1"

NODE = """
[node]
name = "bench"
[listen]
http = ["127.0.0.1:{port}"]
https = ["127.0.0.1:{tls}"]
dns = []
peer = ["127.0.0.1:17443"]
admin = ["unix:{folder}/admin.sock"]
metrics = []
[advertise]
ipv4 = "127.0.0.1"
peer = "127.0.0.1:17443"
[data]
dir = "{folder}/data"
[cache]
dir = "{folder}/cache"
disk_free_min = "64 MiB"
[certificates.bench]
chain = "{directory}/cert.pem"
key = "{directory}/key.pem"
[log]
access = "off"
"""

SITE = 'name = "bench"\nhosts = ["bench.example", "127.0.0.1"]\n[[origin]]\nurl = "http://127.0.0.1:{origin}"\n'


def serve(directory, name):
    """`serve`, as it is shipped, with its metrics listener."""
    access = "json" if name.endswith("-log") else "off"
    command = [binary(), "serve", "--origin", f"http://{HOST}:{ORIGIN}", "--listen", f"{HOST}:{PORTS[name]}", "--data",
               str(directory / name), "--metrics", f"{HOST}:{PORTS[name] + 100}", "--access-log", access]
    return command, {}


def nginx(directory, name, log=False):
    # Its configuration includes the part for TLS where there is one.
    if (directory / "cert.pem").exists():
        render("nginx-tls.conf", directory, tls=TLS_PORTS[name])
    path = render("nginx.conf", directory, origin=ORIGIN, port=PORTS[name],
                  log=f"{directory}/nginx-access.log combined buffer=64k flush=1s" if log else "off")
    return ["nginx", "-c", path], {}


def varnish(directory, name):
    vcl = render("varnish.vcl", directory, origin=ORIGIN)
    return ["varnishd", "-F", "-n", str(directory / "varnish"), "-a", f"{HOST}:{PORTS[name]}", "-f", vcl,
            "-s", "malloc,1g", "-p", "thread_pool_min=100"], {}


def ats(directory, name, log=False):
    """Traffic Server, one thread, with a copy of its configuration: the system's own is left alone."""
    root = directory / "ats"
    config = root / "etc"
    shutil.copytree("/etc/trafficserver", config)
    for folder in ("cache", "log", "run"):
        (root / folder).mkdir()
    (config / "remap.config").write_text(f"map http://{HOST}:{PORTS[name]}/ http://{HOST}:{ORIGIN}/\n")
    (config / "storage.config").write_text(f"{root}/cache 1G\n")
    settings = {
        "http.server_ports STRING": PORTS[name], "log.logging_enabled INT": 3 if log else 0,
        "log.logfile_dir STRING": root / "log", "exec_thread.autoconfig INT": 0, "exec_thread.limit INT": 1,
        "reverse_proxy.enabled INT": 1, "local_state_dir STRING": root / "run",
    }
    records = (config / "records.config").read_text()
    for key, value in settings.items():
        records = re.sub(rf"CONFIG proxy\.config\.{re.escape(key)}.*\n", "", records) + f"CONFIG proxy.config.{key} {value}\n"
    (config / "records.config").write_text(records)
    subprocess.run(["chown", "-R", "trafficserver", str(root)], check=False)
    return ["traffic_server"], {"PROXY_CONFIG_CONFIG_DIR": str(config), "PROXY_CONFIG_LOCAL_STATE_DIR": str(root / "run")}


def node(directory, name):
    """A cluster of one node, which is what listens for TLS."""
    folder = directory / "node"
    folder.mkdir()
    (folder / "node.toml").write_text(NODE.format(port=PORTS[name], tls=TLS_PORTS[name], folder=folder, directory=directory))
    (folder / "site.toml").write_text(SITE.format(origin=ORIGIN))
    return [binary(), "node", "--config", str(folder / "node.toml")], {}


def found_cluster(directory):
    """Makes the node a cluster of its own, and gives it the site."""
    admin = [binary(), "--admin", f"unix:{directory}/node/admin.sock"]

    def ask(*arguments):
        return subprocess.run([*admin, *arguments], capture_output=True, text=True, check=False)

    eventually("the node", lambda: ask("status", "--check", "live").returncode == 0)
    for arguments in (("cluster", "init"), ("site", "apply", str(directory / "node/site.toml"))):
        said = ask(*arguments)
        if said.returncode != 0:
            raise SystemExit(f"nearside {' '.join(arguments)}: {said.stderr}")


MAKERS = {"nearside": serve, "nearside-log": serve, "nginx": nginx, "varnish": varnish, "ats": ats}


def certificate(directory):
    """One for both, as most sites have today: ECDSA on P-256."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example,IP:127.0.0.1",
                    "-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")],
                   check=True, capture_output=True)


def start_origin(directory, objects):
    """The origin with its objects: /NAME is fresh for a day, /private/NAME is never stored."""
    (directory / "objects").mkdir()
    for name in objects:
        (directory / "objects" / name).write_bytes(os.urandom(int(name.rstrip("k")) * 1024))
    command = ["nginx", "-c", render("nginx-origin.conf", directory, origin=ORIGIN)]
    process = Process("origin", command, LOAD_CORE, directory)
    eventually("the origin", lambda: fetch(f"http://{HOST}:{ORIGIN}/{objects[0]}"))
    return process


def start(name, directory, item, tls=False, log=False):
    """Starts a contender, and waits until it answers."""
    if tls and name == "nearside":
        command, environment = node(directory, name)
    elif log and name in ("nginx", "ats"):
        command, environment = MAKERS[name](directory, name, log=True)
    else:
        command, environment = MAKERS[name](directory, name)
    process = Process(name, command, SERVER_CORE, directory, environment)
    try:
        if tls and name == "nearside":
            found_cluster(directory)
        eventually(name, lambda: fetch(f"http://{HOST}:{PORTS[name]}/{item}"))
    except BaseException:
        process.stop()
        raise
    return process


def fetch(url, headers=None):
    """The content, or the status when it is none of success."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        return error.code


def etag(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.headers["ETag"]
