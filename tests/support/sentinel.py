"""A replicated store under Sentinel, of the tests' own: real servers on loopback, stopped by pid."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis.sentinel import Sentinel

from tests.support.ports import free_ports
from tests.support.servers import START_SECONDS, Server, client_options
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from tests.support.certificates import Certificates

MASTER = "lists"
_SENTINELS = 3
_DOWN_AFTER_MS = 500
_FAILOVER_MS = 3000


class Replicated:
    """A master, `replicas`, and three Sentinels that watch them."""

    def __init__(self, directory: Path, *, replicas: int = 1, tls: Certificates | None = None) -> None:
        servers = [Server(directory / str(port), port, tls) for port in free_ports(1 + replicas + _SENTINELS)]
        self._tls = tls
        self.stores, self.sentinels = servers[: 1 + replicas], servers[1 + replicas :]

    @property
    def settings(self) -> dict[str, str]:
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        named = {"REDIS_SENTINELS": addresses, "REDIS_SENTINEL_MASTER": MASTER}
        if self._tls is None:
            return named
        return named | {"REDIS_ENABLE_TLS": "true", "REDIS_TLS_CA_PATH": str(self._tls.authority)}

    def start(self) -> None:
        first = self.stores[0]
        self.start_store(first)
        for replica in self.stores[1:]:
            self.start_store(replica, replica_of=first)
        for sentinel in self.sentinels:
            sentinel.directory.mkdir()
            configuration = sentinel.directory / "sentinel.conf"
            configuration.write_text(
                f"sentinel monitor {MASTER} 127.0.0.1 {first.port} 2\n"
                f"sentinel down-after-milliseconds {MASTER} {_DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {MASTER} {_FAILOVER_MS}\n"
            )
            sentinel.start(str(configuration), "--sentinel")
        until(self._is_whole, seconds=START_SECONDS, what="the Sentinels to know everybody")

    def start_store(self, server: Server, *, replica_of: Server | None = None) -> None:
        """Start it, again perhaps, on its files."""
        follow = ["--replicaof", f"127.0.0.1 {replica_of.port}"] if replica_of is not None else []
        server.start("--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0", *follow)

    def _is_whole(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                known = client.sentinel_masters().get(MASTER, {})
            if known.get("num-other-sentinels") != _SENTINELS - 1 or known.get("num-slaves") != len(self.stores) - 1:
                return False
        return all(replica.replicates() for replica in self.stores[1:])

    def master(self) -> Server:
        """Who the Sentinels say is the master."""
        addresses = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        options = {"socket_timeout": 5} | client_options(self._tls)
        sentinels: Any = Sentinel(addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call] # redis-py's
        port = sentinels.discover_master(MASTER)[1]
        return next(server for server in self.stores if server.port == port)

    def client(self) -> redis.Redis:
        """A client of the master of this moment."""
        return self.master().client()

    def stop(self) -> None:
        for server in self.sentinels + self.stores:
            server.kill()


@contextlib.contextmanager
def replicated_store(directory: Path, *, replicas: int = 1, tls: Certificates | None = None) -> Iterator[Replicated]:
    found = Replicated(directory, replicas=replicas, tls=tls)
    try:
        found.start()
        yield found
    finally:
        found.stop()
