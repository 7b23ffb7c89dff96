"""Marks of events, by which each is appended once, whoever sends it how often."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from event_stream import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

PERSON_BYTES, MARK_BYTES = 6, 16

_SHARES = 1 << 20  # of the marks that stay for good: with millions of them some ten in each set
_SHARES_OF_A_TIME = 1 << 12


class Mark(NamedTuple):
    """`value`: `MARK_BYTES` bytes, of which the first `PERSON_BYTES` tell whose event it is.

    It is known for `seconds`, and up to as long again; 0: for good.
    """

    value: bytes
    seconds: int = 0


def sets_of(stream: str, mark: Mark) -> tuple[str, str]:
    """The keys where `mark` is looked for: the first is where it is kept, too."""
    if not mark.seconds:
        key = keys.marks(stream, "always", _share(mark.value, _SHARES))
        return key, key
    now = int(time.time() // mark.seconds)
    share = _share(mark.value, _SHARES_OF_A_TIME)
    current, before = (keys.marks(stream, f"{mark.seconds}-{number}", share) for number in (now, now - 1))
    return current, before


def number_of_sets(seconds: int) -> int:
    """How many keys `all_sets` gives."""
    return 2 * _SHARES_OF_A_TIME if seconds else _SHARES


def all_sets(stream: str, seconds: int) -> Iterator[str]:
    """Every key where a mark that is known for `seconds` (0: for good) may be; there are many."""
    if not seconds:
        yield from (keys.marks(stream, "always", share) for share in range(_SHARES))
        return
    now = int(time.time() // seconds)
    for number in (now, now - 1):
        yield from (keys.marks(stream, f"{seconds}-{number}", share) for share in range(_SHARES_OF_A_TIME))


def _share(value: bytes, shares: int) -> int:
    """By the person alone, so that whoever forgets a person need not look everywhere."""
    return int.from_bytes(value[:PERSON_BYTES], "big") % shares
