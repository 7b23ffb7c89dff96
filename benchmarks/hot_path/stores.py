"""The stores that are asked: one server, and a cluster of three nodes, on the core of the load."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Protocol

from attribute_lists import keys
from attribute_lists.definitions import Definitions
from benchmarks.hot_path.questions import ACCOUNT, Lists, value
from foundation.settings import ServiceSettings
from foundation.store import connect
from tests.support.cluster import Cluster
from tests.support.ports import free_ports
from tests.support.servers import Server

if TYPE_CHECKING:
    from pathlib import Path

    import redis

_AT_ONCE = 1000
_MEMBERSHIP = ("cmdstat_sismember", "cmdstat_smismember")


class Store(Protocol):
    """`settings`: what tells a service of ours where it is."""

    settings: dict[str, str]

    def membership_commands(self) -> int:
        """How many commands so far asked for members: that an answer came from the store can be counted."""


class SingleStore:
    def __init__(self, directory: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}"
        self.settings = {"REDIS_URL": self.url}
        self._server = Server(directory, self.port)

    def start(self) -> None:
        self._server.start("--save", "", "--appendonly", "no")

    def stop(self) -> None:
        self._server.kill()

    def membership_commands(self) -> int:
        with self._server.client() as client:
            return _membership_commands(client)

    def version(self) -> str:
        with self._server.client() as client:
            found = client.info("server")
        named = found.get("server_name", "redis")
        return f"{named} {found.get(f'{named}_version', found['redis_version'])}"


class ClusterStore:
    def __init__(self, directory: Path) -> None:
        self._cluster = Cluster(directory)
        self.settings = self._cluster.settings

    def start(self) -> None:
        self._cluster.start()

    def stop(self) -> None:
        self._cluster.stop()

    def membership_commands(self) -> int:
        found = 0
        for node in self._cluster.primaries:
            with node.client() as client:
                found += _membership_commands(client)
        return found

    def names_on_every_node(self) -> tuple[str, ...]:
        """Names of lists, one on each node."""
        found: dict[int, str] = {}
        with self._cluster.client() as client:
            for number in itertools.count():
                name = f"heap_bench_{number}"
                found.setdefault(client.get_node_from_key(keys.members(ACCOUNT, name)).port, name)
                if len(found) == len(self._cluster.primaries):
                    return tuple(found.values())
        raise AssertionError


def _membership_commands(client: redis.Redis) -> int:
    found: dict[str, Any] = client.info("commandstats")
    return sum(found[name]["calls"] for name in _MEMBERSHIP if name in found)


def fill(store: Store, lists: Lists) -> None:
    """Make the lists as a push does, so that the gateway knows them; their members as plain `SADD`."""
    asyncio.run(_fill(store, lists))


async def _fill(store: Store, lists: Lists) -> None:
    named: dict[str, Any] = {name.lower(): value for name, value in store.settings.items()}
    client = connect(ServiceSettings(_env_file=None, **named))
    try:
        await client.set(keys.REGISTRY_IDENTITY, "benchmark")  # a store without it counts as emptied
        for name in lists.names:
            made = await Definitions(client).list_of_segment(ACCOUNT, name, name, source="benchmark", wanted=name)
            assert made == name
            for start in range(0, lists.members, _AT_ONCE):
                numbers = range(start, min(start + _AT_ONCE, lists.members))
                await client.execute_command("SADD", keys.members(ACCOUNT, name), *map(value, numbers))
    finally:
        await client.aclose()
