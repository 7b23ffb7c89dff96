"""Looks at the store: is it there, is it the one that it was, and does each set show what it should?

The registry is looked at more often than the lists (version, type, size); these at once where another run of a server
answers, where a connection was opened anew, or where the registry was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import RedisError, ResponseError

from attribute_lists import keys
from attribute_lists.projection import about as shows
from attribute_lists.projection.guard import UnguardedError, VersionConflictError
from foundation.errors import UnavailableError
from foundation.store import STORE_ERRORS, look_again, server_ids
from foundation.wire import wire_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from attribute_lists.projection.list_projection import ListProjection
    from attribute_lists.projection.registry_projection import RegistryProjection
    from attribute_lists.projection.store_state import StoreState

log = logging.getLogger(__name__)

_REGISTRY_SECONDS = 1.0
LISTS_SECONDS = 5.0
_AWAY_SECONDS = 0.25  # between attempts to reach a store that is away
_BEAT_SECONDS = "30"
_PIECE = 250  # lists asked for in one write


class Looked(Protocol):
    """Whose lists are looked at."""

    def lists(self) -> Sequence[ListProjection]: ...

    def beat(self) -> bytes: ...

    async def read_truth(self) -> None:
        """Which lists there are, where that is not known yet or was read long ago."""


class Looks:
    """Looks at all lists until cancelled."""

    def __init__(
        self, state: StoreState, registry: RegistryProjection, looked: Looked, *, lists_seconds: float = LISTS_SECONDS
    ) -> None:
        self._state = state
        self._registry = registry
        self._looked = looked
        self._lists_seconds = lists_seconds
        self._servers: tuple[str, int] | None = None  # which were looked at, over how many connections
        self._lists_looked_at = float("-inf")
        self._beat_at = float("-inf")

    async def run(self) -> None:
        while True:
            await self._looked.read_truth()
            pause = min(_REGISTRY_SECONDS, self._lists_seconds)
            self._state.doubted.clear()
            try:
                await self._look()
            except STORE_ERRORS as error:
                self._servers = None
                self._state.failed(error, while_looking=True)
                self._state.doubted.clear()
                pause = _AWAY_SECONDS
            except (VersionConflictError, UnguardedError, UnavailableError) as error:
                log.info("a look at the store: %s; again", type(error).__name__)
                pause = _AWAY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._state.doubted.wait(), pause)

    async def _look(self) -> None:
        ids = await server_ids(self._state.store)
        is_whole = await self._registry.look()
        servers = (ids, self._state.opened)
        is_due = time.monotonic() - self._lists_looked_at >= self._lists_seconds
        if servers != self._servers or not is_whole or is_due:
            await self._look_at_lists()
            self._lists_looked_at = time.monotonic()
            self._servers = servers
        self._state.answered()
        if time.monotonic() - self._beat_at >= LISTS_SECONDS:
            await self._beat()

    async def _beat(self) -> None:
        beat = self._looked.beat()
        try:
            await self._state.store.execute_command("SET", keys.RECEIVER, beat, "EX", _BEAT_SECONDS)
        except ResponseError as error:  # it is full, say
            self._state.failed(error)
        self._beat_at = time.monotonic()

    async def _look_at_lists(self) -> None:
        """The smallest first, so that of many lists that were lost most are whole soon."""
        idle = sorted((projected for projected in self._looked.lists() if projected.is_idle), key=_size)
        for projected_of_one in self._by_server(idle):
            async with wire_to(self._state.store, projected_of_one[0].set.about) as wire:
                for start in range(0, len(projected_of_one), _PIECE):
                    piece = [(one, one.steps) for one in projected_of_one[start : start + _PIECE]]
                    asked = b"".join([one.set.read_commands for one, _ in piece])
                    replies = await wire.ask(asked, 2 * len(piece))
                    for (one, steps), about, members in zip(piece, replies[::2], replies[1::2], strict=True):
                        if one.is_idle and one.steps == steps:
                            self._tell(one, about, members)

    def _tell(self, projected: ListProjection, about: object, members: object) -> None:
        try:
            found = shows.found(about, members)
        except RedisError:  # another server has it by now, say
            look_again(self._state.store)
            return
        projected.looked(found)

    def _by_server(self, lists: Sequence[ListProjection]) -> Iterable[list[ListProjection]]:
        of_servers: dict[str, list[ListProjection]] = {}
        for projected in lists:
            of_servers.setdefault(self._state.server_of(projected.set.about), []).append(projected)
        return of_servers.values()


def _size(projected: ListProjection) -> int:
    return projected.size
