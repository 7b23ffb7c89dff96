"""Which server has a list: one line to a single server or a Sentinel's master, one to each primary of a cluster."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from redis.asyncio import RedisCluster

from attribute_lists import keys
from attribute_lists.line import Line
from foundation.connections import connection_to
from foundation.store import STORE_ERRORS, look_again
from foundation.tasks import end
from foundation.wire import pack

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import ClusterNode

    from attribute_lists.line import Judge
    from attribute_lists.lists import AskedList
    from foundation.store import Store

_IDENTITY = pack("GET", keys.REGISTRY_IDENTITY)


class Lines:
    """The lines to a store. `generation` changes whenever a list may be elsewhere than before."""

    def __init__(self, store: Store, judge: Judge, *, deadline: float) -> None:
        self.generation = 0
        self._store = store
        self._judge = judge
        self._deadline = deadline
        self._lines: dict[str, Line] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def are_up(self) -> bool:
        return bool(self._lines) and all(line.is_up for line in self._lines.values())

    async def open(self, *, seconds: float) -> None:
        """Begin to connect, and give it a moment: whoever asks first should not find a store that seems down."""
        if not isinstance(self._store, RedisCluster):
            self._begin("", self._store, identity=_IDENTITY)  # on a cluster, one server has that key
        else:
            try:
                async with asyncio.timeout(seconds):
                    await self._store.initialize()
            except STORE_ERRORS:
                look_again(self._store)
            self.look_again()
        for _ in range(int(seconds / 0.01)):
            if self.are_up or any(line.has_failed for line in self._lines.values()):
                return
            await asyncio.sleep(0.01)

    async def aclose(self) -> None:
        await end(*self._tasks.values())
        self._lines.clear()
        self._tasks.clear()

    def line_of(self, asked: AskedList) -> Line | None:
        """The line to the server that has the list, as far as is known."""
        if not isinstance(self._store, RedisCluster):
            return self._lines.get("")
        nodes = self._store.nodes_manager.slots_cache.get(asked.slot)
        return self._lines.get(nodes[0].name) if nodes else None

    def look_again(self) -> None:
        """Lists may have moved: read anew which server has which, as far as redis-py knows it."""
        self.generation += 1
        if not isinstance(self._store, RedisCluster):
            return
        primaries = {node.name: node for node in self._store.get_primaries()}
        for name in self._lines.keys() - primaries.keys():
            self._tasks.pop(name).cancel()
            del self._lines[name]
        for name, node in primaries.items():
            if name not in self._lines:
                self._begin(name, node)

    def _begin(self, name: str, server: Redis | ClusterNode, *, identity: bytes = b"") -> None:
        connect = functools.partial(connection_to, server)
        line = self._lines[name] = Line(connect, self._judge, deadline=self._deadline, identity=identity)
        self._tasks[name] = asyncio.create_task(line.run())
