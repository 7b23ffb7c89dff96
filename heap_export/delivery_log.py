"""What became of each record: when it was sent, what Heap answered. A stream in Redis for each app id, without names.

The only module that knows its key and its fields: `who` (the beginning of a person's marks, see
`payloads.person_mark`) and `body` (the rest, JSON).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from foundation.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from foundation.store import Store
    from heap_export.settings import HeapExportSettings

Outcome = Literal["delivered", "dead"]

_AT_A_TIME = 200  # entries in one step, so that nothing else in the store waits for more than a millisecond
_DAY = 86_400

# KEYS the log. ARGV: most entries, the oldest id to keep, seconds until a log that nothing is added to is gone, then
# `who` and `body` of each entry.
_APPEND = """
for n = 4, #ARGV, 2 do redis.call('XADD', KEYS[1], '*', 'who', ARGV[n], 'body', ARGV[n + 1]) end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""

# KEYS the log. ARGV: the id to begin at, backwards, the oldest id to look at, how many.
_LOOK_BACK = "return redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])"


class Entry(msgspec.Struct, omit_defaults=True):
    """What became of a record. Times are in seconds since 1970, `name` is the flag's or the event's.

    `who`: the beginning of the person's marks. `status` and `answer` are Heap's last ones (0: none came), `attempts`
    how often the record was sent. `reason`: why it is dead. `id`: of the entry.
    """

    source: str
    name: str
    received: float
    sent: float
    status: int
    answer: str
    attempts: int
    outcome: Outcome
    reason: str = ""
    who: bytes = b""
    id: str = ""


_decode = msgspec.json.Decoder(Entry).decode


class DeliveryLog:
    """`DELIVERY_LOG_DAYS` and `DELIVERY_LOG_EVENTS` bound it. Every call may raise the store's errors."""

    def __init__(self, store: Store, app_id: str, settings: HeapExportSettings) -> None:
        self._store = store
        self._key = f"cg:heap:{{{app_id}}}:log"
        self._most = settings.delivery_log_events
        self._seconds = settings.delivery_log_days * _DAY

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add `entries`, whose `id` is given to them here."""
        if not self._most:
            return
        bounds: list[str | bytes | int] = [self._most, self._oldest(), max(1, int(self._seconds))]
        for start in range(0, len(entries), _AT_A_TIME):
            arguments = list(bounds)
            for entry in entries[start : start + _AT_A_TIME]:
                arguments += [entry.who, msgspec.json.encode(msgspec.structs.replace(entry, who=b""))]
            await run_script(self._store, _APPEND, [self._key], arguments)

    async def read(
        self, count: int, *, before: str = "", outcome: Outcome | None = None, whose: bytes | None = None
    ) -> list[Entry]:
        """Up to `count` entries, the newest first, those before the entry with the id `before` where it is given.

        `outcome`, `whose`: only entries with that one.
        """
        place = f"({before}" if before else "+"
        found: list[Entry] = []
        while len(found) < count:
            rows = await run_script(self._store, _LOOK_BACK, [self._key], [place, self._oldest(), _AT_A_TIME])
            found += [
                entry
                for entry in _entries_in(rows)
                if (outcome is None or entry.outcome == outcome) and (whose is None or entry.who == whose)
            ]
            if len(rows) < _AT_A_TIME:
                break
            place = f"({rows[-1][0].decode()}"
        return found[:count]

    async def erase(self, whose: bytes, tell: Callable[[int], object] = lambda _: None) -> int:
        """Delete a person's entries; how many. `tell` hears how many were looked at since."""
        place, erased = "+", 0
        while True:
            rows = await run_script(self._store, _LOOK_BACK, [self._key], [place, "-", _AT_A_TIME])
            theirs = [entry.id for entry in _entries_in(rows) if entry.who == whose]
            if theirs:
                erased += await self._store.execute_command("XDEL", self._key, *theirs)
            tell(len(rows))
            if len(rows) < _AT_A_TIME:
                return erased
            place = f"({rows[-1][0].decode()}"

    async def length(self) -> int:
        """How many entries there are."""
        length: int = await self._store.execute_command("XLEN", self._key)
        return length

    async def clear(self) -> None:
        """Delete all of it."""
        await self._store.execute_command("UNLINK", self._key)

    def _oldest(self) -> str:
        return str(max(0, int((time.time() - self._seconds) * 1000)))


def _entries_in(rows: Sequence[tuple[bytes, Sequence[bytes]]]) -> Iterator[Entry]:
    for id_, (_, who, _, body) in rows:
        entry = _decode(body)
        entry.who, entry.id = who, id_.decode()
        yield entry
