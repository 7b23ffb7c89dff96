"""The store of the crash test, alone or with a replica, and what may happen to it."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

from tests.support.processes import StoreServer
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    import redis

_OPTIONS = (
    *("--appendfsync", "everysec"),
    *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
)
_LOST_SECONDS = 1.0  # what `everysec` may lose in a power cut


class Stores:
    """A store behind a proxy (`url`), so that receivers reach whoever is the master; made by `running`."""

    def __init__(self, directory: Path, front: Proxy, link: Proxy, master: StoreServer) -> None:
        self.url = f"redis://127.0.0.1:{front.port}"
        self._directory = directory
        self._front = front
        self._link = link  # what a replica reaches its master through
        self._master = master
        self._replica: StoreServer | None = None
        self._made = 1

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, *, replicated: bool) -> Iterator[Stores]:
        master = _server(directory, 1)
        with Proxy(_socket(master)) as front, Proxy(_socket(master)) as link:
            stores = cls(directory, front, link, master)
            try:
                master.start()
                if replicated:
                    stores.add_replica()
                yield stores
            finally:
                stores._master.kill()
                if stores._replica is not None:
                    stores._replica.kill()

    def client(self) -> redis.Redis:
        """To the master itself."""
        return self._master.client()

    def kill(self) -> None:
        self._master.kill()

    def restart(self) -> None:
        self._master.start()

    def empty(self) -> None:
        """Delete the files of a master that was killed."""
        for path in self._master.directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def kill_and_tear(self, rng: random.Random) -> int:
        """Kill the master and cut off the end of what it wrote in its last second, as a power cut does; the bytes."""
        before = self._log_sizes()
        time.sleep(rng.uniform(0, _LOST_SECONDS))
        self._master.kill()
        after = self._log_sizes()
        path = max(after, key=lambda path: path.stat().st_mtime)
        kept = rng.randint(before.get(path, 0), after[path])
        with path.open("r+b") as file:
            file.truncate(kept)
        return after[path] - kept

    def add_replica(self) -> None:
        """A replica on files of its own, in step with the master when this returns."""
        self._made += 1
        self._replica = _server(self._directory, self._made)
        self._replica.start()
        with self._replica.client() as client:
            client.replicaof("127.0.0.1", self._link.port)
        self.wait_for_replica()

    def wait_for_replica(self) -> None:
        assert self._replica is not None
        with self._replica.client() as replica, self.client() as master:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                theirs: Any = replica.info("replication")
                ours: Any = master.info("replication")
                in_step = theirs["master_replid"] == ours["master_replid"]
                if theirs.get("master_link_status") == "up" and in_step:
                    return
                time.sleep(0.02)
        raise TimeoutError("the replica did not come in step with its master")

    def lag(self) -> None:
        """From now on the replica hears nothing of what is written."""
        self.wait_for_replica()
        self._link.hold()

    def fail_over(self) -> None:
        """Kill the master and promote the replica: what it did not hear of is lost, the receivers are not told."""
        assert self._replica is not None
        self._master.kill()
        self._link.point_at(_socket(self._replica))
        with self._replica.client() as client:
            client.replicaof("NO", "ONE")
        self._master, self._replica = self._replica, None
        self._front.point_at(_socket(self._master))

    def _log_sizes(self) -> dict[Path, int]:
        paths = (self._master.directory / "appendonlydir").glob("*.incr.aof")
        return {path: path.stat().st_size for path in paths}


def _server(directory: Path, number: int) -> StoreServer:
    home = directory / f"s{number}"
    home.mkdir()
    return StoreServer(home, *_OPTIONS)


def _socket(server: StoreServer) -> Path:
    return server.directory / "s"
