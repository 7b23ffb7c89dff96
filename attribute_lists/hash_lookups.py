"""Looks up fields of hashes in the store, such as what a name stands for, over the connection of the checks.

All that is asked in one turn of the event loop leaves as one command for each hash, every field in it once. Who asks
for a field that is under way shares its answer. So what many strangers ask at once takes no connections of a pool.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from attribute_lists.replies import MOVED, state_of, trouble_of_answers
from attribute_lists.states import State
from foundation.store import STORE_ERRORS
from foundation.tasks import Tasks
from foundation.wire import pack_many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from attribute_lists.lines import Lines

log = logging.getLogger(__name__)

_MOST_UNDER_WAY = 10_000  # fields, half of the checks that may be
_MOST_AT_ONCE = 1000  # in one command, a tenth of a millisecond for which others wait

Values = tuple[bytes | None, ...]  # of one field, in the order of the hashes
Found = dict[str, Values] | State  # by field; or why nothing can be said


class HashLookups:
    """The hashes `keys` share a slot. `note` is told what stood against looking up how many fields; None: nothing."""

    def __init__(self, lines: Lines, *keys: str, note: Callable[[State | None, int], object]) -> None:
        self.keys = keys
        self._lines = lines
        self._slot = key_slot(keys[0].encode())
        self._note = note
        self._under_way: dict[str, _Lookup] = {}
        self._next: _Lookup | None = None
        self._tasks = Tasks(lambda error: log.error("a look-up failed", exc_info=error))

    def get(self, field: str) -> asyncio.Future[Found]:
        """What there is of `field`, among others, within the deadline of a check. Others share it: don't cancel it."""
        lookup = self._under_way.get(field)
        if lookup is None:
            lookup = self._next_lookup()
            if not lookup.answered.done():
                lookup.fields.append(field)
                self._under_way[field] = lookup
        return lookup.answered

    async def aclose(self) -> None:
        await self._tasks.end()

    def _next_lookup(self) -> _Lookup:
        if self._next is not None and len(self._under_way) < _MOST_UNDER_WAY:
            return self._next
        lookup = _Lookup(self)
        overloaded = State.OVERLOADED if len(self._under_way) >= _MOST_UNDER_WAY else None
        against = overloaded or self._lines.send(self._slot, lookup)
        if against is not None:
            self.settle(lookup, against)
        else:
            self._next = lookup
        return lookup

    # What a lookup of ours tells.

    def left(self, lookup: _Lookup) -> None:
        """Nothing more can be asked with it."""
        if self._next is lookup:
            self._next = None

    def moved(self, lookup: _Lookup) -> None:
        """Another node has the hashes."""
        self._tasks.begin(self._follow(lookup))

    def settle(self, lookup: _Lookup, found: Found) -> None:
        self.left(lookup)
        for field in lookup.fields:
            del self._under_way[field]
        self._note(found if isinstance(found, State) else None, max(1, len(lookup.fields)))
        lookup.answered.set_result(found)

    async def _follow(self, lookup: _Lookup) -> None:
        asked = lookup.commands_of()
        found: Found = State.ERROR
        try:
            replies = await asyncio.gather(*(self._lines.follow("HMGET", key, *some) for key, some in asked))
            found = lookup.found_in(replies)
        except STORE_ERRORS as error:
            found = state_of(error)
        finally:
            self.settle(lookup, found)


class _Lookup:
    """What leaves in one go: a `Query`."""

    def __init__(self, owner: HashLookups) -> None:
        self.fields: list[str] = []
        self.answered: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._owner = owner

    def commands(self) -> list[bytes]:
        self._owner.left(self)
        return [pack_many("HMGET", key, some) for key, some in self.commands_of()]

    def told(self, replies: list[Any] | None) -> None:
        if replies is None:
            self._owner.settle(self, State.STORE_DOWN)
            return
        trouble = next(filter(None, map(trouble_of_answers, replies)), None)
        if trouble is None:
            self._owner.settle(self, self.found_in(replies))
        elif trouble == MOVED:
            self._owner.moved(self)
        else:
            self._owner.settle(self, State(trouble))

    def commands_of(self) -> list[tuple[str, list[bytes]]]:
        """Hash and fields of each command: all of the first hash, then all of the next."""
        fields = [field.encode() for field in self.fields]
        starts = range(0, len(fields), _MOST_AT_ONCE)
        return [(key, fields[start : start + _MOST_AT_ONCE]) for key in self._owner.keys for start in starts]

    def found_in(self, replies: Sequence[list[bytes | None]]) -> dict[str, Values]:
        values = itertools.chain.from_iterable(replies)
        by_hash = [list(itertools.islice(values, len(self.fields))) for _ in self._owner.keys]
        return dict(zip(self.fields, zip(*by_hash, strict=True), strict=True))
