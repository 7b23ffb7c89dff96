"""Base partitions: the member set of a list up to a place, by hash, a bounded part each.

A partition is one row. Whoever folds, rebuilds, erases or exports holds one at a time, so the size of a list costs time
and no memory. Partitions split by themselves as they grow: of a list some may be one of 8, others one of 16.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import mmh3
import msgspec
import zstandard

from cohort_sync.truth.order import BEFORE_ALL, Place
from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MEMBERS = 32_000  # of a partition that was just split off
MOST_MEMBERS = 2 * MEMBERS
MOST_PARTITIONS = 2**20

_LEVEL = 1
_LARGEST = 1024 * 1024 * 1024
_LINES, _MSGPACK = b"\n", b"m"  # the first byte says how members are framed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode

hash_of = mmh3.mmh3_32_uintdigest  # of a member; its lowest bits tell the partition


class DamagedError(UnavailableError):
    """A body is not the one that was written. It concerns one list; `list_row` is its row, `what` names the body."""

    reason = "damaged"

    def __init__(self, list_row: int, what: str) -> None:
        super().__init__(f"{what} is damaged: take the list from Redis with `cohort-sync adopt`, or sync it in full")
        self.list_row = list_row
        self.what = what


@dataclass(frozen=True, slots=True)
class Partition:
    """A base partition, without its body.

    `of`: of how many, a power of two. `place`: up to where tasks are in it. `round`: the last round of folding that it
    went through, `version`: the list's version as that round read it. `digest`: of these and of the body; nothing,
    where there is no such row and hence nobody in it.
    """

    number: int
    of: int
    place: Place = BEFORE_ALL
    round: int = 0
    version: int = 0
    members: int = 0
    digest: bytes = b""

    def has(self, member: bytes) -> bool:
        """Whether it is the one for `member`."""
        return hash_of(member) & (self.of - 1) == self.number


@dataclass(frozen=True, slots=True)
class Partitions:
    """All partitions of a list: each member has exactly one. `slots`: index of the partition, by hash."""

    rows: Sequence[Partition]
    slots: Sequence[int] = field(repr=False)

    @classmethod
    def of(cls, rows: Iterable[Partition], *, least: int = 1) -> Partitions:
        """From those that have a row; empty ones where none has. `least`: of how many an empty one is at least."""
        known = list(rows)
        count = max([least, *(row.of for row in known)])
        slots = [-1] * count
        for index, row in enumerate(known):
            for slot in range(row.number, count, row.of):
                slots[slot] = index
        for slot in range(count):
            if slots[slot] < 0:
                slots[slot] = len(known)
                known.append(Partition(slot, count))
        return cls(known, slots)

    def index_of(self, member: bytes) -> int:
        return self.slots[hash_of(member) & (len(self.slots) - 1)]

    def by_row(self, members: Iterable[bytes]) -> dict[int, list[bytes]]:
        """`members` by the index of their partition."""
        if len(self.rows) == 1:
            return {0: list(members)}
        slots, mask = self.slots, len(self.slots) - 1
        found: dict[int, list[bytes]] = {}
        for member in members:
            index = slots[hash_of(member) & mask]
            if index in found:
                found[index].append(member)
            else:
                found[index] = [member]
        return found


def partitions_for(members: int) -> int:
    """Of how many partitions a list of `members` is."""
    count = 1
    while count * MEMBERS < members and count < MOST_PARTITIONS:
        count *= 2
    return count


def split(partition: Partition, members: Sequence[bytes]) -> Iterator[tuple[Partition, Sequence[bytes]]]:
    """`partition` with `members` (sorted), as one or, where these are too many, as several."""
    if len(members) <= MOST_MEMBERS or partition.of >= MOST_PARTITIONS:
        yield partition, members
        return
    parts = partitions_for(len(members))
    if parts * partition.of > MOST_PARTITIONS:
        parts = MOST_PARTITIONS // partition.of
    of = parts * partition.of
    found: list[list[bytes]] = [[] for _ in range(parts)]
    shift = partition.of.bit_length() - 1
    for member in members:
        found[(hash_of(member) & (of - 1)) >> shift].append(member)
    for index, part in enumerate(found):
        yield replace(partition, number=partition.number + index * partition.of, of=of), part


def seal(partition: Partition, members: Sequence[bytes]) -> tuple[Partition, bytes]:
    """The row of `partition` with `members` (sorted, each once): with size and digest, and its body."""
    body = pack(members)
    header = replace(partition, members=len(members))
    return replace(header, digest=_digest(header, body)), body


def reseal(partition: Partition, body: bytes) -> Partition:
    """`partition` with other numbers than before and the same body."""
    return replace(partition, digest=_digest(partition, body))


def unseal(list_row: int, partition: Partition, body: bytes) -> list[bytes]:
    """The members, sorted. Raises `DamagedError`."""
    if not is_sound(partition, body):
        raise DamagedError(list_row, name_of(list_row, partition))
    return unpack(body)


def name_of(list_row: int, partition: Partition) -> str:
    return f"partition {partition.number} of {partition.of} of list {list_row}"


def is_sound(partition: Partition, body: bytes) -> bool:
    """Whether row and body are those that were written."""
    return _digest(partition, body) == partition.digest


def pack(members: Sequence[bytes]) -> bytes:
    text = b"\n".join(members)
    is_in_lines = text.count(b"\n") == len(members) - 1  # neither nobody, nor an id that holds a newline
    framed = _LINES + text if is_in_lines else _MSGPACK + _encode(members)
    packed: bytes = zstandard.ZstdCompressor(level=_LEVEL).compress(framed)
    return packed


def unpack(body: bytes) -> list[bytes]:
    """Raises `ValueError` for what `pack` did not write."""
    try:
        framed = zstandard.ZstdDecompressor().decompress(body, max_output_size=_LARGEST)
        if framed[:1] == _LINES:
            members: list[bytes] = framed[1:].split(b"\n")
            return members
        if framed[:1] == _MSGPACK:
            return _decode(framed[1:])
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a packed partition: {error}") from None
    raise ValueError("not a packed partition")


def _digest(partition: Partition, body: bytes) -> bytes:
    # A bit that flips in a number is damage, too: the place says what is void.
    header = (partition.number, partition.of, *partition.place, partition.round, partition.version, partition.members)
    digest = hashlib.blake2b(_encode(header), digest_size=16)
    digest.update(body)
    return digest.digest()
