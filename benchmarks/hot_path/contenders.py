"""The servers that are measured side by side, each started for its turn on a core of its own, and stopped after it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.hot_path.machine import NODE_SERVICE, children, on_worker_core
from tests.support.ports import free_ports
from tests.support.processes import ROOT, environment
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from benchmarks.hot_path.questions import Lists
    from benchmarks.hot_path.stores import SingleStore, Store

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0

_NGINX = """
daemon off;
worker_processes 1;
error_log stderr;
pid {directory}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 8m;
    location / {{ default_type application/json; return 200 true; }}
    location = /settings.json {{ root {directory}; }}
  }}
}}
"""


class Running(NamedTuple):
    """`pid`: the process that does the work."""

    address: str
    pid: int


@dataclass(frozen=True)
class Contender:
    """`start` runs the server for a while. `store` is asked for `lists`; without one, the answer is always `true`."""

    name: str
    lists: Lists
    start: Callable[[], AbstractContextManager[Running]]
    store: Store | None


@contextlib.contextmanager
def nginx(directory: Path, *, measured: bool = True) -> Iterator[Running]:
    """What a server costs that neither thinks nor asks: `true` from memory, and the file `settings.json`.

    `measured`: on the worker's core.
    """
    (port,) = free_ports(1)
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, port=port))
    command = ["nginx", "-p", str(directory), "-c", str(configuration), "-e", "stderr"]
    with _serving(command, {}, port, directory, measured=measured) as master:
        (worker,) = children(master.pid)
        yield Running(master.address, worker)


@contextlib.contextmanager
def plain_fastapi(directory: Path, store: SingleStore) -> Iterator[Running]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "benchmarks.hot_path.plain_fastapi:app", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with _serving(command, {"STORE_URL": store.url}, port, directory) as running:
        yield running


@contextlib.contextmanager
def node(directory: Path, store: SingleStore) -> Iterator[Running]:
    (port,) = free_ports(1)
    settings = {"PORT": str(port), "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(store.port)}
    with _serving(["node", str(NODE_SERVICE / "server.js")], settings, port, directory) as running:
        yield running


@contextlib.contextmanager
def ours(directory: Path, store: Store, others: Mapping[str, str] | None = None) -> Iterator[Running]:
    """The program as people run it: what tests start shares memory with a process that imported more.

    `others`: settings.
    """
    (port,) = free_ports(1)
    settings = {
        "PORT": str(port),
        "DATA_DIR": str(directory / "data"),
        "SETTINGS_FILE": str(ROOT / "examples" / "settings.json"),
        "ACCOUNT_ID": "123456",
    }
    command = [sys.executable, "-m", "gateway", "serve"]
    with _serving(command, {**settings, **store.settings, **(others or {})}, port, directory) as running:
        yield running


@contextlib.contextmanager
def _serving(
    command: list[str], settings: Mapping[str, str], port: int, directory: Path, *, measured: bool = True
) -> Iterator[Running]:
    log = directory / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            on_worker_core(command) if measured else command,
            cwd=directory,
            env=environment(settings),
            stdout=output,
            stderr=output,
        )

    def listens() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"error: {command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        until(listens, seconds=_START_SECONDS, what=f"{command[0]} to listen")
        yield Running(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answer(address: str, path: str) -> str:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def install_node_packages() -> None:
    """`node_modules` as the lock file wants it. Raises `SystemExit` where npm can't."""
    wanted = hashlib.sha256((NODE_SERVICE / "package-lock.json").read_bytes()).hexdigest()
    stamp = NODE_SERVICE / "node_modules" / ".installed-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("error: npm is missing, and the Node service needs ioredis; or leave `node` out with --only")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=NODE_SERVICE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: npm ci failed:\n{done.stderr[-2000:]}")
    stamp.write_text(wanted)
