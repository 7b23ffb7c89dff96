"""The store as all lists share it: whether it answers, and how much of it goes on at once."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from attribute_lists.projection.guard import LIGHT, SLICE, Guard
from foundation.shared_wire import SharedWire
from foundation.store import look_again
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from foundation.store import Store

log = logging.getLogger(__name__)

_CHANGES_AT_ONCE = 32
_REPAIRS_AT_ONCE = 32  # no page waits behind one of another list
_LARGE_BUILDS_AT_ONCE = 3

_REFUSAL_SECONDS = 15.0  # longer than a list pauses between attempts


class StoreState:
    """`answers` is set while the store does. `trouble`: what stands against it; `refusal`: why it refused a change."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.answers = asyncio.Event()
        self.trouble: str | None = None
        self.refusal: str | None = None
        self.away_since: float | None = None  # time.monotonic
        self.doubted = asyncio.Event()  # somebody met an error: it is to be looked at now
        self.changes = asyncio.Semaphore(_CHANGES_AT_ONCE)
        self.repairs = asyncio.Semaphore(_REPAIRS_AT_ONCE)
        self.large_builds = asyncio.Semaphore(_LARGE_BUILDS_AT_ONCE)
        self._wires: dict[str, SharedWire] = {}  # by server
        self._opening = asyncio.Lock()
        self.opened = 0  # connections so far
        self._refused_at = 0.0

    def failed(self, error: BaseException, *, while_looking: bool = False) -> None:
        """An error of the store: it is away, or refuses a change."""
        trouble = explain(error)
        look_again(self.store)
        if isinstance(error, ResponseError) and not while_looking:
            if self.refusal is None:
                log.error("the store refuses changes: %s; trying again", trouble)
            self.refusal = trouble
            self._refused_at = time.monotonic()
            return
        if self.trouble is None:
            log.warning("the store is away: %s; the projection waits", trouble)
            self.away_since = time.monotonic()
        self.trouble = trouble
        self.answers.clear()
        self.doubted.set()

    def answered(self) -> None:
        """It was looked at, and is there."""
        if self.trouble is not None:
            log.info("the store is back; the projection goes on")
        self.trouble = self.away_since = None
        self.answers.set()
        if self.refusal is not None and time.monotonic() - self._refused_at > _REFUSAL_SECONDS:
            log.info("the store takes changes again")
            self.refusal = None

    async def guard(self, about: str, refused: str) -> Guard:
        """Guarded changes of the keys beside `about`, over the connection of their server. Raises the store's errors.

        Each step asks for one of its own: what it began on one connection it does not go on with on another.
        """
        server = self.server_of(about)
        wire = self._wires.get(server)
        if wire is None or not wire.is_usable:
            async with self._opening:
                wire = self._wires.get(server)
                if wire is None or not wire.is_usable:
                    if wire is not None:
                        await self._wires.pop(server).aclose()
                    wire = self._wires[server] = await SharedWire.opened(self.store, about, most=SLICE + LIGHT)
                    self.opened += 1
        return Guard(wire, about, refused)

    async def aclose(self) -> None:
        for wire in self._wires.values():
            await wire.aclose()
        self._wires.clear()

    def server_of(self, key: str) -> str:
        """The name of the server that has `key`, as far as is known; nothing where there is but one."""
        if not isinstance(self.store, RedisCluster):
            return ""
        node = self.store.get_node_from_key(key)
        return "" if node is None else str(node.name)
