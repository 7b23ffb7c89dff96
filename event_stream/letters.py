"""Dead letters, to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from event_stream import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from event_stream.stream import Stream

_AT_A_TIME = 200


class Letter(NamedTuple):
    """An event that nobody takes, and why. `id` is that of the letter."""

    id: str
    reason: str
    to: str
    body: bytes


async def read_letters(stream: Stream, count: int, *, before: str = "", reason: str = "") -> list[Letter]:
    """Up to `count` dead letters, the newest first, those older than the one with the id `before` where it is given.

    `reason`: only those of this one. Raises the store's errors.
    """
    place, found = f"({before}" if before else "+", list[Letter]()
    while len(found) < count:
        rows = await stream.store.execute_command("XREVRANGE", keys.dead(stream.name), place, "-", "COUNT", _AT_A_TIME)
        found += [letter for letter in map(_letter, rows) if reason in ("", letter.reason)]
        if len(rows) < _AT_A_TIME:
            break
        place = f"({rows[-1][0].decode()}"
    return found[:count]


def _letter(row: tuple[bytes, Mapping[bytes, bytes]]) -> Letter:
    id_, fields = row
    return Letter(
        id_.decode(),
        fields.get(b"reason", b"").decode(),
        fields.get(b"to", b"").decode("utf-8", "replace"),
        fields.get(b"body", b""),
    )
