"""Start the real programs, find out where they listen, stop them by pid."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from local_stack.store import server_binary, server_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.context import ForkServerProcess

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30.0

# Programs fork from a server that has their modules imported already: a start takes 0.1 s instead of 2 s.
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["cohort_sync.cli", "gateway.cli", "heap_export.cli"])

_ADDRESS = re.compile(r"http://[\w.\[\]:]+:\d+")


class StartError(RuntimeError):
    """A program ended, or stayed silent, before it said where it listens."""


_LAST_WORDS_SECONDS = 2.0  # longer only where a process that it started holds on to its output


@dataclass
class Program:
    """A running program of ours; `addresses` are the URLs of its first line, `lines` all that it said."""

    process: ForkServerProcess
    output: Path
    addresses: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _said: queue.Queue[str | None] = field(default_factory=queue.Queue)
    _listener: threading.Thread | None = None

    @property
    def address(self) -> str:
        return self.addresses[0]

    def wait_for_line(self, pattern: str, *, seconds: float = START_SECONDS) -> str:
        """The first line from now on that `pattern` is found in. Raises `StartError`."""
        while True:
            try:
                line = self._said.get(timeout=seconds)
            except queue.Empty:
                line = None
            if line is None:
                raise StartError(f"no line with {pattern!r}; it said:\n" + "".join(self.lines))
            if re.search(pattern, line):
                return line

    def log(self) -> str:
        return "".join(self.lines)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def resident(self) -> int:
        """Bytes of memory that the process takes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024

    def stop(self) -> int | None:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self) -> int | None:
        """The exit status (negative: the signal), once there is one; None after a long wait."""
        self.process.join(START_SECONDS)
        if self._listener is not None:  # its last words may still be on their way
            self._listener.join(_LAST_WORDS_SECONDS)
        return self.process.exitcode

    def _listen(self) -> None:
        with self.output.open() as stream:
            for line in stream:
                self.lines.append(line)
                self._said.put(line)
        self._said.put(None)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without any setting of the services, plus `settings`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)} | dict(settings)


def start_program(arguments: list[str], settings: Mapping[str, str], *, directory: Path) -> Program:
    """Run `python -m ARGUMENTS` in `directory`, its output collected; it does not wait."""
    output = directory / f"output-{uuid.uuid4().hex[:8]}"
    os.mkfifo(output)
    program = Program(_fork(arguments, settings, directory, output, output), output)
    program._listener = threading.Thread(target=program._listen, daemon=True)
    program._listener.start()
    return program


def run_program(
    arguments: list[str], settings: Mapping[str, str], *, directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ARGUMENTS` in `directory` to its end."""
    output, errors = (directory / f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("output", "errors"))
    for path in (output, errors):
        path.touch()
    process = _fork(arguments, settings, directory, output, errors)
    process.join(START_SECONDS)
    assert process.exitcode is not None, f"{arguments} do not come to an end:\n{errors.read_text()}"
    return subprocess.CompletedProcess(arguments, process.exitcode, output.read_text(), errors.read_text())


def _fork(
    arguments: list[str], settings: Mapping[str, str], directory: Path, output: Path, errors: Path
) -> ForkServerProcess:
    places = [str(path) for path in (directory, output, errors)]
    process = _FORKSERVER.Process(target=_run_module, args=(arguments, environment(settings), *places), daemon=True)
    process.start()
    return process


def _run_module(arguments: list[str], settings: dict[str, str], directory: str, output: str, errors: str) -> None:
    for path, descriptor in ((output, 1), (errors, 2)):
        opened = os.open(path, os.O_WRONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(settings)
    sys.argv[1:] = arguments[1:]
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


@contextlib.contextmanager
def running(arguments: list[str], settings: Mapping[str, str], *, directory: Path) -> Iterator[Program]:
    """A service of ours that listens (its line `... listening on http://...` tells where), stopped at the end."""
    program = start_program(arguments, settings, directory=directory)
    try:
        program.addresses = _ADDRESS.findall(program.wait_for_line("listening on"))
        yield program
    finally:
        if program.process.is_alive():
            program.stop()


@contextlib.contextmanager
def cohort_sync(directory: Path, settings: Mapping[str, str]) -> Iterator[Program]:
    """cohort-sync on free ports; `addresses` are those of the webhook and of the administration."""
    defaults = {
        "COHORT_SYNC_PORT": "0",
        "COHORT_SYNC_ADMIN_PORT": "0",
        "DATA_DIR": str(directory / "data"),
        "ACCOUNT_ID": "123456",
    }
    with running(["cohort_sync", "serve"], defaults | dict(settings), directory=directory) as program:
        yield program


def wait_until_recovered(program: Program) -> None:
    """Wait until a cohort-sync that just started has compared its journal with the store."""
    program.wait_for_line("holds every change")


@contextlib.contextmanager
def gateway(directory: Path, settings: Mapping[str, str]) -> Iterator[Program]:
    """The gateway on a free port, serving the sample settings."""
    defaults = {
        "PORT": "0",
        "DATA_DIR": str(directory / "data"),
        "SETTINGS_FILE": str(ROOT / "examples" / "settings.json"),
    }
    with running(["gateway", "serve"], defaults | dict(settings), directory=directory) as program:
        yield program


@contextlib.contextmanager
def heap_export(directory: Path, settings: Mapping[str, str]) -> Iterator[Program]:
    """heap-export on free ports; `addresses` are those of senders and of the administration."""
    defaults = {"HEAP_EXPORT_PORT": "0", "HEAP_EXPORT_ADMIN_PORT": "0", "DATA_DIR": str(directory / "data")}
    with running(["heap_export", "serve"], defaults | dict(settings), directory=directory) as program:
        yield program


class StoreServer:
    """A store of the tests' own, on a unix socket; it may be killed and started again on its files."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.url = f"unix://{directory / 's'}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        socket = self.directory / "s"
        socket.unlink(missing_ok=True)
        arguments = ["--port", "0", "--unixsocket", str(socket), "--dir", str(self.directory)]
        files = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--loglevel", "warning"]
        self._process = subprocess.Popen(
            [server_binary(), *arguments, *files, *self._options],
            stdout=subprocess.DEVNULL,
            env=server_environment(),
        )
        with self.client() as client:
            client.ping()

    def client(self) -> redis.Redis:
        """A client that waits for the server to be there and loaded."""
        backoff = redis.backoff.ConstantBackoff(0.01)
        retry = redis.retry.Retry(backoff, 1000, supported_errors=(redis.RedisError, OSError))
        return redis.Redis.from_url(self.url, retry=retry)

    @contextlib.contextmanager
    def held_still(self) -> Iterator[None]:
        """It is there and says nothing: what it is asked inside the block is in flight until its end."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running_store(*options: str) -> Iterator[StoreServer]:
    """A store in a directory of its own, which what belongs to it may share; `options` are the server's."""
    # Not under pytest's own directories: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="store") as directory:
        server = StoreServer(Path(directory), *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
