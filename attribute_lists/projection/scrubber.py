"""The scrub: members of each set against the truth, slowly and all the time.

A stranger who adds one member and removes another leaves the size as it was. Whom the truth holds is looked for in the
set; where none is missing and the sizes are equal, the two are the same. Otherwise, or where the list changed
meanwhile, each member of the set is asked of the truth. What differs is told to the list, which asks the truth again
before it sets anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from attribute_lists.projection import about as shows
from attribute_lists.projection.guard import SLICE, UnguardedError, VersionConflictError
from attribute_lists.projection.list_set import in_slices
from attribute_lists.projection.truth import StaleHeadError
from foundation.errors import UnavailableError
from foundation.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from attribute_lists.projection.list_projection import ListProjection
    from attribute_lists.projection.registry_projection import RegistryProjection
    from attribute_lists.projection.store_state import StoreState
    from attribute_lists.projection.truth import ListHead, Truth

log = logging.getLogger(__name__)

ROUND_SECONDS = 2400.0  # for all lists, where they are not too many for it
_MOST_A_SECOND = 5000  # members
_LIST_WORTH = 20  # members: what a look at a list takes, whatever its size
_SHORTEST, _LONGEST = 0.001, 1.0  # seconds of a pause; many short ones are saved up
_RATE_SECONDS = 1.0  # for which the rate stays; lists grow


class Scrubber:
    """Scrubs all lists until cancelled. `round_seconds`: how long it takes over all of them."""

    def __init__(
        self,
        state: StoreState,
        truth: Truth,
        registry: RegistryProjection,
        lists: Callable[[], Sequence[ListProjection]],
        *,
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        self.rounds = 0
        self._state = state
        self._truth = truth
        self._registry = registry
        self._lists = lists
        self._round_seconds = round_seconds
        self._seconds_a_member = 0.0
        self._rated_at = float("-inf")
        self._owed = 0.0  # seconds of pauses

    async def run(self) -> None:
        while True:
            await self._state.answers.wait()
            lists = self._lists()
            try:
                await self._registry.check()
                for projected in sorted(lists, key=_is_sure):
                    if projected.is_settled and projected.head is not None:
                        await self._scrub_readable(projected, projected.head)
                    await self._pause(_LIST_WORTH)
            except STORE_ERRORS as error:
                self._state.failed(error)
            except (VersionConflictError, UnguardedError, UnavailableError) as error:
                log.info("the scrub pauses: %s", type(error).__name__)
            await asyncio.sleep(min(1.0, self._round_seconds))
            self.rounds += 1

    async def _scrub_readable(self, projected: ListProjection, head: ListHead) -> None:
        """One that the truth can't tell, since it is damaged, say, keeps no others from being scrubbed."""
        try:
            await self._scrub(projected, head)
        except UnavailableError as error:
            if projected.unreadable is None:
                log.warning("list %s:%s can't be compared: %s", *projected.name, error)
            projected.unreadable = error
        else:
            projected.unreadable = None

    async def _scrub(self, projected: ListProjection, head: ListHead) -> None:
        steps, projected.is_doubtful = projected.steps, False
        if not await self._is_described(projected, head) and projected.steps == steps:
            projected.suspect()
        held, is_whole = await self._look_for(projected, head)
        size = await self._state.store.execute_command("SCARD", projected.set.members)
        if projected.steps != steps or held != size or not is_whole:
            await self._ask_of(projected)

    async def _is_described(self, projected: ListProjection, head: ListHead) -> bool:
        about: Any = await self._state.store.execute_command("HGETALL", projected.set.about)
        if isinstance(about, list):  # before RESP3
            about = dict(zip(about[::2], about[1::2], strict=True))
        fields = [_bytes(text) for text in shows.about_fields(about.get(b"database", b""), head)]
        return all(about.get(name) == value for name, value in zip(fields[::2], fields[1::2], strict=True))

    async def _look_for(self, projected: ListProjection, head: ListHead) -> tuple[int, bool]:
        """Whom the truth holds, in the set; how many these are, and whether all of them are there."""
        count, is_whole = 0, True
        with contextlib.suppress(StaleHeadError):
            async with contextlib.aclosing(self._truth.members(head)) as stream:
                async for part in stream:
                    count += len(part)
                    for some in in_slices(part):
                        are_in = await self._state.store.execute_command("SMISMEMBER", projected.set.members, *some)
                        missing = [member for member, is_in in zip(some, are_in, strict=True) if not is_in]
                        if missing:
                            is_whole = False
                            projected.suspect(missing)
                        await self._pause(len(some))
        return count, is_whole

    async def _ask_of(self, projected: ListProjection) -> None:
        """Whom the set holds, of the truth."""
        cursor = b"0"
        while True:
            scan = ("SSCAN", projected.set.members, cursor, "COUNT", SLICE)
            cursor, some = _scanned(await self._state.store.execute_command(*scan))
            if some:
                held = await self._truth.holds(*projected.name, some)
                strangers = [member for member, is_held in zip(some, held, strict=True) if not is_held]
                if strangers:
                    projected.suspect(strangers)
            if cursor == b"0":
                return
            await self._pause(len(some))

    async def _pause(self, members: int) -> None:
        if time.monotonic() - self._rated_at > _RATE_SECONDS:
            # Each member is met twice at most.
            worth = sum(2 * projected.size + _LIST_WORTH for projected in self._lists())
            self._seconds_a_member = max(self._round_seconds / max(worth, 1), 1 / _MOST_A_SECOND)
            self._rated_at = time.monotonic()
        self._owed += members * self._seconds_a_member
        if self._owed >= _SHORTEST:
            pause, self._owed = min(self._owed, _LONGEST), 0.0
            await asyncio.sleep(pause)


def _scanned(reply: Any) -> tuple[bytes, list[bytes]]:
    """redis-py reads cursors as numbers."""
    cursor, members = reply
    return (cursor if isinstance(cursor, bytes) else str(cursor).encode()), list(members)


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _is_sure(projected: ListProjection) -> bool:
    return not projected.is_doubtful
