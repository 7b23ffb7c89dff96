"""What a deliverer has read of its stream and not yet finished: in order, and within bounds of memory."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from event_stream.patience import until_told
from heap_export.payloads import Parcel, open_parcel

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from event_stream.stream import Record, Stream
    from heap_export.heap import Told

MOST_OF_PERSON = 500

_MOST, _MOST_BYTES = 20_000, 32 << 20
_AT_A_TIME = 500  # entries in one step of the store
_OVERHEAD = 1000  # bytes that a record takes in memory beside its body


@dataclass(slots=True, eq=False)
class Waiting:
    """A record in hand. `tracked`: Heap has its event. `told` is what Heap said last, `sent` when (since 1970).

    `is_delivered`, or `dead`, the reason why it never will be.
    """

    id: bytes
    identity: str
    parcel: Parcel
    size: int
    attempts: int = 0
    tracked: bool = False
    told: Told | None = None
    sent: float = 0.0
    is_delivered: bool = False
    dead: str = ""
    failures: int = 0  # of calls with this record alone that Heap failed over
    taken_before: int = 0  # calls that Heap had taken before the first of these


class Ahead:
    """Of one person it has `MOST_OF_PERSON` records at the most, so that one with many does not keep out the others.

    What of theirs comes later is passed over, and read once there is room: their order stays.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.clear()

    def clear(self) -> None:
        """Begin again: nothing is in hand."""
        self.unreadable: list[Record] = []
        self._records: dict[bytes, Waiting] = {}
        self._numbers: Counter[str] = Counter()
        self._bytes = 0
        self._place = b""
        self._passed_over: set[str] = set()
        self._back_to = b""  # where the first of what was passed over comes

    def __len__(self) -> int:
        return len(self._records)

    async def fill(self) -> None:
        """Read on, as far as there is room. Entries that nobody can read are put among `unreadable`."""
        if not self._records:
            self._place = b""  # the stream holds nothing but what is not delivered
            self._passed_over.clear()
        elif any(self._numbers[identity] <= MOST_OF_PERSON // 2 for identity in self._passed_over):
            self._place = self._back_to
            self._passed_over.clear()
        while len(self._records) < _MOST and self._bytes < _MOST_BYTES and not self.unreadable:
            rows = await until_told(partial(self._stream.read, self._place, _AT_A_TIME))
            for row in rows:
                self._put(row)
            if not rows:
                break

    def first(self, most: int, most_bytes: int, *, but_of: Container[str]) -> list[Waiting]:
        """The first ones that are not `but_of` these people; one at least, however large it is."""
        found: list[Waiting] = []
        size = 0
        for record in self._records.values():
            if record.identity in but_of:
                continue
            size += record.size
            if found and (len(found) == most or size > most_bytes):
                break
            found.append(record)
        return found

    def sample(self, most: int) -> list[Waiting]:
        """The first record of each of some people, whoever they are."""
        of_each: dict[str, Waiting] = {}
        for record in self._records.values():
            of_each.setdefault(record.identity, record)
        return random.sample(list(of_each.values()), min(most, len(of_each)))

    def remove(self, records: Iterable[Waiting]) -> None:
        for record in records:
            if self._records.pop(record.id, None) is not None:
                self._bytes -= record.size + _OVERHEAD
                self._numbers[record.identity] -= 1
                if not self._numbers[record.identity]:
                    del self._numbers[record.identity]

    def _put(self, row: Record) -> None:
        before, self._place = self._place, row.id
        if row.id in self._records:  # read again on the way to what was passed over
            return
        if row.to in self._passed_over:
            return
        if self._numbers[row.to] >= MOST_OF_PERSON:
            if not self._passed_over:
                self._back_to = before
            self._passed_over.add(row.to)
            return
        try:
            parcel = open_parcel(row.body)
        except msgspec.MsgspecError:
            self.unreadable.append(row)
            return
        self._records[row.id] = Waiting(row.id, row.to, parcel, len(row.body))
        self._numbers[row.to] += 1
        self._bytes += len(row.body) + _OVERHEAD
