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
    from collections.abc import Callable, Iterable, Sequence

    from attribute_lists.lines import Lines

log = logging.getLogger(__name__)

_MOST_UNDER_WAY = 10_000  # fields, half of the checks that may be
_MOST_AT_ONCE = 1000  # in one command, a tenth of a millisecond for which others wait

Found = tuple[bytes | None, ...] | State  # of one field, a value of each hash; or why nothing can be said


class HashLookups:
    """The hashes `keys` share a slot. `note` is told what stood against looking up how many fields; None: nothing."""

    def __init__(self, lines: Lines, *keys: str, note: Callable[[State | None, int], object]) -> None:
        self.keys = keys
        self._lines = lines
        self._slot = key_slot(keys[0].encode())
        self._note = note
        self._under_way: dict[str, asyncio.Future[Found]] = {}
        self._next: _Lookup | None = None
        self._tasks = Tasks(lambda error: log.error("a look-up failed", exc_info=error))

    def get(self, field: str) -> asyncio.Future[Found]:
        """What there is of `field`, within the deadline of a check. Whoever asks shares it, so nobody may cancel it."""
        found = self._under_way.get(field)
        if found is None:
            found = asyncio.get_running_loop().create_future()
            against = self._ask(field, found)
            if against is not None:
                self._note(against, 1)
                found.set_result(against)
        return found

    async def aclose(self) -> None:
        await self._tasks.end()

    def _ask(self, field: str, found: asyncio.Future[Found]) -> State | None:
        if len(self._under_way) >= _MOST_UNDER_WAY:
            return State.OVERLOADED
        if self._next is None:
            lookup = _Lookup(self)
            against = self._lines.send(self._slot, lookup)
            if against is not None:
                return against
            self._next = lookup
        self._next.fields[field] = self._under_way[field] = found
        return None

    # What a lookup of ours tells.

    def left(self, lookup: _Lookup) -> None:
        """Nothing more can be asked with it."""
        if self._next is lookup:
            self._next = None

    def moved(self, lookup: _Lookup) -> None:
        """Another node has the hashes."""
        self._tasks.begin(self._follow(lookup))

    def settle(self, lookup: _Lookup, found: Sequence[Sequence[bytes | None]] | State) -> None:
        """`found`: the values of all fields, hash by hash."""
        self.left(lookup)
        answers: Iterable[Found]
        if isinstance(found, State):
            self._note(found, len(lookup.fields))
            answers = [found] * len(lookup.fields)
        else:
            self._note(None, len(lookup.fields))
            answers = zip(*found, strict=True)
        for (field, waiting), answer in zip(lookup.fields.items(), answers, strict=True):
            del self._under_way[field]
            waiting.set_result(answer)

    async def _follow(self, lookup: _Lookup) -> None:
        asked = lookup.commands_of()
        found: Sequence[Sequence[bytes | None]] | State = State.ERROR
        try:
            replies = await asyncio.gather(*(self._lines.follow("HMGET", key, *some) for key, some in asked))
            found = lookup.values_in(replies)
        except STORE_ERRORS as error:
            found = state_of(error)
        finally:
            self.settle(lookup, found)


class _Lookup:
    """What leaves in one go: a `Query`."""

    def __init__(self, owner: HashLookups) -> None:
        self.fields: dict[str, asyncio.Future[Found]] = {}
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
            self._owner.settle(self, self.values_in(replies))
        elif trouble == MOVED:
            self._owner.moved(self)
        else:
            self._owner.settle(self, State(trouble))

    def commands_of(self) -> list[tuple[str, list[bytes]]]:
        """Hash and fields of each command: all of the first hash, then all of the next."""
        fields = [field.encode() for field in self.fields]
        starts = range(0, len(fields), _MOST_AT_ONCE)
        return [(key, fields[start : start + _MOST_AT_ONCE]) for key in self._owner.keys for start in starts]

    def values_in(self, replies: Sequence[list[bytes | None]]) -> list[list[bytes | None]]:
        """The values of all fields, hash by hash."""
        values = itertools.chain.from_iterable(replies)
        return [list(itertools.islice(values, len(self.fields))) for _ in self._owner.keys]
