"""What the process that folds asks of the one that writes; each is answered by yes or no.

Frames over pipes: four bytes of length, then msgpack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import msgspec

from cohort_sync.truth.bases import Partition  # noqa: TC001 - msgspec reads the annotations
from cohort_sync.truth.order import Place  # noqa: TC001

if TYPE_CHECKING:
    import asyncio

_LENGTH_BYTES = 4


class BeginRound(msgspec.Struct, tag=True, frozen=True):
    """Mark `tasks` of a list as taken by the round. No: something was accepted since `version` that belongs into it."""

    row: int
    number: int
    tasks: list[int]
    place: Place
    version: int


class PutPartition(msgspec.Struct, tag=True, frozen=True):
    """Replace the partition `number` by `parts` (those it is split into, with their bodies).

    `digest`: of the partition that was read; nothing, where there was none. No: it is another one by now, somebody was
    erased since `erasure`, or something was accepted since `version` that belongs into the round.
    """

    row: int
    number: int
    digest: bytes
    place: Place
    version: int
    erasure: int
    parts: list[tuple[Partition, bytes]]


class DropPages(msgspec.Struct, tag=True, frozen=True):
    """Drop the bodies that all partitions have."""

    row: int


class Damaged(msgspec.Struct, tag=True, frozen=True):
    """The list can't be folded until it is mended."""

    row: int
    what: str


class Sound(msgspec.Struct, tag=True, frozen=True):
    """Everything of the list that was needed could be read; `folded`: members that pages named."""

    row: int
    folded: int


Message = BeginRound | PutPartition | DropPages | Damaged | Sound

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def send(stream: BinaryIO, message: Message) -> None:
    body = _encode(message)
    stream.write(len(body).to_bytes(_LENGTH_BYTES) + body)
    stream.flush()


async def receive(stream: asyncio.StreamReader) -> Message:
    """Raises `asyncio.IncompleteReadError` at the end."""
    length = int.from_bytes(await stream.readexactly(_LENGTH_BYTES))
    message: Message = _decode(await stream.readexactly(length))
    return message


YES, NO = b"y", b"n"
