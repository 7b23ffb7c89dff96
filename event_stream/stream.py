"""A stream of events: appended to, looked at, cleaned up."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from event_stream import keys, scripts
from event_stream.marks import PERSON_BYTES, Mark, sets_of
from foundation.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from foundation.store import Store

_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_AT_A_TIME = 200  # entries that a walk looks at in one step, so that nothing else waits for long
_TRIMMED_AT_A_TIME = 5000


class Appended(IntEnum):
    """What became of an event with a mark."""

    NO_ROOM = -1
    KNOWN = 0
    STORED = 1


class Event(NamedTuple):
    """`to` tells where it goes, in words of the sender's own; events for one place are delivered in order."""

    to: str
    body: bytes


class Record(NamedTuple):
    """An event in a stream, under its id there."""

    id: bytes
    to: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """`waiting`: not delivered yet, `in_hand` of these are being delivered; the oldest has waited `oldest_seconds`.

    `dead`: letters; the last came `last_dead_seconds` ago. `counts`: see `keys.counts`. Seconds are the store's clock
    read by ours.
    """

    waiting: int
    in_hand: int
    oldest_seconds: float
    dead: int
    last_dead_seconds: float | None
    counts: Mapping[str, int]


class Stream:
    """`most`: how many events wait at the most, further ones are refused. `most_dead`: the same for dead letters.

    Of dead letters the newest are kept. `group` reads it. Every call may raise the store's errors.
    """

    def __init__(self, store: Store, name: str, *, group: str, most: int, most_dead: int) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name of a stream is made of a-z, 0-9, _ and -: {name!r}")
        self.store = store
        self.name = name
        self.group = group
        self.most = most
        self.most_dead = most_dead
        self.entries, self._dead, self._counts = keys.entries(name), keys.dead(name), keys.counts(name)

    async def append(self, events: Sequence[Event], *, writer: str, number: int, lost: int = 0) -> int:
        """Add `events` in one round trip; how many found room, the first ones. The others are counted as dropped.

        The same `number` of a `writer` again changes nothing and has the same answer, so it can be tried again when no
        answer came. `lost`: events that the writer had to drop before, to be counted with the rest.
        """
        arguments: list[str | bytes | int] = [self.most, number, lost]
        for event in events:
            arguments += event
        names = [self.entries, self._counts, keys.writer(self.name, writer)]
        stored: int = await run_script(self.store, scripts.APPEND, names, arguments)
        return stored

    async def append_new(self, events: Sequence[tuple[Event, Mark]]) -> list[Appended]:
        """Add those of `events` whose mark is unknown; what became of each, in their order.

        It can be tried again when no answer came. Nothing is stored behind an event that finds no room.
        """
        told: list[Appended] = []
        while len(told) < len(events):
            if told and told[-1] is Appended.NO_ROOM:
                told += [Appended.NO_ROOM] * (len(events) - len(told))
                break
            names = [self.entries, self._counts]
            arguments: list[str | bytes | int] = [self.most]
            size = 0
            for (to, body), mark in events[len(told) : len(told) + _AT_A_TIME]:
                names += sets_of(self.name, mark)
                arguments += [to, body, mark.value, 2 * mark.seconds]
                size += len(body)
                if size >= scripts.MOST_BYTES:
                    break
            told += map(Appended, await run_script(self.store, scripts.APPEND_NEW, names, arguments))
        return told

    async def read(self, after: bytes, count: int) -> list[Record]:
        """Up to `count` events behind the id `after` (empty: from the first one on), without a group; none: the end.

        For a stream that one reader at a time delivers, who finishes them.
        """
        place = f"({after.decode()}" if after else "-"
        return [record_of(row) for row in await run_script(self.store, scripts.LOOK, [self.entries], [place, count])]

    async def present(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of these are still there: others were finished, erased or thrown away since they were read."""
        found: set[bytes] = set()
        for start in range(0, len(ids), _AT_A_TIME):
            some = ids[start : start + _AT_A_TIME]
            told = await run_script(self.store, scripts.PRESENT, [self.entries], some)
            found.update(id_ for id_, is_there in zip(some, told, strict=True) if is_there)
        return found

    async def forget_marks(self, whose: bytes, kept: Iterable[int]) -> int:
        """Forget a person's marks, given the first `PERSON_BYTES` of these; how many.

        `kept`: for how many seconds marks are known here, each number that there is (0: for good).
        """
        forgotten = 0
        names = {name for seconds in kept for name in sets_of(self.name, Mark(whose, seconds))}
        for name in names:
            members: Iterable[bytes] = await self.store.execute_command("SMEMBERS", name)
            theirs = [member for member in members if member[:PERSON_BYTES] == whose]
            if theirs:
                forgotten += await self.store.execute_command("SREM", name, *theirs)
        return forgotten

    async def finish(self, ids: Sequence[bytes]) -> int:
        """These are delivered; how many of them nobody had finished before."""
        names = [self.entries, self._counts]
        finished: int = await run_script(self.store, scripts.FINISH, names, [self.group, *ids])
        return finished

    async def bury(self, ids: Sequence[bytes], reason: str) -> tuple[int, int]:
        """Make dead letters of these; how many there were, and how many older ones had to go for them."""
        died, gone = await run_script(
            self.store, scripts.BURY, self._all_keys, [self.group, self.most_dead, reason, *ids]
        )
        return died, gone

    async def status(self) -> Status:
        waiting, first, in_hand, dead, last, flat = await run_script(
            self.store, scripts.STATUS, self._all_keys, [self.group]
        )
        now = time.time()
        return Status(
            waiting=waiting,
            in_hand=in_hand,
            oldest_seconds=max(0.0, now - seconds_of(first[0][0])) if first else 0.0,
            dead=dead,
            last_dead_seconds=max(0.0, now - seconds_of(last[0][0])) if last else None,
            counts={name.decode(): int(value) for name, value in zip(flat[::2], flat[1::2], strict=True)},
        )

    async def count_dead(self, tell: Callable[[int], object] = lambda _: None) -> dict[str, int]:
        """How many dead letters there are of each reason. `tell` hears how many were looked at since."""
        return await self._walk_dead("count", "", tell)

    async def retry(self, reason: str = "", tell: Callable[[int], object] = lambda _: None) -> dict[str, int]:
        """Send dead letters (of one `reason`) again, behind what waits; how many of each reason.

        Those that find no room in the stream stay dead.
        """
        return await self._walk_dead("retry", reason, tell)

    async def purge_dead(self, reason: str = "", tell: Callable[[int], object] = lambda _: None) -> dict[str, int]:
        """Throw dead letters (of one `reason`) away; how many of each reason."""
        return await self._walk_dead("purge", reason, tell)

    async def purge_waiting(self, tell: Callable[[int], object] = lambda _: None) -> int:
        """Throw away what waits now; how many. What is being delivered at this moment may still arrive."""
        left, gone = (await self.status()).waiting, 0
        while left > 0:
            trimmed: int = await run_script(
                self.store, scripts.TRIM, [self.entries, self._counts], [min(left, _TRIMMED_AT_A_TIME)]
            )
            if not trimmed:
                break
            left, gone = left - trimmed, gone + trimmed
            tell(trimmed)
        return gone

    async def remove(self, ids: Sequence[bytes]) -> int:
        """Throw away those of `ids` that wait; how many. What is being delivered at this moment may still arrive."""
        await self.store.execute_command("XACK", self.entries, self.group, *ids)
        removed: int = await self.store.execute_command("XDEL", self.entries, *ids)
        return removed

    async def erase(self, is_theirs: Callable[[Record], bool], tell: Callable[[int], object] = lambda _: None) -> int:
        """Delete all events that are `is_theirs`, dead ones too; how many. Other events stay where they are.

        What is being delivered at this moment may still arrive.
        """
        erased = 0
        for key, delete in ((self.entries, self.remove), (self._dead, self._forget_dead)):
            erased += await self._erase_from(key, is_theirs, delete, tell)
        return erased

    async def _erase_from(
        self,
        key: str,
        is_theirs: Callable[[Record], bool],
        delete: Callable[[Sequence[bytes]], Awaitable[object]],
        tell: Callable[[int], object],
    ) -> int:
        place, erased = "-", 0
        while True:
            rows = await run_script(self.store, scripts.LOOK, [key], [place, _AT_A_TIME])
            found = [record.id for record in map(record_of, rows) if is_theirs(record)]
            if found:
                await delete(found)
                erased += len(found)
            tell(len(rows))
            if not rows:
                return erased
            place = f"({rows[-1][0].decode()}"

    async def _forget_dead(self, ids: Sequence[bytes]) -> None:
        await self.store.execute_command("XDEL", self._dead, *ids)

    async def _walk_dead(self, act: str, reason: str, tell: Callable[[int], object]) -> dict[str, int]:
        """Those that there are now: what dies meanwhile comes behind them, perhaps for the second time."""
        last = await self.store.execute_command("XREVRANGE", self._dead, "+", "-", "COUNT", 1)
        numbers: dict[str, int] = {}
        place = "-" if last else ""
        while place:
            arguments = [act, self.most, reason, place, last[0][0], _AT_A_TIME]
            looked, following, full, told = await run_script(self.store, scripts.WALK_DEAD, self._all_keys, arguments)
            for name, number in zip(told[::2], told[1::2], strict=True):
                numbers[name.decode()] = numbers.get(name.decode(), 0) + number
            tell(looked)
            place = "" if full else following.decode()
        return numbers

    @property
    def _all_keys(self) -> list[str]:
        return [self.entries, self._counts, self._dead]


def seconds_of(id_: bytes) -> float:
    """When an entry came, on the store's clock."""
    return int(id_.partition(b"-")[0]) / 1000


def record_of(row: tuple[bytes, Sequence[bytes]]) -> Record:
    """An entry as a script gives it."""
    id_, fields = row
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return Record(id_, named.get(b"to", b"").decode("utf-8", "replace"), named.get(b"body", b""))
