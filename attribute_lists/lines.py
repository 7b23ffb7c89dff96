"""Which server has a list: one line to a single server or a Sentinel's master, one to each primary of a cluster."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, NoReturn

from redis.asyncio import RedisCluster
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ConnectionError,  # noqa: A004 - the store's own
    MaxConnectionsError,
)

from attribute_lists import keys
from attribute_lists.line import LAG_SECONDS, Line
from attribute_lists.states import State
from foundation.background import keep_running
from foundation.connections import connection_to
from foundation.store import STORE_ERRORS, look_again
from foundation.tasks import Tasks, end
from foundation.wire import pack

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from redis.asyncio import Redis
    from redis.asyncio.cluster import ClusterNode

    from attribute_lists.batches import Query
    from attribute_lists.line import Judge
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
        self._tasks: dict[str, asyncio.Task[NoReturn]] = {}
        self._following = Tasks(lambda _: None)  # whoever waits for one of them hears of its error

    @property
    def are_up(self) -> bool:
        return bool(self._lines) and all(line.is_up for line in self._lines.values())

    @property
    def tell_of_changes(self) -> bool:
        """Whether nothing can change without a word."""
        return bool(self._lines) and all(line.is_up and line.tracks for line in self._lines.values())

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
        await self._following.end()
        self._lines.clear()
        self._tasks.clear()

    def line_to(self, slot: int) -> Line | None:
        """The line to the server that has the keys of `slot`, as far as is known."""
        if not isinstance(self._store, RedisCluster):
            return self._lines.get("")
        nodes = self._store.nodes_manager.slots_cache.get(slot)
        return self._lines.get(nodes[0].name) if nodes else None

    def send(self, slot: int, query: Query) -> State | None:
        """Send `query` with the next batch to the server that has `slot`; or what stands against it."""
        line = self.line_to(slot)
        return State.STORE_DOWN if line is None else line.send(query)

    def execute(self, key: str, *command: str | bytes) -> Coroutine[Any, Any, Any]:
        """Send a command about `key` with the next batch; what is awaited is its reply. Raises what `follow` does."""
        sent = _Command(pack(*command))
        return self._reply_to(sent, command, self.send(key_slot(key.encode()), sent))

    async def _reply_to(self, sent: _Command, command: tuple[str | bytes, ...], against: State | None) -> Any:
        if against is not None:
            raise MaxConnectionsError if against is State.OVERLOADED else ConnectionError
        try:
            return await sent.reply
        except AskError:
            return await self.follow(*command)

    async def follow(self, *command: Any) -> Any:
        """The reply to a command that another node has to answer: redis-py follows it there, and learns where.

        Raises the store's errors, `TimeoutError` after the deadline. It goes on beyond that, since it may be about to
        open a connection: if it were given up, the next one would begin anew, and none would ever get through.
        """
        look_again(self._store)
        loop = asyncio.get_running_loop()
        due = loop.time() + self._deadline
        following = self._following.begin(self._store.execute_command(*command))
        await asyncio.wait([following], timeout=self._deadline)
        if not following.done() and loop.time() - due > LAG_SECONDS:
            # We were late ourselves, and its answer may be here already, unread.
            await asyncio.wait([following], timeout=self._deadline)
        self.look_again()
        if not following.done():
            raise TimeoutError
        return following.result()

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
        self._tasks[name] = keep_running("connection to the store", line.run)


class _Command:
    """A `Query` of one command, whose reply is awaited."""

    def __init__(self, command: bytes) -> None:
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._command = command

    def commands(self) -> list[bytes]:
        return [self._command]

    def told(self, replies: list[Any] | None) -> None:
        if self.reply.done():  # nobody waits for it any more
            return
        reply = TimeoutError() if replies is None else replies[0]
        if isinstance(reply, Exception):
            self.reply.set_exception(reply)
        else:
            self.reply.set_result(reply)
