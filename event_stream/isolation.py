"""Isolation of the events that make requests fail, from those that fail along with them.

A request that fails with an error of the other side's program (500) may do so because of one event in it, for ever. But
while nothing passes it is an outage, and no event is to blame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from event_stream.stream import Record

_TRIES_ALONE = 5


class Isolation:
    """Events that failed together: tried one at a time, and more and more at a time as long as they are taken.

    Who fails alone, again and again, is to blame once another one was taken since its first failure.
    """

    def __init__(self, records: Iterable[Record], *, most_at_once: int) -> None:
        self._waiting = deque(records)
        self._most_at_once = most_at_once
        self._size = 1
        self._taken = 0  # requests
        self._failed: dict[bytes, _Failure] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def wants_company(self) -> bool:
        """Whether all have failed alone: then only others can tell whether they are to blame."""
        return len(self._failed) >= len(self._waiting)

    def add(self, records: Iterable[Record]) -> None:
        self._waiting.extend(records)

    def keep(self, ids: Collection[bytes]) -> None:
        """Only these are still wanted."""
        self._waiting = deque(record for record in self._waiting if record.id in ids)
        self._failed = {id_: failure for id_, failure in self._failed.items() if id_ in ids}

    @property
    def ids(self) -> list[bytes]:
        return [record.id for record in self._waiting]

    def next(self) -> list[Record]:
        """Those to try now; what came of it must be told, by one of the methods below."""
        return [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]

    def were_taken(self, part: Iterable[Record]) -> None:
        self.are_done(part)
        if not self._taken:  # an outage may have turned the others round
            self._waiting = deque(sorted(self._waiting, key=_place_in_stream))
        self._taken += 1
        self._size = min(2 * self._size, self._most_at_once)

    def are_done(self, part: Iterable[Record]) -> None:
        """They are not to be tried again, though they were not taken."""
        for record in part:
            self._failed.pop(record.id, None)

    def failed_together(self, part: list[Record]) -> None:
        self._waiting.extendleft(reversed(part))
        self._size = len(part) // 2

    def failed_alone(self, record: Record, *, may_be_to_blame: bool) -> bool:
        """Whether `record` is to blame; if not, others are tried before it is tried again."""
        if may_be_to_blame:
            failure = self._failed.setdefault(record.id, _Failure(self._taken))
            failure.tries += 1
            if failure.tries >= _TRIES_ALONE and self._taken > failure.taken_before:
                return True
        self._waiting.append(record)
        return False


@dataclass(slots=True)
class _Failure:
    """Of an event alone, `tries` times; so many requests had been taken before the first time."""

    taken_before: int
    tries: int = 0


def _place_in_stream(record: Record) -> tuple[int, int]:
    milliseconds, _, number = record.id.partition(b"-")
    return int(milliseconds), int(number)
